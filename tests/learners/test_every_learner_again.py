"""Every algorithm, objective, weight and normaliser is repeated bit by bit, on batches of several replay shards, over two lives of learner and actors."""

import shutil
from collections.abc import Callable
from typing import Any

import gymnasium as gym
import numpy as np
import pytest

from learners.rerun import Rerun
from sojourn.columns import Column, Schema, space_to_json
from sojourn.experience import IDLE

BOX = gym.spaces.Box(-1.0, 1.0, (3,), np.float32)
SEEN_AND_FELT = gym.spaces.Dict(
    {"camera": gym.spaces.Box(0, 255, (1, 36, 36), np.uint8), "felt": gym.spaces.Box(-1.0, 1.0, (2,), np.float64)}
)
WAITS = (Column(IDLE, "float32"),)
SEGMENTS = {"item": "segment", "length": 8, "sampler": "fifo", "consume": True}


def spaces(observation: gym.Space[Any], action: gym.Space[Any], **more: Any) -> Schema:
    return Schema(space_to_json(observation), space_to_json(action), **more)


CASES: dict[str, tuple[Schema, dict[str, Any]]] = {
    "sac, one step, prioritised, centred entropy, both normalisers": (
        spaces(BOX, BOX),
        {
            "algorithm": {"name": "sac", "entropy": "centred"},
            "environment": {"normalise_observation": True, "normalise_reward": True},
        },
    ),
    "sac, reward per second, linear weights on the policy": (
        spaces(BOX, BOX, extras=WAITS),
        {
            "algorithm": {"name": "sac", "entropy": "centred"},
            "objective": "per_second",
            "table": {"duration": {"weight": "linear"}},
        },
    ),
    "sac, five steps, discounted in time, rewards at the end, a small table, products in bfloat16": (
        spaces(BOX, BOX),
        {
            "algorithm": "sac",
            "objective": "discounted_in_time",
            "reward_timing": "end",
            "learners": {"precision": "bfloat16"},
            "table": {"n_step": 5, "capacity_steps": 96},
        },
    ),
    "dqn, three steps, stacked images and numbers, uniform": (
        spaces(SEEN_AND_FELT, gym.spaces.Discrete(3), frame_stack=2),
        {
            "algorithm": {"name": "dqn", "target_update_every": 7},
            "network": {"hidden": (16,), "image_features": 16},
            "environment": {"frame_stack": 2, "normalise_observation": True},
            "table": {"n_step": 3, "sampler": "uniform", "priority_exponent": 0.0},
        },
    ),
    "dqn, rewards spread over the action, lowest priority leaves": (
        spaces(BOX, gym.spaces.Discrete(3)),
        {
            "algorithm": "dqn",
            "objective": "discounted_in_time",
            "reward_timing": "spread",
            "table": {"remover": "lowest_priority", "capacity_steps": 96, "duration": {"weight": "none"}},
        },
    ),
    "ppo, segments, several epochs, numbers, discounted in time": (
        spaces(BOX, BOX),
        {
            "algorithm": {"name": "ppo", "trace_per": "time_unit"},
            "objective": "discounted_in_time",
            "environment": {"normalise_observation": True, "normalise_reward": True},
            "table": SEGMENTS,
        },
    ),
    "vtrace, segments, several choices, reward per second": (
        spaces(BOX, gym.spaces.MultiDiscrete([2, 3]), extras=WAITS),
        {"algorithm": {"name": "vtrace", "normalise_advantage": True}, "objective": "per_second", "table": SEGMENTS},
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_a_learner_of_two_shards_is_repeated_bit_by_bit(make_run: Callable[..., Any], case: str) -> None:
    schema, sections = CASES[case]
    run = make_run(
        schema=schema,
        lineage="full",
        replay={"durability": "process", "shards": 2},
        **{**sections, "learners": {"batch_size": 4, **sections.get("learners", {})}},
    )
    for end in ("terminated", "truncated", ""):
        run.insert(120, end)
    run.learn(12)
    run.crash()
    run.insert(150, "terminated")
    run.insert(150)
    run.learn(24)
    run.close()
    for checkpoint in run.checkpoints()[:-1]:
        shutil.rmtree(run.folder / "checkpoints" / checkpoint)
    rerun = Rerun(run.folder, run.config, 1)
    found = list(rerun.comparisons())
    assert [comparison for comparison in found if comparison.difference] == []
    assert (rerun.start, rerun.unlike) == (0, [])
    assert {comparison.learner_step for comparison in found} >= {0, 12, 24}
