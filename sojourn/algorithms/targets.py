"""What is learned towards: discounts, rewards inside an action, and n-step targets. Pure functions on tensors; no I/O.

Three switches are kept apart: how a step is discounted (`step_discounts`), where in its action a reward falls
(`reward_factors`), and what the value behind the last step is (the algorithm's). Source of all formulas: docs/duration.md.

Axes: B items, n steps of an item. Steps behind an early end are masked out.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor

if TYPE_CHECKING:
    from sojourn.config import Config


Objective = Literal["per_attempt", "discounted_in_time", "per_second"]
RewardTiming = Literal["start", "end", "spread"]


@dataclass(frozen=True)
class TargetRule:
    """The configured way from an item's rewards and the value behind them to a target."""

    discount: float
    objective: Objective
    time_unit_s: float
    reward_timing: RewardTiming

    @classmethod
    def of(cls, config: Config) -> TargetRule:
        """The rule that is configured."""
        return cls(config.algorithm.discount, config.objective, config.duration.time_unit_s, config.reward_timing)

    def target(self, reward: Tensor, columns: Mapping[str, Tensor], value: Tensor) -> Tensor:
        """y of each item, float32[B].

        reward: float32[B, n], possibly scaled, less what its seconds cost in per_second.  columns: duration_s, mask [B, n], terminated [B].
        value: of the observation behind the last step that counts, float32[B].
        """
        step_discount = step_discounts(columns["duration_s"], self.discount, self.time_unit_s, self.objective)
        timing = "start" if self.objective == "per_second" else self.reward_timing  # a rate knows no moment inside of an action
        factor = reward_factors(step_discount, timing)
        reward_sum, discount = n_step_sums(reward, step_discount, factor, columns["mask"])
        return bootstrapped(reward_sum, discount, columns["terminated"], value)


def step_discounts(duration_s: Tensor, discount: float, time_unit_s: float, objective: Objective) -> Tensor:
    """g_k: what the future behind step k is multiplied by.

    duration_s: float32[B, n], >= 0.  discount: in [0, 1], per step, or per `time_unit_s` seconds in discounted_in_time.
    Returns float32[B, n] in [0, 1]: gamma, or gamma ** (duration / unit), with the realised duration of each step.
    """
    if objective != "discounted_in_time":
        return torch.full_like(duration_s, discount)
    return torch.pow(discount, duration_s / time_unit_s)


def reward_factors(step_discount: Tensor, timing: RewardTiming) -> Tensor:
    """c_k: discount of a step's own reward by where in the action it falls.

    start: 1.  end: g_k.  spread evenly over the action: (1 - g_k) / -ln g_k, its limits being 1 at g = 1 and 0 at g = 0.
    step_discount: g_k, float32[B, n] in [0, 1].  Returns float32[B, n].
    """
    if timing == "start":
        return torch.ones_like(step_discount)
    if timing == "end":
        return step_discount
    rate = -torch.log(step_discount)  # beta tau
    return torch.where(rate > 1e-6, -torch.expm1(-rate) / rate, torch.ones_like(rate))


def n_step_sums(reward: Tensor, step_discount: Tensor, reward_factor: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """The rewards of an item, discounted, and the discount of the value behind them.

    reward, step_discount (g), reward_factor (c): float32[B, n].  mask: bool[B, n], True for the first m >= 1 steps.
    Returns (sum_{j<m} Gam_j c_j r_j, Gam_m), float32[B] each, with Gam_j = prod_{i<j} g_i.
    """
    behind = torch.where(mask, step_discount, 1.0).cumprod(dim=1)  # Gam_{j+1}
    before = torch.cat((torch.ones_like(behind[:, :1]), behind[:, :-1]), dim=1)  # Gam_j
    return torch.where(mask, before * reward_factor * reward, 0.0).sum(dim=1), behind[:, -1]


def bootstrapped(reward_sum: Tensor, discount: Tensor, terminated: Tensor, value: Tensor) -> Tensor:
    """y = reward_sum + Gam_m (1 - terminated) value.

    terminated: bool[B], of the last step that counts. A truncated item is not terminated: the world went on, so it bootstraps.
    reward_sum, discount (Gam_m), value: float32[B].  Returns float32[B].
    """
    return reward_sum + torch.where(terminated, 0.0, discount * value)
