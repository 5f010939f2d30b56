"""What networks are made of: layers of one network or several of the same shape at once. Pure torch, no I/O.

Axes: B items, C copies, I inputs, O outputs.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

ACTIVATIONS: dict[str, Any] = {
    "relu": torch.relu_,  # in place: nothing else reads what a layer gave
    "tanh": torch.tanh,
    "elu": functional.elu,
    "silu": functional.silu,
}


class Body(nn.Module):
    """Hidden layers: maps float32[B, in_features] to float32[C, B, out_features], C networks with parameters of their own.

    precision: what the layers multiply in; parameters, inputs and outputs are float32 whatever it is.
    """

    out_features: int
    precision: torch.dtype = torch.float32


class EnsembleLinear(nn.Module):
    """C linear layers in one batched product, so that twin critics cost one call and not two.

    weight: float32[C, I, O], bias: float32[C, 1, O], drawn like torch.nn.Linear's: uniform in +-1/sqrt(I).
    """

    def __init__(self, copies: int, in_features: int, out_features: int) -> None:
        super().__init__()
        bound = in_features**-0.5 if in_features else 0.0
        self.weight = nn.Parameter(torch.empty(copies, in_features, out_features).uniform_(-bound, bound))
        self.bias = nn.Parameter(torch.empty(copies, 1, out_features).uniform_(-bound, bound))

    def forward(self, x: Tensor) -> Tensor:
        """x: [B, I] for all copies, or [C, B, I]. Returns [C, B, O], of the dtype of x, in which it multiplies."""
        if x.dim() == 2:
            x = x.expand(len(self.weight), *x.shape)
        if self.weight.shape[2] == 1:  # a matrix product with one column takes five times as long as a sum
            summed: Tensor = torch.linalg.vecdot(x, self.weight.transpose(1, 2))
            return summed.unsqueeze(2) + self.bias
        return torch.baddbmm(self.bias.to(x.dtype), x, self.weight.to(x.dtype))


class EnsembleLayerNorm(nn.Module):
    """Layer normalisation (Ba et al. 2016) of C layers with gains and offsets of their own."""

    def __init__(self, copies: int, features: int) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.ones(copies, 1, features))
        self.offset = nn.Parameter(torch.zeros(copies, 1, features))

    def forward(self, x: Tensor) -> Tensor:
        """[C, B, O] to the same shape and dtype."""
        return torch.addcmul(self.offset, functional.layer_norm(x, x.shape[-1:]), self.gain).to(x.dtype)
