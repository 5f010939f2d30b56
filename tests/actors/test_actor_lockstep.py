"""The lockstep rollout stores exactly what happened, and a fault ends one slot's action only."""

from collections.abc import Callable
from contextlib import closing
from itertools import islice
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from safetensors.numpy import load, save

from actors.lockstep import lockstep
from replay.client import Pace
from sojourn.config import Config
from sojourn.errors import EnvironmentFault, ValidationError
from sojourn.experience import EndKind, Segment

SPACES = ["vector", "image", "discrete", "multi_discrete", "multi_binary", "dict", "tuple"]


def of_lane(segments: list[Segment], lane: int) -> list[Segment]:
    return [segment for segment in segments if segment.lane == lane]


@pytest.mark.parametrize(("environment_id", "algorithm"), [("CartPole-v1", "dqn"), ("Hopper-v5", "sac")])
def test_stored_segments_are_what_the_environment_does_with_the_stored_actions(acting: Any, environment_id: str, algorithm: str):
    config = Config.model_validate(
        {
            "environment": {"id": environment_id},
            "algorithm": algorithm,
            "network": {"hidden": [8]},
            "actors": {"environments": 2, "segment_steps": 16},
        }
    )
    with closing(lockstep(acting(config).parts)) as rollout:
        segments = list(islice(rollout, 30))
    for lane, seed in ((0, 1), (1, 2)):
        assert any(segment.closed for segment in of_lane(segments, lane))
        _replay(gym.make(environment_id), seed, of_lane(segments, lane))


def _replay(environment: gym.Env[Any, Any], seed: int, segments: list[Segment]) -> None:
    """Step a fresh environment with the stored actions, resetting where the segments close; everything must be equal."""
    observation, _ = environment.reset(seed=seed)
    sequence = 0
    for segment in segments:
        assert segment.first_sequence == sequence
        sequence += len(segment) + segment.closed
        for row in range(len(segment)):
            np.testing.assert_array_equal(segment.observation["observation"][row], observation.astype(np.float32))
            observation, reward, terminated, truncated, _ = environment.step(segment.action["action"][row])
            assert (segment.terminated[row], segment.truncated[row]) == (terminated, truncated)
            assert segment.reward[row] == np.float32(reward)
        np.testing.assert_array_equal(segment.observation["observation"][-1], observation.astype(np.float32))
        if segment.closed:
            observation, _ = environment.reset()
    environment.close()


def test_the_environments_own_limit_is_a_truncation_not_a_termination(acting: Any):
    config = Config.model_validate({"environment": {"id": "Pendulum-v1"}, "network": {"hidden": [8]}})
    with closing(lockstep(acting(config).parts)) as rollout:
        segments = list(islice(rollout, 4))  # 64 + 64 + 64 + 8 steps
    assert [segment.closed for segment in segments] == [False, False, False, True]
    assert segments[-1].truncated.tolist() == [False] * 7 + [True]
    assert not np.concatenate([segment.terminated for segment in segments]).any()


@pytest.mark.parametrize("fault", ["raise", "nan", "reward", "shape", "dtype", "sysexit"])
def test_a_fault_fails_its_slots_action_cuts_its_episode_and_spares_the_other_slot(
    acting: Any, configured: Callable[..., Config], until: Any, tmp_path: Any, fault: str
):
    config = configured({"length": 5, "fault": fault, "fault_at": 3, "once": str(tmp_path / "came")}, environments=2)
    made = acting(config)
    with closing(lockstep(made.parts)) as rollout:
        segments = until(rollout, lambda segments: len(of_lane(segments, 0)) >= 2 and len(of_lane(segments, 1)) >= 2)
    cut, whole = of_lane(segments, 0)[:2]
    assert cut.reward.tolist() == [1.0, 2.0]  # the third step has no row
    assert (cut.truncated.tolist(), cut.closed) == ([False, True], True)
    assert cut.observation["observation"][-1].tolist() == [1.0, 0.0, 2.0]
    assert whole.reward.tolist() == [1.0, 2.0, 3.0, 4.0, 5.0]
    assert whole.observation["observation"][0, 0] == 3.0  # made anew, with the third seed
    assert [segment.reward.tolist() for segment in of_lane(segments, 1)[:2]] == [[1.0, 2.0, 3.0, 4.0, 5.0]] * 2
    lane = made.parts.board.lanes[0]
    assert (lane.ends[EndKind.FAILED], made.parts.measures.restarts) == (1, 1)
    lane.check()


def test_a_failed_reset_gives_the_slot_a_new_environment(acting: Any, configured: Callable[..., Config], tmp_path: Any):
    config = configured({"length": 2, "fault": "raise", "fault_at": 0, "once": str(tmp_path / "came")})
    made = acting(config)
    with closing(lockstep(made.parts)) as rollout:
        (segment,) = islice(rollout, 1)
    assert segment.observation["observation"][0].tolist() == [2.0, 0.0, 0.0]
    assert made.counts("failed") == 0


def test_an_environment_that_always_fails_ends_the_rollout_after_all_it_had_is_handed_over(
    acting: Any, configured: Callable[..., Config]
):
    made = acting(configured({"fault": "nan", "fault_at": 3, "faults_in_a_row": 3}))
    segments = []
    with pytest.raises(EnvironmentFault, match="failed 3 times and no episode ended by itself"):
        segments.extend(lockstep(made.parts))
    assert [len(segment) for segment in segments] == [2, 2, 2]
    assert made.counts("failed") == 3


