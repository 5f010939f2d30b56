"""Action spaces as algorithms see them: one vector in [-1, 1]^D, or one choice in each of D branches. No I/O.

Leaves of Dict and Tuple actions are concatenated in column order.  Axes: B items, D dimensions or branches.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn

from sojourn.errors import ConfigError
from sojourn.experience import Columns
from sojourn.leaves import Leaf, leaves_of

if TYPE_CHECKING:
    from sojourn.columns import Schema


@dataclass(frozen=True)
class _Part:
    """Where one leaf lies in the vector. shape: of the leaf, () for Discrete."""

    name: str
    dtype: np.dtype
    shape: tuple[int, ...]
    columns: slice


def _parts(leaves: list[tuple[str, Leaf]]) -> list[_Part]:
    sizes = [math.prod(leaf.shape) for _, leaf in leaves]
    stops = np.cumsum(sizes).tolist()
    return [
        _Part(name, leaf.dtype, leaf.shape, slice(stop - size, stop))
        for (name, leaf), size, stop in zip(leaves, sizes, stops, strict=True)
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
        leaves = list(leaves_of(schema.action, "action"))
        boxes = [_bounded_box(name, leaf, algorithm) for name, leaf in leaves]
        self._spaces = _parts(leaves)
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
        np.maximum(values, self._low, out=values)  # rounding must not leave the box
        np.minimum(values, self._high, out=values)
        return {part.name: values[:, part.columns].astype(part.dtype).reshape(len(action), *part.shape) for part in self._spaces}


def _bounded_box(name: str, leaf: Leaf, algorithm: str) -> Leaf:
    if leaf.kind != "Box":
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
        leaves = list(leaves_of(schema.action, "action"))
        branches = [_branches(name, leaf, algorithm) for name, leaf in leaves]
        self._spaces = _parts(leaves)
        self.sizes: list[int] = [int(size) for leaf in branches for size in leaf.choices.flat]
        self._start = np.concatenate([leaf.start.reshape(-1) for leaf in branches])
        self.register_buffer("start", torch.as_tensor(self._start), persistent=False)

    def indices(self, columns: Mapping[str, Tensor]) -> Tensor:
        """Stored actions, leaves [B, ...], as int64[B, D], each in [0, size)."""
        flat = [columns[part.name].reshape(len(columns[part.name]), -1).to(torch.int64) for part in self._spaces]
        return torch.cat(flat, dim=1) - self.start

    def columns(self, index: np.ndarray) -> Columns:
        """int64[B, D] as the environment's actions, leaves [B, ...] in their own dtypes."""
        values = index + self._start
        return {part.name: values[:, part.columns].astype(part.dtype).reshape(len(index), *part.shape) for part in self._spaces}


def _branches(name: str, leaf: Leaf, algorithm: str) -> Leaf:
    if leaf.kind == "Box":
        raise ConfigError(f"{algorithm} needs discrete actions, but {name!r} is {leaf}; for continuous ones write algorithm: sac")
    return leaf
