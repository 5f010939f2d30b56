"""SimBa: residual blocks that stay close to the identity, for bigger networks and fewer updates. Pure torch, no I/O.

Source: Lee et al. 2024, "SimBa: Simplicity Bias for Scaling Up Parameters in Deep Reinforcement Learning", arXiv 2410.09754, figure 4.
Its running normalisation of observations is `environment.normalise_observation`, which is versioned with the parameters.

Axes: B items, C copies, I inputs, H hidden units.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from sojourn.errors import ConfigError
from sojourn.networks.layers import Body, EnsembleLayerNorm, EnsembleLinear

if TYPE_CHECKING:
    from sojourn.config.algorithms import NetworkSettings

EXPANSION = 4  # a block's inner layer is so many times as wide (section 4.1)


class Residual(nn.Module):
    """h + W2 relu(W1 norm(h)): normalised before the block, so that the way around it stays linear."""

    def __init__(self, copies: int, features: int) -> None:
        super().__init__()
        self.norm = EnsembleLayerNorm(copies, features)
        self.widen = EnsembleLinear(copies, features, EXPANSION * features)
        self.narrow = EnsembleLinear(copies, EXPANSION * features, features)
        for layer in (self.widen, self.narrow):
            _draw(layer, lambda weight: nn.init.kaiming_normal_(weight.T))  # [I, H]: torch counts inputs in the last axis

    def forward(self, h: Tensor) -> Tensor:
        """[C, B, H] to the same shape and dtype."""
        found: Tensor = h + self.narrow(torch.relu_(self.widen(self.norm(h))))
        return found


class Simba(Body):
    """A linear layer, a residual block for each number in `network.hidden`, and a normalisation behind the last one.

    Raises ConfigError where the blocks differ in width.
    """

    def __init__(self, in_features: int, settings: NetworkSettings, copies: int) -> None:
        super().__init__()
        if len(set(settings.hidden)) != 1:
            raise ConfigError(
                f"network.hidden {list(settings.hidden)}: simba has one residual block for each number, all of one width; "
                "write [256, 256] for two blocks of 256"
            )
        self.copies, self.out_features = copies, settings.hidden[0]
        self.embed = EnsembleLinear(copies, in_features, self.out_features)
        _draw(self.embed, nn.init.orthogonal_)
        self.blocks = nn.Sequential(*(Residual(copies, self.out_features) for _ in settings.hidden))
        self.norm = EnsembleLayerNorm(copies, self.out_features)

    def forward(self, x: Tensor) -> Tensor:
        """float32[B, I] to float32[C, B, H]."""
        h = self.embed(x.to(self.precision).expand(self.copies, *x.shape))
        found: Tensor = self.norm(self.blocks(h)).to(torch.float32)
        return found


@torch.no_grad()
def _draw(layer: EnsembleLinear, draw: Callable[[Tensor], object]) -> None:
    """Weights of every copy by themselves; biases 0."""
    for weight in layer.weight:
        draw(weight)
    layer.bias.zero_()
