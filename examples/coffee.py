"""An environment of your own whose actions take time: brew coffee, and decide how long each step lasts.

    sojourn train examples/coffee.yaml

The factory `make_coffee` is all that Sojourn needs. Each action really takes its time (milliseconds here, so that the example is
short); Sojourn measures it, stores it with the transition, and shows its distribution in the report.
"""

import time
from typing import Any

import gymnasium as gym
import numpy as np

STEPS = 8
SHORTEST_S, LONGEST_S = 0.002, 0.04
BREWED_S = 0.1  # what a cup needs in all; less is thin, more is bitter


class Coffee(gym.Env[np.ndarray, np.ndarray]):
    """Wait eight times, each time as long as the action says. The reward of the last step is the cup's taste, at most 1.

    Observation: float32[2], the share of the steps taken and the time brewed over `BREWED_S`.
    Action: float32[1] in [-1, 1], from the shortest wait to the longest.
    info: `waited_s`, declared as an extra column in coffee.yaml, so that it reaches the learner.
    """

    def __init__(self, speed: float = 1.0) -> None:
        """speed: how much faster than real time to wait."""
        self.observation_space = gym.spaces.Box(0.0, 10.0, (2,), np.float32)
        self.action_space = gym.spaces.Box(-1.0, 1.0, (1,), np.float32)
        self._speed = speed
        self._steps, self._brewed_s = 0, 0.0

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[np.ndarray, dict[str, Any]]:
        super().reset(seed=seed)
        self._steps, self._brewed_s = 0, 0.0
        return self._observation(), {}

    def step(self, action: np.ndarray) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        wait_s = SHORTEST_S + (LONGEST_S - SHORTEST_S) * float(action[0] + 1.0) / 2.0
        time.sleep(wait_s / self._speed)
        self._brewed_s += wait_s
        self._steps += 1
        served = self._steps == STEPS
        taste = 1.0 - abs(self._brewed_s / BREWED_S - 1.0)
        return self._observation(), taste if served else 0.0, served, False, {"waited_s": wait_s}

    def _observation(self) -> np.ndarray:
        return np.array([self._steps / STEPS, self._brewed_s / BREWED_S], np.float32)


def make_coffee(speed: float = 1.0) -> gym.Env[Any, Any]:
    """What `environment.id: examples.coffee:make_coffee` calls, with `environment.kwargs`."""
    return Coffee(speed)
