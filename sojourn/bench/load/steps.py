"""What do simulated actors insert? Generated steps, each with a number of its own that no other step of any actor has.

Pure NumPy. A step's number is in the extra column `step_number`, and again, shortened, in its reward, so that a row whose parts do not
belong together is noticed.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, cast, get_args

import gymnasium as gym
import numpy as np

from sojourn.columns import Column, Schema, space_to_json
from sojourn.errors import ConfigError
from sojourn.experience import Segment

NUMBER = "step_number"
ACTOR_BITS = 32
"""A step's number is the actor's index above so many bits, and below them its place in all that this actor ever offered."""
REWARD_NUMBERS = 1 << 20  # float32 holds integers up to 2 ** 24 exactly

Law = Literal["constant", "exponential", "pareto"]
PARETO_SHAPE = 1.5  # infinite variance, finite mean: a heavy tail
PARETO_LONGEST = 50.0  # times the mean


@dataclass(frozen=True)
class Payload:
    """Elements of an observation and of an action, float32. The default is what HalfCheetah-v5 has."""

    observation: int = 17
    action: int = 6


HALF_CHEETAH = Payload()


def schema_of(payload: Payload) -> Schema:
    """The schema of the generated steps."""
    return Schema(
        observation=space_to_json(gym.spaces.Box(-np.inf, np.inf, (payload.observation,), np.float32)),
        action=space_to_json(gym.spaces.Box(-1.0, 1.0, (payload.action,), np.float32)),
        extras=(Column(NUMBER, "int64"),),
    )


def rewards_of(numbers: np.ndarray) -> np.ndarray:
    """The rewards of steps with these numbers. float32[T]"""
    return (numbers % REWARD_NUMBERS).astype(np.float32)


class Generator:
    """Segments of one lane after the other. Not thread-safe; one per actor."""

    def __init__(self, payload: Payload, steps: int, rng: np.random.Generator) -> None:
        self._steps = steps
        self._observation = rng.standard_normal((steps + 1, payload.observation)).astype(np.float32)
        self._action = rng.uniform(-1.0, 1.0, (steps, payload.action)).astype(np.float32)

    def segment(self, lane: int, first_sequence: int, first_number: int, duration_s: np.ndarray, now_s: float) -> Segment:
        """Steps that ended just now, one after the other. duration_s: float64[T]"""
        steps = self._steps
        numbers = np.arange(first_number, first_number + steps)
        never = np.zeros(steps, np.bool_)
        return Segment(
            lane=lane,
            first_sequence=first_sequence,
            episode=0,
            observation={"observation": self._observation},
            action={"action": self._action},
            reward=rewards_of(numbers),
            terminated=never,
            truncated=never,
            duration_s=duration_s,
            started_at_s=now_s - np.cumsum(duration_s[::-1])[::-1],
            end_kind=np.zeros(steps, np.uint8),
            log_prob=np.zeros(steps, np.float32),
            policy_version=np.zeros(steps, np.int64),
            closed=False,
            extras={NUMBER: numbers},
        )


def law_of(name: str) -> Law:
    """The law of that name. Raises ConfigError for an unknown one."""
    if name not in get_args(Law):
        raise ConfigError(f"unknown duration law {name!r}; there are {', '.join(get_args(Law))}")
    return cast(Law, name)


def durations(law: Law, mean_s: float, rng: np.random.Generator) -> Callable[[int], np.ndarray]:
    """Draws durations of actions, float64[T], from a law with this mean."""
    if law == "constant":
        return lambda steps: np.full(steps, mean_s)
    if law == "exponential":
        return lambda steps: rng.exponential(mean_s, steps)
    shortest_s = mean_s * (PARETO_SHAPE - 1.0) / PARETO_SHAPE
    return lambda steps: np.minimum(shortest_s * (1.0 + rng.pareto(PARETO_SHAPE, steps)), PARETO_LONGEST * mean_s)
