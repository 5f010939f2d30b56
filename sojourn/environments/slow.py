"""Any environment with time added: steps that last, and actions whose length the policy chooses."""

from typing import Any

import gymnasium as gym
import numpy as np

from sojourn.environments.laws import Clock, Law


class SlowSteps(gym.Wrapper[Any, Any, Any, Any]):
    """Each step takes a time drawn from a law, on top of the environment's own.

    mean_s: mean step time in seconds.  per: "action" draws for each step; "actor" draws once and keeps it, as a slow machine.
    slow_probability, slow_factor: a share of the instances that is slower throughout (a mixed fleet).
    law, spread, slow_share: see `Law`.  clock: "real" sleeps, "simulated" reports `info["duration_s"]` only.
    """

    def __init__(
        self,
        environment: gym.Env[Any, Any],
        mean_s: float = 0.05,
        per: str = "action",
        slow_probability: float = 0.0,
        slow_factor: float = 10.0,
        law: Any = "lognormal",
        spread: float = 1.0,
        slow_share: float = 0.1,
        clock: Any = "real",
    ) -> None:
        super().__init__(environment)
        if per not in ("action", "actor"):
            raise ValueError(f"per must be action or actor, got {per!r}")
        self._law, self._clock, self._mean_s = Law(law, spread, slow_share), Clock(clock), mean_s
        self._per, self._slow_probability, self._slow_factor = per, slow_probability, slow_factor
        self._rng = np.random.default_rng()
        self._kept: float | None = None

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        if seed is not None:
            self._rng = np.random.default_rng(seed)
        if self._kept is None:
            slow = self._slow_factor if self._rng.random() < self._slow_probability else 1.0
            self._kept = slow * (self._law.draw(self._rng) if self._per == "actor" else 1.0)
        return self.env.reset(seed=seed, options=options)

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        observation, reward, terminated, truncated, info = self.env.step(action)
        factor = (self._kept or 1.0) * (self._law.draw(self._rng) if self._per == "action" else 1.0)
        return observation, reward, terminated, truncated, {**info, **self._clock.spend(self._mean_s * factor)}


class ActionRepeat(gym.Wrapper[Any, Any, Any, Any]):
    """The policy also chooses for how many frames its action is held.

    most: frames at most.  frame_s: seconds of one frame; None takes the environment's `dt`, or 1.  clock: see `SlowSteps`.
    discount_per_frame: inside the action, frame j counts discount_per_frame ** j; 1 sums plainly.
    Action: float32[d + 1]: the environment's own action in its bounds, then a number in [-1, 1] that maps evenly onto 1..most.
    info: "duration_s" = frames x frame_s, "frames".  An episode's end cuts the action short.
    """

    def __init__(
        self,
        environment: gym.Env[Any, Any],
        most: int = 16,
        frame_s: float | None = None,
        discount_per_frame: float = 1.0,
        clock: Any = "simulated",
    ) -> None:
        super().__init__(environment)
        inner = environment.action_space
        if not isinstance(inner, gym.spaces.Box) or len(inner.shape) != 1:
            raise ValueError(f"ActionRepeat needs a flat Box of actions, got {inner}")
        if most < 1:
            raise ValueError(f"most must be at least 1, got {most}")
        low, high = np.append(inner.low, -1.0), np.append(inner.high, 1.0)
        self.action_space = gym.spaces.Box(low.astype(np.float32), high.astype(np.float32), dtype=np.float32)
        self._inner, self._most, self._discount = inner, most, discount_per_frame
        self._clock = Clock(clock, float(frame_s if frame_s is not None else getattr(environment.unwrapped, "dt", 1.0)))

    def frames_of(self, choice: float) -> int:
        """Frames for a choice in [-1, 1]: each of 1..most has an equal share of the interval."""
        return min(int((choice + 1.0) / 2.0 * self._most) + 1, self._most)

    def step(self, action: np.ndarray) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        inner, total = np.asarray(action[:-1], dtype=self._inner.dtype), 0.0
        for frame in range(self.frames_of(float(action[-1]))):
            observation, reward, terminated, truncated, info = self.env.step(inner)
            total += self._discount**frame * float(reward)
            if terminated or truncated:
                break
        return observation, total, terminated, truncated, {**info, **self._clock.spend(frame + 1), "frames": frame + 1}


def make_slow_steps(environment: str = "HalfCheetah-v5", kwargs: dict[str, Any] | None = None, **settings: Any) -> SlowSteps:
    """`sojourn/SlowSteps-v0`: a registered id, made with `kwargs`, with slow steps."""
    return SlowSteps(gym.make(environment, disable_env_checker=True, **(kwargs or {})), **settings)


def make_action_repeat(
    environment: str = "HalfCheetah-v5", kwargs: dict[str, Any] | None = None, **settings: Any
) -> ActionRepeat:
    """`sojourn/ActionRepeat-v0`: a registered id with a flat Box of actions, made with `kwargs`."""
    return ActionRepeat(gym.make(environment, disable_env_checker=True, **(kwargs or {})), **settings)
