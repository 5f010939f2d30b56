"""The hidden layers of a network, by name: fully connected ones here, others in files of their own. Pure torch, no I/O.

A body from outside the repository is a callable `(in_features, settings, copies) -> Body`.

Axes: B items, C copies, I inputs.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from sojourn.errors import ConfigError
from sojourn.networks.layers import ACTIVATIONS, Body, EnsembleLayerNorm, EnsembleLinear
from sojourn.networks.simba import Simba
from sojourn.plugins import resolve

if TYPE_CHECKING:
    from sojourn.config.algorithms import NetworkSettings


class Mlp(Body):
    """Fully connected layers of `network.hidden` units, each with the activation behind it."""

    def __init__(self, in_features: int, settings: NetworkSettings, copies: int) -> None:
        super().__init__()
        widths = (in_features, *settings.hidden)
        self.layers = nn.ModuleList(EnsembleLinear(copies, i, o) for i, o in pairwise(widths))
        self.norms = nn.ModuleList(EnsembleLayerNorm(copies, o) for o in settings.hidden if settings.layer_norm)
        self.activation = ACTIVATIONS[settings.activation]
        self.copies = copies
        self.out_features = widths[-1]

    def forward(self, x: Tensor) -> Tensor:
        """float32[B, I] to float32[C, B, out_features]."""
        x = x.to(self.precision).expand(self.copies, *x.shape)
        for index, layer in enumerate(self.layers):
            x = layer(x)
            if self.norms:
                x = self.norms[index](x)
            x = self.activation(x)
        return x.to(torch.float32)


BODIES: dict[str, Any] = {"mlp": Mlp, "simba": Simba}


def build_body(in_features: int, settings: NetworkSettings, copies: int = 1) -> Body:
    """The body that `network.name` means. Raises ConfigError if there is none."""
    body = resolve(settings.name, BODIES, "network")(in_features, settings, copies)
    if not isinstance(body, Body):
        raise ConfigError(f"network {settings.name!r} must make a sojourn.networks.Body, got {type(body).__name__}")
    return body


def set_precision(network: nn.Module, precision: torch.dtype) -> None:
    """Have every body inside of a network multiply in this dtype."""
    for module in network.modules():
        if isinstance(module, Body):
            module.precision = precision
