"""Match: name the marked cell of a 3 x 3 board. One tiny task in every kind of space, to try an algorithm or a network on.

`gym.make("sojourn/Match-v0", observation="dict", action="multi_discrete")`. NumPy alone, no GL library.
"""

from collections.abc import Callable
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium import spaces

SIDE = 3
CELL_PIXELS = 14  # an image of 42 x 42, as Catch has it

_VECTOR = spaces.Box(-1.0, 1.0, (2,), np.float32)
_IMAGE = spaces.Box(0, 255, (SIDE * CELL_PIXELS, SIDE * CELL_PIXELS, 1), np.uint8)

OBSERVATIONS: dict[str, spaces.Space[Any]] = {
    "vector": _VECTOR,
    "image": _IMAGE,
    "discrete": spaces.Discrete(SIDE * SIDE),
    "multi_discrete": spaces.MultiDiscrete([SIDE, SIDE]),
    "multi_binary": spaces.MultiBinary(2 * SIDE),
    "dict": spaces.Dict({"camera": _IMAGE, "position": _VECTOR}),
    "tuple": spaces.Tuple((_VECTOR, spaces.Discrete(SIDE * SIDE))),
}
ACTIONS: dict[str, spaces.Space[Any]] = {
    "box": spaces.Box(-1.0, 1.0, (2,), np.float32),
    "discrete": spaces.Discrete(SIDE * SIDE),
    "multi_discrete": spaces.MultiDiscrete([SIDE, SIDE]),
    "multi_binary": spaces.MultiBinary(2 * SIDE),
    "dict": spaces.Dict({"row": spaces.Discrete(SIDE), "column": spaces.Discrete(SIDE)}),
    "tuple": spaces.Tuple((spaces.Discrete(SIDE), spaces.Discrete(SIDE))),
}


class Match(gym.Env[Any, Any]):
    """Each step marks a new cell; the reward is 1 less the mean distance of the action from it, in [0, 1].

    observation: key of OBSERVATIONS; each shows the whole cell.  action: key of ACTIONS.
    length: steps an episode, after which it is truncated. An optimal policy gets `length`.
    """

    metadata = {"render_modes": ["rgb_array"], "render_fps": 4}  # noqa: RUF012  Gymnasium's own form

    def __init__(self, observation: str = "vector", action: str = "box", length: int = 8, render_mode: str | None = None) -> None:
        if observation not in OBSERVATIONS or action not in ACTIONS:
            raise ValueError(
                f"observation is one of {', '.join(OBSERVATIONS)} and action one of {', '.join(ACTIONS)}, "
                f"got {observation!r} and {action!r}"
            )
        self.observation_space, self.action_space = OBSERVATIONS[observation], ACTIONS[action]
        self.render_mode = render_mode
        self._observe, self._distance = _OBSERVE[observation], _DISTANCE[action]
        self._length, self._steps = length, 0
        self._cell = np.zeros(2, np.int64)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        self._steps = 0
        self._cell = self.np_random.integers(SIDE, size=2)
        return self._observe(self._cell), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        reward = 1.0 - self._distance(self._cell, action)
        self._steps += 1
        self._cell = self.np_random.integers(SIDE, size=2)
        return self._observe(self._cell), reward, False, self._steps >= self._length, {}

    def render(self) -> np.ndarray:
        """uint8[168, 168, 3]."""
        return np.repeat(_image(self._cell).repeat(4, axis=0).repeat(4, axis=1), 3, axis=2)


def _vector(cell: np.ndarray) -> np.ndarray:
    """Row and column, each in [-1, 1]."""
    return np.asarray(cell - 1, np.float32)


def _index(cell: np.ndarray) -> int:
    return int(cell[0]) * SIDE + int(cell[1])


def _bits(cell: np.ndarray) -> np.ndarray:
    """Row and column, one-hot each: int8[6]."""
    return np.asarray(np.eye(SIDE, dtype=np.int8)[cell].reshape(-1))


def _image(cell: np.ndarray) -> np.ndarray:
    board = np.zeros((SIDE, SIDE), np.uint8)
    board[tuple(cell)] = 255
    return np.asarray(board.repeat(CELL_PIXELS, axis=0).repeat(CELL_PIXELS, axis=1)[..., None])


def _pair_distance(cell: np.ndarray, pair: Any) -> float:
    """Mean of row and column distance over the largest one, 2."""
    return float(np.abs(cell - np.asarray(pair)).mean() / (SIDE - 1))


_OBSERVE: dict[str, Callable[[np.ndarray], Any]] = {
    "vector": _vector,
    "image": _image,
    "discrete": _index,
    "multi_discrete": lambda cell: cell.copy(),
    "multi_binary": _bits,
    "dict": lambda cell: {"camera": _image(cell), "position": _vector(cell)},
    "tuple": lambda cell: (_vector(cell), _index(cell)),
}
_DISTANCE: dict[str, Callable[[np.ndarray, Any], float]] = {
    "box": lambda cell, action: _pair_distance(_vector(cell), action),
    "discrete": lambda cell, action: _pair_distance(cell, divmod(int(action), SIDE)),
    "multi_discrete": _pair_distance,
    "multi_binary": lambda cell, action: float((_bits(cell) != action).mean()),
    "dict": lambda cell, action: _pair_distance(cell, (action["row"], action["column"])),
    "tuple": _pair_distance,
}
