"""Action spaces as algorithms see them: one vector in [-1, 1]^D, or one choice in each of D branches. No I/O.

Leaves of Dict and Tuple actions are concatenated in column order.  Axes: B items, D dimensions or branches.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from torch import Tensor, nn

from sojourn.columns import Schema, leaves
from sojourn.errors import ConfigError
from sojourn.experience import Columns


@dataclass(frozen=True)
class _Part:
    """Where one leaf lies in the vector. shape: of the leaf, () for Discrete."""

    name: str
    dtype: np.dtype
    shape: tuple[int, ...]
    columns: slice


def _parts(spaces: list[tuple[str, gym.Space[Any]]], sizes: list[int]) -> list[_Part]:
    stops = np.cumsum(sizes).tolist()
    return [
        _Part(name, np.dtype(leaf.dtype), tuple(leaf.shape or ()), slice(stop - size, stop))
        for (name, leaf), size, stop in zip(spaces, sizes, stops, strict=True)
    ]


class ContinuousActions(nn.Module):
    """Box actions scaled to [-1, 1].

    centre, half_range: float32[D]; value = centre + half_range * action. Not part of a policy's tensors: the schema has them.
    """

    centre: Tensor
    half_range: Tensor

    def __init__(self, schema: Schema, algorithm: str) -> None:
        """Raises ConfigError, naming the leaf, unless every leaf is a bounded floating-point Box."""
        super().__init__()
        spaces = list(leaves(schema.action_space, "action"))
        boxes = [_bounded_box(name, leaf, algorithm) for name, leaf in spaces]
        self._spaces = _parts(spaces, [box.low.size for box in boxes])
        self._low = np.concatenate([box.low.reshape(-1) for box in boxes]).astype(np.float32)
        self._high = np.concatenate([box.high.reshape(-1) for box in boxes]).astype(np.float32)
        self.dimensions = len(self._low)
        self._centre, self._half_range = (self._high + self._low) / 2, (self._high - self._low) / 2
        self.register_buffer("centre", torch.as_tensor(self._centre), persistent=False)
        self.register_buffer("half_range", torch.as_tensor(self._half_range), persistent=False)

    def normalised(self, columns: Mapping[str, Tensor]) -> Tensor:
        """Stored actions, leaves [B, ...], as float32[B, D] in [-1, 1]."""
        flat = [columns[part.name].reshape(len(columns[part.name]), -1).to(torch.float32) for part in self._spaces]
        values = flat[0] if len(flat) == 1 else torch.cat(flat, dim=1)
        return (values - self.centre) / self.half_range

    def columns(self, action: np.ndarray) -> Columns:
        """float32[B, D] in [-1, 1] as the environment's actions, leaves [B, ...] in their own dtypes."""
        values = action * self._half_range
        values += self._centre
        np.clip(values, self._low, self._high, out=values)  # rounding must not leave the box
        return {part.name: values[:, part.columns].astype(part.dtype).reshape(len(action), *part.shape) for part in self._spaces}


def _bounded_box(name: str, leaf: gym.Space[Any], algorithm: str) -> gym.spaces.Box:
    if not isinstance(leaf, gym.spaces.Box):
        raise ConfigError(f"{algorithm} needs continuous actions, but {name!r} is {leaf}; for discrete ones write algorithm: dqn")
    if not np.issubdtype(leaf.dtype, np.floating):
        raise ConfigError(f"{algorithm} needs floating-point actions, but {name!r} is {leaf}; wrap the environment")
    if not (np.isfinite(leaf.low).all() and np.isfinite(leaf.high).all() and (leaf.low < leaf.high).all()):
        raise ConfigError(
            f"{algorithm} needs bounded actions, but {name!r} is {leaf}; give it bounds with gymnasium.wrappers.TransformAction"
        )
    return leaf


class DiscreteActions(nn.Module):
    """Discrete, MultiDiscrete and MultiBinary actions as one index in each of D branches.

    sizes: choices of each branch.  An index counts from 0; the space's own start is added on the way out.
    """

    start: Tensor

    def __init__(self, schema: Schema, algorithm: str) -> None:
        """Raises ConfigError, naming the leaf, if one is continuous."""
        super().__init__()
        spaces = list(leaves(schema.action_space, "action"))
        branches = [_branches(name, leaf, algorithm) for name, leaf in spaces]
        self._spaces = _parts(spaces, [len(sizes) for sizes, _ in branches])
        self.sizes: list[int] = [int(size) for sizes, _ in branches for size in sizes]
        self._start = np.concatenate([start for _, start in branches])
        self.register_buffer("start", torch.as_tensor(self._start), persistent=False)

    def indices(self, columns: Mapping[str, Tensor]) -> Tensor:
        """Stored actions, leaves [B, ...], as int64[B, D], each in [0, size)."""
        flat = [columns[part.name].reshape(len(columns[part.name]), -1).to(torch.int64) for part in self._spaces]
        return torch.cat(flat, dim=1) - self.start

    def columns(self, index: np.ndarray) -> Columns:
        """int64[B, D] as the environment's actions, leaves [B, ...] in their own dtypes."""
        values = index + self._start
        return {part.name: values[:, part.columns].astype(part.dtype).reshape(len(index), *part.shape) for part in self._spaces}


def _branches(name: str, leaf: gym.Space[Any], algorithm: str) -> tuple[np.ndarray, np.ndarray]:
    """Choices and smallest value of each branch of a leaf, int64 each."""
    match leaf:
        case gym.spaces.Discrete():
            return np.array([leaf.n], np.int64), np.array([leaf.start], np.int64)
        case gym.spaces.MultiDiscrete():
            return leaf.nvec.reshape(-1).astype(np.int64), leaf.start.reshape(-1).astype(np.int64)
        case gym.spaces.MultiBinary():
            size = int(np.prod(leaf.shape, dtype=np.int64))
            return np.full(size, 2, np.int64), np.zeros(size, np.int64)
        case _:
            raise ConfigError(
                f"{algorithm} needs discrete actions, but {name!r} is {leaf}; for continuous ones write algorithm: sac"
            )
