"""Is what an environment gave a step we may store? Calls the environment, measures its time and checks the result.

Runs the environment's own code, which may block for as long as it likes, raise anything or end the process.
"""

import functools
import math
import time
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

import gymnasium as gym
import numpy as np

from actors.outcomes import Beginning, Outcome
from sojourn.columns import Schema, flatten, leaves
from sojourn.config.schema import EnvironmentSettings
from sojourn.durations import MOST_SECONDS
from sojourn.environments import guarded, make_environment, read_extras, resumable
from sojourn.errors import EnvironmentFault, SojournError
from sojourn.experience import Columns

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")
_MOST_REWARD = float(np.finfo(np.float32).max)


def make_checked(
    settings: EnvironmentSettings, schema: Schema, *, simulated_clock: bool = False, render: bool = False
) -> "CheckedEnvironment":
    """Make an environment that is checked at every step. Raises EnvironmentFault, or ConfigError for wrappers that do not fit."""
    environment = make_environment(settings, render=render)
    return CheckedEnvironment(environment, schema, settings, simulated_clock=simulated_clock)


def reads(method: Callable[Arguments, Result]) -> Callable[Arguments, Result]:
    """What an environment returns may be anything, and so may what its values raise when they are looked at."""

    @functools.wraps(method)
    def reading(*arguments: Arguments.args, **named: Arguments.kwargs) -> Result:
        try:
            return method(*arguments, **named)
        except SojournError:
            raise
        except Exception as error:
            raise EnvironmentFault(f"{method.__name__} returned what cannot be read: {type(error).__name__}: {error}") from error

    return reading


class CheckedEnvironment:
    """An environment whose promises are kept, or EnvironmentFault is raised.

    Invariant: what `reset` and `step` return has the schema's shapes and stored dtypes and is finite.
    """

    def __init__(
        self, environment: gym.Env[Any, Any], schema: Schema, settings: EnvironmentSettings, *, simulated_clock: bool = False
    ) -> None:
        """simulated_clock: durations are info["duration_s"] instead of measured time."""
        self.environment = environment
        self._settings = settings
        self._simulated_clock = simulated_clock
        self._space = schema.observation_space
        self._leaves = [
            _Leaf(name, space, column.dtype)
            for (name, space), column in zip(leaves(self._space, "observation"), schema.observation_columns(), strict=True)
        ]
        self._plain = not isinstance(self._space, gym.spaces.Dict | gym.spaces.Tuple)
        self.finished_at_s = 0.0

    @reads
    def reset(self, seed: int | None) -> Beginning:
        """Start an episode. seed: None lets the environment's own generator go on."""
        return self._begun(*guarded(lambda: _pair(self.environment.reset(seed=seed)), "reset"))

    def save(self) -> bytes:
        """The environment's state between two steps, empty if it is not resumable."""
        layer = resumable(self.environment)
        return b"" if layer is None else guarded(lambda: bytes(layer.save_state()), "save_state")

    @reads
    def resume(self, state: bytes) -> Beginning:
        """Go on from a saved state, as an episode of its own."""
        layer = resumable(self.environment)
        if layer is None:
            raise EnvironmentFault(f"{self._settings.id!r} gave its state and cannot take it back any more")
        return self._begun(*guarded(lambda: _pair(layer.restore_state(state)), "restore_state"))

    def _begun(self, observation: Any, info: dict[str, Any]) -> Beginning:
        extras = read_extras(self._settings, info, "episode") if self._settings.extras else {}
        duration_s = self._simulated_s(info) if self._simulated_clock and "duration_s" in info else 0.0
        return Beginning(self._checked(observation), extras, duration_s)

    @reads
    def step(self, action: Any, started_at_s: float) -> Outcome:
        """Do one action. started_at_s: monotonic clock when it was handed over; `finished_at_s` says when the result was there."""
        try:
            observation, reward, terminated, truncated, info = self.environment.step(action)
        except (Exception, SystemExit) as error:  # an environment may raise anything: its slot ends, not the actor
            raise EnvironmentFault(f"step raised {type(error).__name__}: {error}") from error
        self.finished_at_s = time.monotonic()
        duration_s = self._simulated_s(info) if self._simulated_clock else self.finished_at_s - started_at_s
        extras = read_extras(self._settings, info, "step") if self._settings.extras else {}
        return Outcome(self._checked(observation), _reward(reward), bool(terminated), bool(truncated), duration_s, extras)

    def close(self) -> None:
        """Close the environment. Raises EnvironmentFault if it fails at that."""
        guarded(self.environment.close, "close")

    def _checked(self, observation: Any) -> Columns:
        try:
            if self._plain:  # the inner loop's case
                leaf = self._leaves[0]
                return {leaf.name: leaf.checked(np.asarray(observation))}
            columns = flatten(self._space, observation, "observation")
        except (KeyError, IndexError, TypeError, ValueError) as error:
            raise EnvironmentFault(f"observation does not fit {self._space}: {type(error).__name__} {error}") from error
        return {leaf.name: leaf.checked(columns[leaf.name]) for leaf in self._leaves}

    def _simulated_s(self, info: dict[str, Any]) -> float:
        try:
            duration_s = float(info["duration_s"])
        except (KeyError, TypeError, ValueError) as error:
            raise EnvironmentFault(f'duration.clock is env, but info["duration_s"] is no number: {error!r}') from error
        if not 0.0 <= duration_s <= MOST_SECONDS:
            raise EnvironmentFault(f'info["duration_s"] must lie in [0, {MOST_SECONDS:g}], got {duration_s}')
        return duration_s


