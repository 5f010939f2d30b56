"""Every kind of space is stored, travels and trains: the whole line once for each, on threads of this process."""

import numpy as np
import pytest
from safetensors.numpy import load

from learners.checkpoints import Checkpoints
from sojourn.config.load import load_config
from sojourn.launcher import serial

SMALL = [
    "environment.id=sojourn/Match-v0",
    "network={hidden: [16], image_features: 16}",
    "learners={batch_size: 16, steps: 12, checkpoint_every_s: 600}",
    "tables.replay={capacity_steps: 2000, capacity_bytes: 50_000_000, n_step: 2}",
    "tables.replay.limiter={min_size: 64, samples_per_insert: null}",
    "actors={segment_steps: 8, flush_age_s: 0.1}",
    "replay={durability: memory}",
    "evaluation={episodes: 1, every_env_steps: 1_000_000}",
]
SPACES = [
    ("vector", "box", "sac", 1),
    ("dict", "box", "sac", 1),
    ("vector", "discrete", "dqn", 1),
    ("multi_discrete", "multi_discrete", "dqn", 1),
    ("image", "discrete", "dqn", 2),
    ("tuple", "dict", "dqn", 1),
    ("multi_binary", "multi_binary", "dqn", 1),
]


@pytest.mark.parametrize(("observation", "action", "algorithm", "frames"), SPACES, ids=lambda value: str(value))
def test_a_space_travels_the_whole_line_and_trains(observation, action, algorithm, frames, tmp_path):
    kwargs = f"environment.kwargs={{observation: {observation}, action: {action}}}"
    config = load_config(None, [*SMALL, kwargs, f"algorithm={algorithm}", f"environment.frame_stack={frames}"])
    assert serial(config, tmp_path, run_id="every-space") == 0
    checkpoint = Checkpoints(tmp_path / "checkpoints", keep=1).newest()
    assert checkpoint is not None
    assert checkpoint.learner_step == 12
    assert all(np.isfinite(tensor).all() for tensor in load(checkpoint.policy).values())
