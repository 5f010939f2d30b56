"""Which steps go through the replay? The two kinds that the rows name, and segments of them. Pure NumPy.

W1 has HalfCheetah's shapes: an item with its next observation takes 169 bytes. W2 has a stack of four Atari frames.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass

import gymnasium as gym
import numpy as np

from sojourn.columns import Schema, space_to_json
from sojourn.experience import Columns, EndKind, Segment

MEAN_S = 0.05
"""Mean duration of an action; lognormal, so that weights differ."""


@dataclass(frozen=True)
class Steps:
    """A kind of steps. step_bytes: of observation, action, reward, flags and duration, once each.  observation_bytes: of one observation."""

    schema: Schema
    observation: Callable[[np.random.Generator, int], np.ndarray]
    action: Callable[[np.random.Generator, int], np.ndarray]
    step_bytes: int
    observation_bytes: int

    @property
    def item_bytes(self) -> int:
        """Of a one-step item, which includes its next observation."""
        return self.step_bytes + self.observation_bytes


W1 = Steps(
    Schema(
        observation=space_to_json(gym.spaces.Box(-np.inf, np.inf, (17,), np.float32)),
        action=space_to_json(gym.spaces.Box(-1.0, 1.0, (6,), np.float32)),
    ),
    lambda rng, steps: rng.standard_normal((steps, 17), np.float32),
    lambda rng, steps: rng.uniform(-1.0, 1.0, (steps, 6)).astype(np.float32),
    step_bytes=4 * (17 + 6 + 1 + 1) + 1,
    observation_bytes=4 * 17,
)
W2 = Steps(
    Schema(
        observation=space_to_json(gym.spaces.Box(0, 255, (84, 84, 4), np.uint8)),
        action=space_to_json(gym.spaces.Discrete(6)),
    ),
    lambda rng, steps: rng.integers(0, 256, (steps, 84, 84, 4), np.uint8),
    lambda rng, steps: rng.integers(0, 6, steps),
    step_bytes=84 * 84 * 4 + 8 + 4 + 1 + 4,
    observation_bytes=84 * 84 * 4,
)
KINDS = {"W1": W1, "W2": W2}


class Segments:
    """Segments of one lane, one after the other, of an episode that never ends. Their arrays are made once and shared."""

    def __init__(self, kind: Steps, lane: int, steps: int, rng: np.random.Generator) -> None:
        self._lane, self._steps, self._made = lane, steps, 0
        self._observation: Columns = {"observation": kind.observation(rng, steps + 1)}
        self._action: Columns = {"action": kind.action(rng, steps)}
        self._reward = rng.standard_normal(steps, np.float32)
        self._priority = rng.exponential(size=steps).astype(np.float32)
        self._duration_s = MEAN_S * rng.lognormal(-0.5, 1.0, steps)
        self._ago_s = np.cumsum(self._duration_s[::-1])[::-1]
        self._never = np.zeros(steps, np.bool_)
        self._completed = np.full(steps, EndKind.COMPLETED, np.uint8)
        self._log_prob = np.zeros(steps, np.float32)
        self._version = np.ones(steps, np.int64)

    def next(self) -> Segment:
        """The lane's next steps, the last of which ended just now."""
        first, self._made = self._made, self._made + self._steps
        return Segment(
            lane=self._lane,
            first_sequence=first,
            episode=0,
            observation=self._observation,
            action=self._action,
            reward=self._reward,
            terminated=self._never,
            truncated=self._never,
            duration_s=self._duration_s,
            started_at_s=time.monotonic() - self._ago_s,
            end_kind=self._completed,
            log_prob=self._log_prob,
            policy_version=self._version,
            closed=False,
            priority=self._priority,
        )