class _Leaf:
    """Checks one leaf of the observation and casts it to its stored dtype, into memory of its own."""

    def __init__(self, name: str, space: gym.Space[Any], dtype: str) -> None:
        self.name = name
        self._space = space
        self._stored = np.zeros(space.shape or (), dtype)
        self._flat = self._stored.reshape(-1)
        self._is_float = self._stored.dtype.kind == "f"
        self._is_box = isinstance(space, gym.spaces.Box)
        self._known_dtypes: set[np.dtype[Any]] = set()

    def checked(self, value: np.ndarray) -> np.ndarray:
        if value.shape != self._stored.shape:
            raise EnvironmentFault(f"{self.name} has shape {value.shape}, the space says {self._stored.shape}")
        if value.dtype not in self._known_dtypes:
            self._check_dtype(value.dtype)
        if not self._is_box and not self._space.contains(_plain(value)):
            raise EnvironmentFault(f"{self.name} is {value}, outside {self._space}")
        self._stored[...] = value
        if self._is_float and not math.isfinite(self._flat.dot(self._flat)):
            self._check_finite()
        elif value.dtype.itemsize > self._stored.dtype.itemsize and not self._is_float and (self._stored != value).any():
            raise EnvironmentFault(f"{self.name} is {value}, more than its stored {self._stored.dtype} holds")
        return self._stored

    def _check_dtype(self, dtype: np.dtype[Any]) -> None:
        """float64 may be stored as float32 and int32 as int64, but no float becomes an integer, no object a number."""
        if not np.can_cast(dtype, self._stored.dtype, "same_kind"):
            raise EnvironmentFault(f"{self.name} has dtype {dtype}, stored is {self._stored.dtype}")
        self._known_dtypes.add(dtype)

    def _check_finite(self) -> None:
        """The sum of squares is not finite: a NaN, an infinity, or only values so large that it overflowed."""
        wrong = ~np.isfinite(self._flat)
        if wrong.any():
            place = int(np.argmax(wrong))
            raise EnvironmentFault(
                f"{self.name} holds {self._flat[place]} at flat index {place}, {wrong.sum()} not finite in all"
            )


def _plain(value: np.ndarray) -> Any:
    return value[()] if value.shape == () else value


def _reward(reward: Any) -> float:
    try:
        value = float(reward.item() if isinstance(reward, np.ndarray) else reward)  # also of shape (1,)
    except (TypeError, ValueError) as error:
        raise EnvironmentFault(f"reward {reward!r} is no number") from error
    if not math.isfinite(value):
        raise EnvironmentFault(f"reward is {value}")
    if abs(value) > _MOST_REWARD:
        raise EnvironmentFault(f"reward {value} is larger than the float32 in which rewards are stored")
    return value


def _pair(result: Any) -> tuple[Any, Any]:
    observation, info = result
    return observation, info
