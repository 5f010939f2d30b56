"""What is a step worth under the configured objective? Reward, discount and trace of each step. Pure torch; keeps a running rate.

Three objectives (docs/algorithms/vtrace.md, section "Objectives"):

    per_attempt          g = gamma                         reward c r
    discounted_in_time   g = gamma ** (duration / unit)    reward c r
    per_second           g = 1                             reward r - rho tau,  rho the running reward per second

tau is from a step's start to the lane's next start: waits and resets are seconds too.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from sojourn.algorithms.targets import Objective, reward_factors, step_discounts
from sojourn.experience import IDLE
from sojourn.ranks import Together

if TYPE_CHECKING:
    from sojourn.config import Config
    from sojourn.config.algorithms import ActorCriticSettings


class RewardRate(Together, nn.Module):
    """rho: sum of rewards over sum of seconds, both faded by the same share a batch, so that their ratio has no bias of its start.

    Never the mean of reward / duration: that is another quantity, in which quick actions count as much as slow ones.
    """

    reward: Tensor
    seconds: Tensor

    def __init__(self, memory_batches: int) -> None:
        """memory_batches: a batch fades to 1 / e in about so many."""
        super().__init__()
        self._kept = 1.0 - 1.0 / memory_batches
        self.register_buffer("reward", torch.zeros((), dtype=torch.float64))
        self.register_buffer("seconds", torch.zeros((), dtype=torch.float64))

    def value(self) -> Tensor:
        """Reward per second, float32 scalar; 0 before the first batch."""
        rate = self.reward / torch.where(self.seconds > 0, self.seconds, 1.0)
        return rate.to(torch.float32)

    @torch.no_grad()
    def observe(self, reward: Tensor, duration_s: Tensor, weight: Tensor) -> None:
        """Take steps in, of one shape each. weight: 0 for those that do not count."""
        earned, passed_s = (weight * reward).sum(dtype=torch.float64), (weight * duration_s).sum(dtype=torch.float64)
        self.ranks.add([earned, passed_s])
        self.reward.mul_(self._kept).add_(earned)
        self.seconds.mul_(self._kept).add_(passed_s)


def start_to_start_s(columns: Mapping[str, Tensor]) -> Tensor:
    """tau of steps, float32 [B, n] or [B, L]: the action and what its lane waited behind it, where actors say that."""
    duration_s = columns["duration_s"]
    return duration_s + columns[IDLE] if IDLE in columns else duration_s


@dataclass(frozen=True)
class Worth:
    """Of steps [B, L]: reward (as it is summed), discount g in [0, 1] and trace lambda in [0, 1]."""

    reward: Tensor
    discount: Tensor
    trace: Tensor


class StepObjective:
    """The configured objective, for learners of single steps.

    rate: of rewards per second; None unless the objective is per_second.
    """

    def __init__(self, config: Config, settings: ActorCriticSettings) -> None:
        self._objective, self._timing = config.objective, config.reward_timing
        self._settings, self._time_unit_s = settings, config.duration.time_unit_s
        self.rate = RewardRate(settings.rate_memory_batches) if config.objective == "per_second" else None

    def worth(self, reward: Tensor, duration_s: Tensor, tau_s: Tensor, weight: Tensor) -> Worth:
        """Of steps float32[B, L]. tau_s: start to start, for rates; discounts and traces go by the action's duration.

        weight: of the sampling law, 0 for steps that do not count; takes them into the rate afterwards.
        """
        settings, unit_s = self._settings, self._time_unit_s
        fades: Objective = "per_attempt" if settings.trace_per == "step" else "discounted_in_time"
        trace = step_discounts(duration_s, settings.trace, unit_s, fades)
        if self._objective == "per_second":
            assert self.rate is not None
            worth = Worth(reward - self.rate.value() * tau_s, torch.ones_like(reward), trace)
            self.rate.observe(reward, tau_s, weight)
            return worth
        discount = step_discounts(duration_s, settings.discount, unit_s, self._objective)
        return Worth(reward_factors(discount, self._timing) * reward, discount, trace)
