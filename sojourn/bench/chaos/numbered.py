"""An environment whose steps have numbers: what a real training run inserts can be counted step by step. No physics."""

import os
import time
from typing import Any

import gymnasium as gym
import numpy as np

from sojourn.bench.load.steps import ACTOR_BITS, NUMBER

LIFE_BYTES = 3
EPISODE_STEPS = 50


class NumberedSteps(gym.Env[np.ndarray, np.ndarray]):
    """Every step's `info` says its number: a random one of this life of the environment, and its place in it."""

    observation_space = gym.spaces.Box(-1.0, 1.0, (3,), np.float32)
    action_space = gym.spaces.Box(-1.0, 1.0, (1,), np.float32)

    def __init__(self, step_s: float = 0.0) -> None:
        self._step_s = step_s
        self._life = int.from_bytes(os.urandom(LIFE_BYTES))
        self._place = 0

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[np.ndarray, dict[str, Any]]:
        super().reset(seed=seed)
        return self._observation(), {}

    def step(self, action: np.ndarray) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        if self._step_s:
            time.sleep(self._step_s)
        number = (self._life << ACTOR_BITS) + self._place
        self._place += 1
        return self._observation(), 0.0, False, self._place % EPISODE_STEPS == 0, {NUMBER: number}

    def _observation(self) -> np.ndarray:
        return self.np_random.uniform(-1.0, 1.0, 3).astype(np.float32)


def make(step_s: float = 0.0) -> NumberedSteps:
    """For `environment.id`. step_s: how long a step takes."""
    return NumberedSteps(step_s)
