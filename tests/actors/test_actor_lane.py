"""A lane's accounts and its chain of rows hold whatever happens to its actions."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from actors.lane import Lane
from actors.outcomes import Beginning, Outcome
from actors.stacking import Observations
from sojourn.columns import Column, Schema
from sojourn.config.schema import EnvironmentSettings
from sojourn.experience import EndKind, Segment

SCHEMA = Schema(
    {"type": "Box", "shape": [1], "dtype": "float32", "low": "-inf", "high": "inf"},
    {"type": "Discrete", "n": 2, "start": 0},
    extras=(Column("level", "int64", scope="episode"), Column("cost", "float32")),
    task_column="level",
)
SETTINGS = EnvironmentSettings.model_validate(
    {
        "extras": [
            {"name": "level", "dtype": "int64", "scope": "episode", "task": True},
            {"name": "cost", "default": 0.5},
        ],
        "killed_reward": -7.0,
    }
)


class World:
    """A lane and everything that left it; observations count up, so that chains can be checked."""

    def __init__(self, environment: EnvironmentSettings = SETTINGS, segment_steps: int = 3) -> None:
        self.segments: list[Segment] = []
        self.finished: list[tuple[float, int]] = []
        self.observed = 0.0
        self.lane = Lane(
            0,
            SCHEMA,
            environment,
            Observations(SCHEMA, 1),
            segment_steps=segment_steps,
            emit=self.segments.append,
            finished=lambda total, steps: self.finished.append((total, steps)),
        )

    def next_observation(self) -> dict[str, np.ndarray]:
        self.observed += 1
        return {"observation": np.array([self.observed], np.float32)}

    def begin(self) -> None:
        self.lane.begin(Beginning(self.next_observation(), {"level": np.int64(3)}), 0.0)

    def start(self, now_s: float = 1.0) -> None:
        self.lane.start({"action": np.int64(1)}, -0.5, 9, now_s)

    def complete(self, *, terminated: bool = False, truncated: bool = False, now_s: float = 1.5) -> None:
        extras = {"cost": np.float32(2.0)}
        self.lane.complete(Outcome(self.next_observation(), 1.0, terminated, truncated, 0.5, extras), now_s)


@pytest.mark.parametrize("on_kill", ["truncated", "terminated"])
def test_a_killed_action_is_a_row_of_its_own_kind_that_repeats_the_last_observation(on_kill: Any):
    world = World(SETTINGS.model_copy(update={"on_kill": on_kill}))
    world.begin()
    world.start()
    world.complete()
    world.start(now_s=10.0)
    world.lane.kill(30.0, 41.0)
    (segment,) = world.segments
    assert segment.closed
    assert segment.end_kind.tolist() == [EndKind.COMPLETED, EndKind.KILLED]
    assert segment.reward.tolist() == [1.0, -7.0]
    assert segment.duration_s.tolist() == [0.5, 30.0]
    assert segment.observation["observation"][:, 0].tolist() == [1.0, 2.0, 2.0]
    assert (segment.terminated[1], segment.truncated[1]) == (on_kill == "terminated", on_kill == "truncated")
    assert segment.extras["cost"].tolist() == [2.0, 0.5]
    assert segment.extras["level"].tolist() == [3, 3]
    assert world.finished == [(-6.0, 2)]


def test_an_action_without_a_row_is_counted_with_its_time_and_listed_once():
    world = World()
    world.begin()
    world.start()
    world.complete()
    world.start(now_s=10.0)
    world.lane.lose(EndKind.CRASHED, 14.0)
    (segment,) = world.segments
    assert (len(segment), segment.closed, segment.truncated.tolist()) == (1, True, [True])
    counts = world.lane.counts()
    assert (counts.started, counts.completed, counts.crashed, counts.ended_without_row_s) == (2, 1, 1, 4.0)
    (listed,) = world.lane.ended_unreported()
    assert (listed.action_number, listed.age_s, listed.ended, listed.task) == (2, 4.0, EndKind.CRASHED, "3")
    assert world.lane.ended_unreported() == []


def test_actions_are_listed_from_100_ms_on():
    world = World()
    world.begin()
    world.start(now_s=10.0)
    assert world.lane.listed(10.09) is None
    listed = world.lane.listed(10.2)
    assert listed is not None
    assert (listed.action_number, listed.policy_version, listed.episode_age_s) == (1, 9, 10.2)


OPERATIONS = st.sampled_from(
    ["step", "step", "step", "terminate", "truncate", "kill", "fail", "abort", "crash", "die idle", "flush"]
)


@settings(max_examples=200, deadline=None)
@given(st.lists(OPERATIONS, max_size=40), st.integers(1, 5))
def test_rows_chain_and_accounts_balance_whatever_happens(operations: list[str], segment_steps: int):
    world = World(segment_steps=segment_steps)
    lane, expected = world.lane, 0
    world.begin()
    for operation in operations:
        if operation == "flush":
            lane.flush()
        elif operation == "die idle":
            lane.cut()
            world.begin()
        else:
            world.start()
            expected += operation in ("step", "terminate", "truncate", "kill")
            match operation:
                case "step":
                    world.complete()
                case "terminate" | "truncate":
                    world.complete(terminated=operation == "terminate", truncated=operation == "truncate")
                case "kill":
                    lane.kill(1.0, 2.0)
                case _:
                    lane.lose({"fail": EndKind.FAILED, "abort": EndKind.ABORTED, "crash": EndKind.CRASHED}[operation], 2.0)
            if operation != "step":
                world.begin()
        lane.check()
    lane.cut()
    lane.check()
    check_chain(world.segments, expected)


def check_chain(segments: list[Segment], steps: int) -> None:
    """Sequence numbers are contiguous, episodes are closed exactly once, and an open segment ends where the next begins."""
    assert sum(map(len, segments)) == steps
    sequence, previous = 0, None
    for segment in segments:
        assert segment.first_sequence == sequence
        sequence += len(segment) + segment.closed
        if previous is None or previous.closed:
            assert previous is None or segment.episode > previous.episode
        else:
            assert segment.episode == previous.episode
            assert segment.observation["observation"][0] == previous.observation["observation"][-1]
        ended = (segment.terminated | segment.truncated).tolist()
        assert not any(ended[:-1])
        assert segment.closed or not any(ended)
        previous = segment
    assert previous is None or previous.closed
