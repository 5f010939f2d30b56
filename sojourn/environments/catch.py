"""Catch: a ball falls, a paddle catches it. The smallest task that must be learned from pixels; NumPy alone, no GL library.

The classic of bsuite and dm_env, drawn larger so that a convolutional encoder has something to look at.
"""

from typing import Any

import gymnasium as gym
import numpy as np

LEFT, STAY, RIGHT = range(3)


class Catch(gym.Env[np.ndarray, np.int64]):
    """Reward 1 if the paddle is under the ball when it lands, else -1; 0 before. An optimal policy always gets 1.

    Observation: uint8[cells * cell_pixels, cells * cell_pixels, 1], 255 where ball or paddle are.
    Action: 0 left, 1 stay, 2 right.  An episode has cells - 1 steps and ends terminated.
    Invariant: ball and paddle lie in [0, cells), and the ball never below the paddle's row.
    """

    metadata = {"render_modes": ["rgb_array"], "render_fps": 8}  # noqa: RUF012  Gymnasium's own form

    def __init__(self, cells: int = 7, cell_pixels: int = 6, render_mode: str | None = None) -> None:
        if cells < 3 or cell_pixels < 1:
            raise ValueError(f"Catch needs cells >= 3 and cell_pixels >= 1, got {cells} and {cell_pixels}")
        side = cells * cell_pixels
        self.observation_space = gym.spaces.Box(0, 255, (side, side, 1), np.uint8)
        self.action_space = gym.spaces.Discrete(3)
        self.render_mode = render_mode
        self._cells, self._cell_pixels = cells, cell_pixels
        self._ball_row = self._ball_column = self._paddle = 0

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[np.ndarray, dict[str, Any]]:
        super().reset(seed=seed)
        self._ball_row = 0
        self._ball_column = int(self.np_random.integers(self._cells))
        self._paddle = self._cells // 2
        return self._image(), {}

    def step(self, action: np.int64 | int) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        self._paddle = int(np.clip(self._paddle + int(action) - STAY, 0, self._cells - 1))
        self._ball_row += 1
        landed = self._ball_row == self._cells - 1
        reward = 0.0 if not landed else 1.0 if self._ball_column == self._paddle else -1.0
        return self._image(), reward, landed, False, {}

    def render(self) -> np.ndarray:
        """uint8[side * 4, side * 4, 3]."""
        return np.repeat(self._image().repeat(4, axis=0).repeat(4, axis=1), 3, axis=2)

    def _image(self) -> np.ndarray:
        cells = np.zeros((self._cells, self._cells), np.uint8)
        cells[self._ball_row, self._ball_column] = 255
        cells[-1, self._paddle] = 255
        return cells.repeat(self._cell_pixels, axis=0).repeat(self._cell_pixels, axis=1)[..., None]
