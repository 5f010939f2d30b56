"""Tiny environments whose steps can be foreseen, and which fail on demand. Made by `acting_environments:make`."""

import ctypes
import os
import time
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np

from tests.waiting import eventually


class Counting(gym.Env[np.ndarray, Any]):
    """Observes (seed, episode, step); the reward is the step's number; ends after `length` steps.

    fault: what goes wrong at step `fault_at` of an episode (0: at reset, -1: when it is made): raise, nan, inf, reward, shape, dtype, exit, sysexit,
    segfault, hang, tuple.  once: a file; with it the fault comes once only, and the file says that it has come.
    slow_s: every step lasts so long.  slow_close_s: closing lasts so long after the fault "raise".
    """

    observation_space = gym.spaces.Box(-np.inf, np.inf, (3,), np.float64)
    action_space = gym.spaces.Box(-1.0, 1.0, (2,), np.float32)
    metadata = {"render_modes": ["rgb_array"], "render_fps": 10}  # noqa: RUF012  Gymnasium's own form

    def __init__(
        self,
        length: int = 5,
        ending: str = "terminated",
        fault: str = "",
        fault_at: int = 3,
        once: str = "",
        slow_s: float = 0.0,
        slow_close_s: float = 0.0,
        render_mode: str | None = None,
    ) -> None:
        self.render_mode = render_mode
        self._length, self._ending = length, ending
        self._fault, self._fault_at, self._once = fault, fault_at, once
        self._slow_s, self._slow_close_s = slow_s, slow_close_s
        self._seed, self._episode, self._step = 0, -1, -1
        self._wrong(self._fault_now())

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[np.ndarray, dict[str, Any]]:
        self._seed = self._seed if seed is None else seed
        self._episode, self._step = self._episode + 1, 0
        fault = self._fault_now()
        return self._wrong(fault), {"level": 10 * self._episode}

    def step(self, action: Any) -> Any:
        assert self.action_space.contains(action), action
        action *= 0.0  # a careless environment: what is stored must not change
        time.sleep(self._slow_s)
        self._step += 1
        fault = self._fault_now()
        observation = self._wrong(fault)
        ended = self._step == self._length
        reward = {"reward": float("nan"), "huge reward": -1e39}.get(fault, float(self._step))
        if fault == "tuple":
            return observation, reward
        info = {"duration_s": 100.0 + self._step, "parts": np.arange(self._step), "pair": [self._step, -self._step]}
        return observation, reward, ended and self._ending == "terminated", ended and self._ending == "truncated", info

    def close(self) -> None:
        if self._step == self._fault_at and self._fault == "raise" and self._slow_close_s:
            time.sleep(self._slow_close_s)

    def render(self) -> np.ndarray:
        return np.full((34, 48, 3), 20 * self._step % 256, np.uint8)

    def _observe(self) -> np.ndarray:
        return np.array([self._seed, self._episode, self._step], np.float64)

    def _fault_now(self) -> str:
        if not self._fault or self._step != self._fault_at:
            return ""
        return self._fault if self._is_first() else ""

    def _is_first(self) -> bool:
        """Whether the fault may come: once for all environments, those of other processes too."""
        if not self._once:
            return True
        try:
            Path(self._once).touch(exist_ok=False)
        except FileExistsError:
            return False
        return True

    def _wrong(self, fault: str) -> Any:
        observation = self._observe()
        match fault:
            case "raise":
                raise RuntimeError("the robot fell over")
            case "sysexit":
                raise SystemExit(1)
            case "exit":
                os._exit(9)
            case "segfault":
                ctypes.string_at(0)
            case "hang":
                time.sleep(3600.0)
            case "nan" | "inf":
                observation[1] = float(fault)
            case "shape":
                return np.append(observation, 0.0)
            case "dtype":
                return observation.astype(str)
        return observation


def make(**kwargs: Any) -> Counting:
    return Counting(**kwargs)


class Meeting(Counting):
    """As Counting; no step is made before so many processes have begun one. meeting: a folder of theirs."""

    def __init__(self, slots: int, meeting: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._slots, self._meeting = slots, Path(meeting)

    def step(self, action: Any) -> Any:
        (self._meeting / str(os.getpid())).touch()
        eventually(lambda: len(list(self._meeting.iterdir())) >= self._slots)
        return super().step(action)


def make_meeting(**kwargs: Any) -> Meeting:
    return Meeting(**kwargs)


class Blind(Counting):
    """Has no picture."""

    def render(self) -> Any:
        return None


class Resuming(Counting):
    """As Counting, and its state can be saved and restored."""

    def save_state(self) -> bytes:
        return self._observe().tobytes()

    def restore_state(self, state: bytes) -> tuple[np.ndarray, dict[str, Any]]:
        self._seed, self._episode, self._step = (int(number) for number in np.frombuffer(state))
        return self._observe(), {"level": 10 * self._episode}


def make_resuming(**kwargs: Any) -> Resuming:
    return Resuming(**kwargs)
