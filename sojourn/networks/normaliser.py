"""Running statistics that observations and rewards are normalised by. Pure torch, no I/O.

They are buffers, so they are saved and published with the parameters that were trained on them: an actor that loads a policy
normalises exactly as the learner did when it made that policy.
"""

import torch
from torch import Tensor, nn

from sojourn.ranks import Together

SMALLEST_VARIANCE = 1e-8  # a constant feature stays finite


class RunningMoments(Together, nn.Module):
    """Mean and variance of F features over everything seen, weighted.

    Invariant: (count, mean, m2) are those of one batch holding all items: merging is exact (Chan et al. 1979), so the order of
    batches does not matter. Before the first item it normalises by mean 0 and variance 1.
    """

    count: Tensor
    mean: Tensor
    m2: Tensor

    def __init__(self, features: int) -> None:
        super().__init__()
        self.register_buffer("count", torch.zeros((), dtype=torch.float64))
        self.register_buffer("mean", torch.zeros(features, dtype=torch.float64))
        self.register_buffer("m2", torch.zeros(features, dtype=torch.float64))

    @torch.no_grad()
    def observe(self, x: Tensor, weight: Tensor) -> None:
        """Take items in. x: float32[B, F].  weight: float32[B], >= 0; prioritised draws are weighed back to the table's law."""
        x, weight = x.to(torch.float64), weight.to(torch.float64)[:, None]
        count, total = weight.sum(), (weight * x).sum(0)
        self.ranks.add([count, total])
        count = count.clamp_min(1e-12)
        mean = total / count
        m2 = (weight * (x - mean).square()).sum(0)
        self.ranks.add([m2])
        share = count / (self.count + count)
        gap = mean - self.mean
        self.m2 += m2 + gap.square() * self.count * share
        self.mean += gap * share
        self.count += count

    def normalise(self, x: Tensor, clip: float) -> Tensor:
        """(x - mean) / standard deviation, cut at +-clip.  float32[B, F] to float32[B, F]."""
        seen = self.count > 0
        variance = torch.where(seen, self.m2 / self.count.clamp_min(1e-12), 1.0)
        scale = (variance + SMALLEST_VARIANCE).rsqrt()
        return ((x - self.mean.to(x.dtype)) * scale.to(x.dtype)).clamp(-clip, clip)


class RewardScale(Together, nn.Module):
    """Divides rewards by their running root mean square. Nothing is subtracted: that would change what is optimal.

    (Scaling by the deviation of returns, as some do, needs whole episodes in order, which a replayed batch does not have.)
    """

    count: Tensor
    squares: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("count", torch.zeros((), dtype=torch.float64))
        self.register_buffer("squares", torch.zeros((), dtype=torch.float64))

    @torch.no_grad()
    def observe(self, reward: Tensor, weight: Tensor) -> None:
        """reward: float32[B].  weight: float32[B], >= 0."""
        weight = weight.to(torch.float64)
        count, squares = weight.sum(), (weight * reward.to(torch.float64).square()).sum()
        self.ranks.add([count, squares])
        self.count += count
        self.squares += squares

    def forward(self, reward: Tensor) -> Tensor:
        """Rewards of any shape, scaled; unchanged before the first item that was not 0."""
        mean = self.squares / self.count.clamp_min(1e-12)
        return reward * torch.where(mean > 0, mean, 1.0).rsqrt().to(reward.dtype)
