"""Compiles what actors and evaluators choose actions with, so that it is there beforehand: `python -m sojourn.algorithms.warm_up`."""

import sys
import time

import gymnasium as gym
import numpy as np

from sojourn.algorithms import build_policy
from sojourn.columns import Schema, space_to_json
from sojourn.config import Config


def exercise() -> None:
    """Act once, with every kernel."""
    vector = gym.spaces.Box(-1.0, 1.0, (1,), np.float32)
    policy = build_policy(Config(), Schema(space_to_json(vector), space_to_json(vector)))
    observation = {"observation": np.zeros((1, 1), np.float32)}
    policy.act(observation, deterministic=False, learner_step=1, env_steps=0, rng=np.random.default_rng(0))


if __name__ == "__main__":
    started_s = time.monotonic()
    exercise()
    sys.stdout.write(f"kernels of acting compiled in {time.monotonic() - started_s:.1f} s\n")