def test_a_reset_that_follows_an_ended_episode_forgives_faults(acting: Any, configured: Callable[..., Config], tmp_path: Any):
    made = acting(
        configured({"length": 2, "fault": "raise", "fault_at": 1, "once": str(tmp_path / "came"), "faults_in_a_row": 2})
    )
    with closing(lockstep(made.parts)) as rollout:
        next(rollout)
    assert made.parts.faults.in_a_row == 0


@pytest.mark.parametrize("space", SPACES)
def test_every_kind_of_space_is_stepped_and_stored(acting: Any, space: str):
    action = {"image": "dict", "vector": "box"}.get(space, space)
    config = Config.model_validate(
        {
            "environment": {"id": "sojourn/Match-v0", "kwargs": {"observation": space, "action": action, "length": 3}},
            "algorithm": "sac" if action == "box" else "dqn",
            "network": {"hidden": [8]},
            "actors": {"environments": 2},
        }
    )
    made = acting(config)
    with closing(lockstep(made.parts)) as rollout:
        segments = list(islice(rollout, 4))
    schema = made.parts.schema
    for segment in segments:
        assert len(segment) == 3
        for column in schema.observation_columns():
            leaf = segment.observation[column.name]
            assert (leaf.shape, leaf.dtype.name) == ((4, *column.shape), column.dtype)
        for column in schema.action_columns():
            leaf = segment.action[column.name]
            assert (leaf.shape, leaf.dtype.name) == ((3, *column.shape), column.dtype)


def test_single_frames_are_stored_when_the_policy_sees_stacks(acting: Any):
    config = Config.model_validate(
        {
            "environment": {"id": "sojourn/Catch-v0", "frame_stack": 3},
            "algorithm": "dqn",
            "network": {"hidden": [8]},
        }
    )
    made = acting(config)
    with closing(lockstep(made.parts)) as rollout:
        (segment,) = islice(rollout, 1)
    frame = made.parts.schema.observation_space.shape
    assert segment.observation["observation"].shape == (len(segment) + 1, *frame)
    assert made.parts.board.observations.batch()["observation"].shape == (1, 3, *frame)


def test_actions_carry_the_version_that_chose_them_and_new_versions_are_taken_between_steps(
    acting: Any, configured: Callable[..., Config]
):
    made = acting(configured({"length": 4}, segment_steps=2))
    with closing(lockstep(made.parts)) as rollout:
        first = next(rollout)
        newest = made.snapshots.newest
        made.snapshots.newest = type(newest)(7, 5, 100, newest.algorithm, newest.tensors)
        second = next(rollout)
    assert first.policy_version.tolist() == [1, 1]
    assert second.policy_version.tolist() == [7, 7]


def test_warm_up_actions_are_uniform_and_carry_their_log_probability(acting: Any, configured: Callable[..., Config]):
    made = acting(configured({"length": 64}), learner_step=0)
    with closing(lockstep(made.parts)) as rollout:
        (segment,) = islice(rollout, 1)
    np.testing.assert_allclose(segment.log_prob, -2 * np.log(2.0), rtol=1e-5)
    assert np.ptp(segment.action["action"]) > 1.5


@pytest.mark.filterwarnings("ignore:invalid value encountered")
def test_a_policy_that_has_broken_down_is_named_before_an_environment_sees_its_actions(
    acting: Any, configured: Callable[..., Config]
):
    made = acting(configured({"length": 64}, segment_steps=2))
    with closing(lockstep(made.parts)) as rollout:
        next(rollout)
        newest = made.snapshots.newest
        broken = {name: np.full_like(tensor, np.nan) for name, tensor in load(newest.tensors).items()}
        made.snapshots.newest = type(newest)(7, 5, 100, newest.algorithm, save(broken))
        with pytest.raises(ValidationError, match=r"the policy of version 7 chose log_prob nan"):
            list(rollout)
    assert made.counts("started") == made.counts("completed")


def test_rows_older_than_flush_age_are_handed_over(acting: Any, configured: Callable[..., Config]):
    made = acting(configured({"length": 500, "slow_s": 0.02}, segment_steps=100, flush_age_s=0.1))
    with closing(lockstep(made.parts)) as rollout:
        segment = next(rollout)
    assert len(segment) < 100
    assert not segment.closed


def test_starts_wait_for_credits_and_use_them_up(acting: Any, configured: Callable[..., Config]):
    made = acting(configured({"length": 1}, environments=3))
    made.pace = Pace(gated=True, start_credits=4, counted_starts=0)
    with closing(lockstep(made.parts)) as rollout:
        segments = list(islice(rollout, 4))
        assert sorted(segment.lane for segment in segments) == [0, 0, 1, 2]
        made.pace = Pace(gated=True, start_credits=1, counted_starts=4)
        next(rollout)
        assert made.parts.gate.allowed(3) == 0
    assert made.parts.board.started == 5


def test_an_actor_without_credits_stops_at_once(acting: Any, configured: Callable[..., Config]):
    made = acting(configured({}))
    made.pace = Pace(gated=True, start_credits=0)
    made.stop.set()
    assert list(lockstep(made.parts)) == []
    assert made.parts.board.started == 0
