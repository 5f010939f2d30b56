"""How does a batch of segments become steps that a loss can sum over? Shapes, masks and weights. Pure torch, no I/O.

A segment of m <= L steps is padded to L. Behind its last step stand copies of its last step and of its final observation, with
weight 0, so that every row is a legal one for encoders and heads and none of them counts.

Axes: B segments, L steps; N = B * L steps side by side, those of a segment together.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from sojourn.algorithms.base import TrainBatch
from sojourn.algorithms.objectives import start_to_start_s


@dataclass(frozen=True)
class Segments:
    """A batch of segments.

    mask: bool[B, L], True for steps that count.  reward, duration_s, tau_s (start to start), behaviour_log_prob: float32[B, L], 0
    behind the last step.
    terminated: bool[B, L].  ended: bool[B, L], True where the trace stops: termination, truncation, the segment's last step and
    all behind it.
    """

    batch: TrainBatch
    mask: Tensor
    reward: Tensor
    duration_s: Tensor
    tau_s: Tensor
    behaviour_log_prob: Tensor
    terminated: Tensor
    ended: Tensor

    @classmethod
    def of(cls, batch: TrainBatch) -> "Segments":
        mask = batch["mask"]
        behind = torch.cat((mask[:, 1:], torch.zeros_like(mask[:, :1])), dim=1)  # whether a step follows
        return cls(
            batch=batch,
            mask=mask,
            reward=torch.where(mask, batch["reward"], 0.0),
            duration_s=torch.where(mask, batch["duration_s"], 0.0),
            tau_s=torch.where(mask, start_to_start_s(batch.columns), 0.0),
            behaviour_log_prob=torch.where(mask, batch["log_prob"], 0.0),
            terminated=batch["terminated"] & mask,
            ended=batch["terminated"] | batch["truncated"] | ~behind,
        )

    @property
    def count(self) -> Tensor:
        """How many steps count, float32 scalar, at least 1."""
        return self.mask.sum().clamp_min(1).to(torch.float32)

    def observations(self) -> dict[str, Tensor]:
        """Leaves [B * (L + 1), ...]: those before each step and, from the segment's end on, the final one."""
        at = torch.arange(self.mask.shape[1] + 1, device=self.mask.device).minimum(self.mask.sum(dim=1, keepdim=True))
        return _rows(self.batch.columns, "observation", at)

    def steps(self) -> TrainBatch:
        """N single steps: leaves of observation and action [N, ...], reward float32[N, 1], the segment's weight for each.

        Weights are 0 behind a segment's last step.
        """
        last = self.mask.sum(dim=1, keepdim=True) - 1
        at = torch.arange(self.mask.shape[1], device=self.mask.device).minimum(last)
        columns = {**_rows(self.batch.columns, "observation", at), **_rows(self.batch.columns, "action", at)}
        columns["reward"] = self.reward.reshape(-1, 1)
        weight, value_weight = (
            (w[:, None] * self.mask).reshape(-1) for w in (self.batch.loss_weight, self.batch.weight_of_values)
        )
        return TrainBatch(columns, weight, value_weight)

    def priority(self, error: Tensor) -> Tensor:
        """Mean absolute error over each segment's steps: float32[B, L] to float32[B]."""
        return (error.abs() * self.mask).sum(dim=1) / self.mask.sum(dim=1).clamp_min(1)


def _rows(columns: Mapping[str, Tensor], name: str, at: Tensor) -> dict[str, Tensor]:
    """Leaves [B, L', ...] of a space at positions int64[B, P], as [B * P, ...]."""
    item = torch.arange(len(at), device=at.device)[:, None]
    found = {key: leaf for key, leaf in columns.items() if key == name or key.startswith(f"{name}.")}
    return {key: leaf[item, at].flatten(0, 1) for key, leaf in found.items()}
