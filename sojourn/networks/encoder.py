"""From the columns of an observation to features [B, F], whatever its space. Pure torch, no I/O.

Box of uint8 with two or more axes   convolutional encoder          Discrete        one-hot
any other Box                        flattened, float32             MultiDiscrete   one-hot each
Dict, Tuple                          their leaves, concatenated     MultiBinary     float32
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from sojourn.errors import ConfigError
from sojourn.leaves import Leaf, leaves_of
from sojourn.networks.images import ImageEncoder
from sojourn.networks.normaliser import RunningMoments

if TYPE_CHECKING:
    from sojourn.columns import Schema
    from sojourn.config.algorithms import NetworkSettings

CLIP = 10.0  # a normalised value further from the mean than so many standard deviations is cut there, as is usual


class Flat(nn.Module):
    """Numbers as they are, or normalised by running moments."""

    def __init__(self, shape: tuple[int, ...], normalise: bool) -> None:
        super().__init__()
        self.features = int(np.prod(shape, dtype=np.int64))
        self.moments = RunningMoments(self.features) if normalise else None

    def forward(self, x: Tensor) -> Tensor:
        """[B, *shape] to float32[B, F]."""
        flat = x.reshape(len(x), self.features).to(torch.float32)
        return flat if self.moments is None else self.moments.normalise(flat, CLIP)


class OneHot(nn.Module):
    """Integers as one-hot vectors, side by side."""

    start: Tensor

    def __init__(self, sizes: np.ndarray, start: np.ndarray) -> None:
        """sizes: values each integer can take.  start: its smallest value."""
        super().__init__()
        self._sizes = sizes.reshape(-1).tolist()
        self.features = sum(self._sizes)
        self.register_buffer("start", torch.as_tensor(start.reshape(-1), dtype=torch.int64), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """int[B, ...] to float32[B, F]."""
        index = x.reshape(len(x), -1).to(torch.int64) - self.start
        hot = [functional.one_hot(index[:, column], size) for column, size in enumerate(self._sizes)]
        return torch.cat(hot, dim=1).to(torch.float32)


class ObservationEncoder(nn.Module):
    """Encodes every leaf and concatenates.

    out_features: F.
    Invariant: its parameters and running moments are those of the policy that owns it, so they are published with it.
    """

    def __init__(self, schema: Schema, settings: NetworkSettings, *, normalise: bool) -> None:
        """Raises ConfigError for a space without any number."""
        super().__init__()
        stored = dict(leaves_of(schema.observation, "observation"))
        self._suffixes = [name.removeprefix("observation") for name in stored]
        built = [_leaf_encoder(leaf.stacked(schema.frame_stack), leaf, settings, normalise) for leaf in stored.values()]
        self.leaf_encoders = nn.ModuleList(encoder for encoder, _ in built)
        self.out_features = sum(features for _, features in built)
        if self.out_features == 0:
            raise ConfigError(
                f"the observation space {', '.join(map(str, stored.values()))} holds no number: wrap the environment, a constant will do"
            )

    @property
    def names(self) -> list[str]:
        """Columns of an observation, in the order of `leaf_encoders`."""
        return ["observation" + suffix for suffix in self._suffixes]

    @property
    def learned(self) -> bool:
        """Whether any part of it is trained (image leaves)."""
        return next(self.parameters(), None) is not None

    def forward(self, columns: Mapping[str, Tensor], name: str = "observation") -> Tensor:
        """Leaves [B, ...] named `name` or `name.leaf` to float32[B, F]."""
        parts = [encoder(columns[name + suffix]) for encoder, suffix in zip(self.leaf_encoders, self._suffixes, strict=True)]
        return parts[0] if len(parts) == 1 else torch.cat(parts, dim=1)

    def target_copy(self) -> ObservationEncoder:
        """A copy with parameters of its own that shares the running moments."""
        shared = {id(module): module for module in self.modules() if isinstance(module, RunningMoments)}
        return copy.deepcopy(self, memo=shared)

    def observe(self, columns: Mapping[str, Tensor], weight: Tensor) -> None:
        """Take observations [B, ...] into the running moments. weight: float32[B], how much each item counts."""
        for encoder, suffix in zip(self.leaf_encoders, self._suffixes, strict=True):
            if isinstance(encoder, Flat) and encoder.moments is not None:
                x = columns["observation" + suffix]
                encoder.moments.observe(x.reshape(len(x), -1).to(torch.float32), weight)


def _leaf_encoder(leaf: Leaf, stored: Leaf, settings: NetworkSettings, normalise: bool) -> tuple[nn.Module, int]:
    """The encoder of one leaf and how many features it gives. stored: the leaf without stacked frames."""
    if leaf.kind == "Box" and leaf.dtype == np.uint8 and len(stored.shape) >= 2:
        features = settings.image_features
        return ImageEncoder(leaf.shape, stored.shape, float(leaf.high.max()), features), features
    if leaf.kind in ("Discrete", "MultiDiscrete"):
        encoder: Flat | OneHot = OneHot(leaf.choices, leaf.start)
    else:
        encoder = Flat(leaf.shape, normalise and leaf.kind == "Box" and np.issubdtype(leaf.dtype, np.floating))
    return encoder, encoder.features
