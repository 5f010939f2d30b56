"""An environment that can be saved goes on in a new process where the crashed one was; one that cannot begins anew."""

from collections.abc import Callable
from contextlib import closing
from typing import Any

import gymnasium as gym
import numpy as np
import pytest

from actors.asynchronous import asynchronous
from actors.slot_wire import SlotWire
from actors.steps import make_checked
from sojourn.config import Config
from sojourn.environments import describe, resumable
from sojourn.experience import Segment
from tests.waiting import UNHURRIED_S


def two_parts(segments: list[Segment]) -> bool:
    return len(segments) >= 2


@pytest.mark.parametrize(("factory", "rewards"), [("make_resuming", [3.0, 4.0, 5.0]), ("make", [1.0, 2.0, 3.0, 4.0, 5.0])])
def test_after_a_crash_a_resumable_environment_goes_on_from_its_last_step(
    acting: Any, configured: Callable[..., Config], until: Any, tmp_path: Any, factory: str, rewards: list[float]
):
    environment = {"fault": "exit", "fault_at": 3, "once": str(tmp_path / "came"), "id": f"acting_environments:{factory}"}
    made = acting(configured(environment, flush_age_s=UNHURRIED_S))
    with closing(asynchronous(made.parts)) as rollout:
        before, after = until(rollout, two_parts)[:2]
    assert (before.reward.tolist(), before.truncated.tolist(), before.closed) == ([1.0, 2.0], [False, True], True)
    assert after.reward.tolist() == rewards
    assert after.episode == before.episode + 1
    assert (made.counts("crashed"), made.parts.measures.restarts) == (1, 1)
    for lane in made.parts.board.lanes:
        lane.check()


def test_an_action_that_crashes_from_the_saved_state_too_is_not_chosen_for_ever(
    acting: Any, configured: Callable[..., Config], until: Any
):
    environment = {"length": 3, "fault": "exit", "fault_at": 3, "id": "acting_environments:make_resuming"}
    made = acting(configured(environment, flush_age_s=UNHURRIED_S))
    with closing(asynchronous(made.parts)) as rollout:
        first, second = until(rollout, two_parts)[:2]
    # steps 1 and 2, the crash; again from 2, the crash; from a reset: steps 1 and 2
    assert (first.reward.tolist(), second.reward.tolist()) == ([1.0, 2.0], [1.0, 2.0])
    assert made.counts("crashed") >= 3


def test_a_killed_action_ends_its_episode_for_good(acting: Any, configured: Callable[..., Config], until: Any, tmp_path: Any):
    environment = {"fault": "hang", "fault_at": 3, "once": str(tmp_path / "came"), "step_timeout_s": 2.5}
    made = acting(configured({**environment, "id": "acting_environments:make_resuming"}, flush_age_s=UNHURRIED_S))
    with closing(asynchronous(made.parts)) as rollout:
        killed, after = until(rollout, two_parts)[:2]
    assert len(killed) == 3
    assert after.reward.tolist() == [1.0, 2.0, 3.0, 4.0, 5.0]


def test_a_state_is_found_behind_wrappers_and_comes_back_whole(configured: Callable[..., Config]):
    config = configured({"id": "acting_environments:make_resuming", "max_episode_steps": 50})
    schema = describe(config.environment, config)
    one, other = (make_checked(config.environment, schema) for _ in range(2))
    one.reset(7)
    assert isinstance(one.environment, gym.Wrapper)  # the time limit
    assert resumable(one.environment) is one.environment.unwrapped
    one.step(np.zeros(2, np.float32), 0.0)
    np.testing.assert_array_equal(other.resume(one.save()).observation["observation"], [7.0, 0.0, 1.0])


def test_an_environment_without_both_methods_has_no_state(configured: Callable[..., Config]):
    config = configured({})
    environment = make_checked(config.environment, describe(config.environment, config))
    assert environment.save() == b""


@pytest.mark.parametrize("state", [b"", b"x", b"S" * 1000])
def test_a_state_travels_in_front_of_its_outcome(configured: Callable[..., Config], state: bytes):
    config = configured({})
    wire = SlotWire(describe(config.environment, config))
    assert wire.split_saved(wire.encode_saved(state, b"Oabc")) == (state, b"Oabc")
    assert wire.split_saved(b"Oabc") == (b"", b"Oabc")
