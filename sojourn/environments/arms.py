"""One-step tasks whose actions take different times: a bandit, and several bandits with clocks of their own.

The smallest environments in which collection can be biased towards fast actions. With the simulated clock nothing sleeps and
`info["duration_s"]` says how long an action took (`duration.clock: env`).
"""

from collections.abc import Sequence
from typing import Any

import gymnasium as gym
import numpy as np

from sojourn.environments.laws import Clock, Law


class TaskPools(gym.Env[np.ndarray, np.int64]):
    """Several tasks, each a bandit with its own durations. An episode is one action.

    durations, rewards: mean duration in units and mean reward of each task's arms, equal numbers of arms.
    task: fixes the task; None draws it anew at each reset.  reward_noise: standard deviation added to the reward.
    law, spread, slow_share: see `Law`.  clock, seconds_per_unit: see `Clock`.
    Observation: float32[tasks], one-hot of the task.  Action: the arm.  info["task"] labels the task.
    """

    metadata = {"render_modes": []}  # noqa: RUF012  Gymnasium's own form

    def __init__(
        self,
        durations: Sequence[Sequence[float]] = ((1.0, 4.0), (10.0, 40.0)),
        rewards: Sequence[Sequence[float]] = ((0.62, 0.67), (0.62, 0.67)),
        task: int | None = None,
        reward_noise: float = 0.0,
        law: Any = "constant",
        spread: float = 1.0,
        slow_share: float = 0.1,
        clock: Any = "simulated",
        seconds_per_unit: float = 1.0,
    ) -> None:
        self._durations, self._rewards = np.array(durations, np.float64), np.array(rewards, np.float64)
        if self._durations.ndim != 2 or self._durations.shape != self._rewards.shape or (self._durations <= 0).any():
            raise ValueError(f"durations and rewards must be positive [tasks, arms], got {durations} and {rewards}")
        tasks, arms = self._durations.shape
        if task is not None and not 0 <= task < tasks:
            raise ValueError(f"task must lie in [0, {tasks}), got {task}")
        self.observation_space = gym.spaces.Box(0.0, 1.0, (tasks,), np.float32)
        self.action_space = gym.spaces.Discrete(arms)
        self._fixed_task, self._task = task, task or 0
        self._reward_noise, self._law, self._clock = reward_noise, Law(law, spread, slow_share), Clock(clock, seconds_per_unit)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[np.ndarray, dict[str, Any]]:
        super().reset(seed=seed)
        tasks = len(self._durations)
        self._task = int(self.np_random.integers(tasks)) if self._fixed_task is None else self._fixed_task
        return self._one_hot(), {"task": self._task}

    def step(self, action: np.int64 | int) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        said = self._clock.spend(self._durations[self._task, action] * self._law.draw(self.np_random))
        reward = self._rewards[self._task, action] + self._reward_noise * self.np_random.standard_normal()
        return self._one_hot(), float(reward), True, False, {**said, "task": self._task}

    def _one_hot(self) -> np.ndarray:
        one_hot = np.zeros(len(self._durations), np.float32)
        one_hot[self._task] = 1.0
        return one_hot


class Arms(TaskPools):
    """One task: a bandit whose arms differ in reward and duration.

    durations, rewards: of the arms; the defaults are a quick arm, a slow better one and a quick failure.
    Observation: float32[1], always 1.  Other arguments as in `TaskPools`.
    """

    def __init__(
        self, durations: Sequence[float] = (1.0, 20.0, 0.5), rewards: Sequence[float] = (0.62, 0.67, 0.0), **others: Any
    ) -> None:
        super().__init__(durations=(tuple(durations),), rewards=(tuple(rewards),), task=0, **others)
