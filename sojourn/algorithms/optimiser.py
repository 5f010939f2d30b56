"""One Adam over some parameters that never applies a gradient that is not finite. Pure torch; never waits for the device."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.adamw import adamw

from sojourn.algorithms.tensors import differences
from sojourn.errors import ContractError
from sojourn.ranks import Together


class Optimiser(Together):
    """Adam (Kingma and Ba 2015) with a clipped gradient norm and decoupled weight decay (Loshchilov and Hutter 2019).

    Invariant: after a step whose gradients hold NaN or infinity, parameters, moments and step counts are what they were. The
    fused kernel takes that decision from a tensor, as it does for gradient scaling, so nothing is read back from the device.

    torch's functional form is used: the class around it costs 100 us a step in Python, and an update is about 8 ms.
    """

    def __init__(
        self, parameters: Sequence[nn.Parameter], learning_rate: float, max_norm: float | None, weight_decay: float = 0.0
    ) -> None:
        """max_norm: gradients of a larger joint norm are scaled down to it; None: never.

        weight_decay: a step also takes learning_rate * weight_decay of every parameter away.
        """
        self.parameters = list(parameters)
        self._learning_rate = learning_rate
        self._max_norm = max_norm
        self._weight_decay = weight_decay
        self._moments = [torch.zeros_like(parameter) for parameter in self.parameters]
        self._squares = [torch.zeros_like(parameter) for parameter in self.parameters]
        self._steps = [torch.zeros((), device=parameter.device) for parameter in self.parameters]

    def minimise(self, loss: Tensor) -> tuple[Tensor, Tensor]:
        """Differentiate the loss by these parameters alone and make a step. Returns what `step` does."""
        return self.step(list(torch.autograd.grad(loss, self.parameters)))

    @torch.no_grad()
    def step(self, gradients: list[Tensor]) -> tuple[Tensor, Tensor]:
        """Apply gradients, averaged over all ranks. Returns (norm before clipping, 1 if the step was skipped else 0), float32 scalars."""
        self.ranks.average(gradients)
        norm = nn.utils.get_total_norm(gradients)
        skipped = (~torch.isfinite(norm)).to(torch.float32)
        if self._max_norm is not None:
            torch._foreach_mul_(gradients, (self._max_norm / (norm + 1e-6)).clamp_max(1.0))
        adamw(
            list(self.parameters),
            gradients,
            self._moments,
            self._squares,
            [],
            self._steps,
            fused=True,
            found_inf=skipped,
            amsgrad=False,
            beta1=0.9,
            beta2=0.999,
            lr=self._learning_rate,
            weight_decay=self._weight_decay,
            eps=1e-8,
            maximize=False,
        )
        return norm, skipped

    def state_dict(self) -> dict[str, Tensor]:
        """Moments and step counts by name and parameter number; the tensors themselves, not copies."""
        named = {"moment": self._moments, "square": self._squares, "step": self._steps}
        return {f"{name}.{index}": tensor for name, tensors in named.items() for index, tensor in enumerate(tensors)}

    @torch.no_grad()
    def load_state_dict(self, tensors: Mapping[str, Any]) -> None:
        """Inverse of `state_dict`. Raises ContractError if they are those of other parameters."""
        mine = self.state_dict()
        if different := differences(tensors, mine):
            raise ContractError(f"the optimiser's state is of other parameters: {'; '.join(different[:3])}")
        for name, tensor in mine.items():
            tensor.copy_(tensors[name])
