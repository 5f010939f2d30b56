"""In the asynchronous rollout each slot has a process and a pace of its own, and whatever ends one spares the others."""

from collections.abc import Callable
from contextlib import closing
from itertools import islice
from typing import Any

import psutil
import pytest

from actors.asynchronous import asynchronous
from replay.client import Pace
from sojourn.config import Config
from sojourn.errors import EnvironmentFault
from sojourn.experience import EndKind, Segment
from tests.waiting import UNHURRIED_S


def of_lane(segments: list[Segment], lane: int) -> list[Segment]:
    return [segment for segment in segments if segment.lane == lane]


@pytest.mark.parametrize(
    ("fault", "kind"),
    [("raise", "failed"), ("nan", "failed"), ("shape", "failed"), ("exit", "crashed"), ("segfault", "crashed")],
)
def test_a_slot_that_fails_or_crashes_is_cut_counted_and_replaced_while_the_other_goes_on(
    acting: Any, configured: Callable[..., Config], until: Any, tmp_path: Any, fault: str, kind: str
):
    environment = {"length": 5, "fault": fault, "fault_at": 3, "once": str(tmp_path / "came"), "slow_s": 0.005}
    made = acting(configured(environment, environments=2, flush_age_s=UNHURRIED_S))

    def both_went_on(segments: list[Segment]) -> bool:
        cut = [segment.lane for segment in segments if len(segment) == 2]
        return bool(cut) and len(of_lane(segments, cut[0])) >= 2

    with closing(asynchronous(made.parts)) as rollout:
        segments = until(rollout, both_went_on)
    (lane,) = [segment.lane for segment in segments if len(segment) == 2]
    cut, whole = of_lane(segments, lane)[-2:]
    assert (cut.reward.tolist(), cut.truncated.tolist(), cut.closed) == ([1.0, 2.0], [False, True], True)
    assert whole.reward.tolist() == [1.0, 2.0, 3.0, 4.0, 5.0]
    assert whole.observation["observation"][0, 0] == 3.0  # a process of its own, with the third seed
    assert all(len(segment) == 5 for segment in of_lane(segments, 1 - lane))
    assert (made.counts(kind), made.parts.measures.restarts) == (1, 1)
    for each in made.parts.board.lanes:
        each.check()


def test_an_action_over_the_time_limit_is_killed_and_delivered(acting: Any, configured: Callable[..., Config], tmp_path: Any):
    environment = {"length": 5, "fault": "hang", "fault_at": 3, "once": str(tmp_path / "came")}
    environment |= {"step_timeout_s": 2.5, "killed_reward": -9.0, "on_kill": "terminated"}
    made = acting(configured(environment, flush_age_s=UNHURRIED_S))
    with closing(asynchronous(made.parts)) as rollout:
        killed, whole = islice(rollout, 2)
    assert killed.reward.tolist() == [1.0, 2.0, -9.0]
    assert killed.end_kind.tolist() == [EndKind.COMPLETED, EndKind.COMPLETED, EndKind.KILLED]
    assert killed.duration_s[-1] == 2.5
    assert killed.observation["observation"][-2:].tolist() == [[1.0, 0.0, 2.0]] * 2
    assert (killed.terminated[-1], killed.truncated[-1], killed.closed) == (True, False, True)
    assert whole.first_sequence == 4
    assert len(whole) == 5
    assert (made.counts("killed"), made.counts("crashed")) == (1, 0)


def test_slots_act_at_the_same_time(acting: Any, configured: Callable[..., Config], until: Any, tmp_path: Any):
    """No first action ends before all four have begun."""
    environment = {"id": "acting_environments:make_meeting", "slots": 4, "meeting": str(tmp_path)}
    made = acting(configured(environment, environments=4, flush_age_s=UNHURRIED_S))
    with closing(asynchronous(made.parts)) as rollout:
        segments = until(rollout, lambda segments: len({segment.lane for segment in segments}) == 4)
    assert all(segment.reward.tolist() == [1.0, 2.0, 3.0, 4.0, 5.0] for segment in segments)
    assert made.parts.measures.restarts == 0


def test_a_slow_completion_is_handed_over_at_once(acting: Any, configured: Callable[..., Config]):
    made = acting(configured({"length": 50, "slow_s": 0.06}, flush_age_s=0.05))
    with closing(asynchronous(made.parts)) as rollout:
        segments = list(islice(rollout, 3))
    assert [len(segment) for segment in segments] == [1, 1, 1]
    assert all(segment.duration_s[0] >= 0.06 for segment in segments)


def test_an_environment_that_always_crashes_ends_the_rollout(acting: Any, configured: Callable[..., Config]):
    made = acting(configured({"fault": "exit", "fault_at": 1, "faults_in_a_row": 2}))
    with pytest.raises(EnvironmentFault, match="its process ended with exit code 9"):
        list(asynchronous(made.parts))
    assert made.counts("crashed") == 2


def test_no_process_remains_when_the_rollout_is_closed(acting: Any, configured: Callable[..., Config]):
    before = {child.pid for child in psutil.Process().children()}
    with closing(asynchronous(acting(configured({}, environments=3)).parts)) as rollout:
        next(rollout)
        assert len({child.pid for child in psutil.Process().children()} - before) == 3
    assert {child.pid for child in psutil.Process().children()} <= before


def test_blocked_slots_wait_for_credits(acting: Any, configured: Callable[..., Config]):
    made = acting(configured({"length": 1}, environments=2))
    made.pace = Pace(gated=True, start_credits=3, counted_starts=0)
    with closing(asynchronous(made.parts)) as rollout:
        assert len(list(islice(rollout, 3))) == 3
        assert made.parts.gate.allowed(2) == 0
        made.pace = Pace(gated=True, start_credits=1, counted_starts=3)
        next(rollout)
    assert made.parts.board.started == 4


def test_extras_and_structured_spaces_travel_from_a_slots_process(acting: Any, configured: Callable[..., Config]):
    extras = [
        {"name": "level", "dtype": "int64", "scope": "episode"},
        {"name": "parts", "dtype": "int32", "ragged_max": 8},
        {"name": "pair", "shape": (2,)},
    ]
    with closing(asynchronous(acting(configured({"extras": extras})).parts)) as rollout:
        first, second = islice(rollout, 2)
    assert first.extras["level"].tolist() == [0] * 5
    assert second.extras["level"].tolist() == [10] * 5
    assert [parts.tolist() for parts in first.extras["parts"][:3]] == [[0], [0, 1], [0, 1, 2]]
    assert first.extras["pair"][1].tolist() == [2.0, -2.0]
    structured = {"observation": "dict", "action": "tuple", "length": 2}
    config = Config.model_validate(
        {"environment": {"id": "sojourn/Match-v0", "kwargs": structured}, "algorithm": "dqn", "network": {"hidden": [8]}}
    )
    with closing(asynchronous(acting(config).parts)) as rollout:
        segment = next(rollout)
    assert segment.observation["observation.camera"].shape == (3, 42, 42, 1)
    assert segment.observation["observation.camera"].any()
