"""What have learners of segments in common? A policy that acts itself from the first step on, a value network, and their losses.

The baseline is a network of the observation alone, as it was before the update: when an action finished, or which others finished
with it, has no part in it. Pure torch; no I/O.

Axes: B segments, L steps, N = B * L.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, cast

import numpy as np
import torch
from torch import Tensor, nn

from sojourn.algorithms.action_heads import BranchesHead, Distribution, build_head
from sojourn.algorithms.base import Acted, Algorithm, Policy, StepFacts
from sojourn.algorithms.objectives import StepObjective
from sojourn.algorithms.optimiser import Optimiser
from sojourn.networks import build_body

if TYPE_CHECKING:
    from sojourn.columns import Schema
    from sojourn.config import Config
    from sojourn.config.algorithms import ActorCriticSettings

LARGEST_LOG_RATIO = 20.0  # e^20: beyond all clips, and finite


def weighted_mean(x: Tensor, weight: Tensor, count: Tensor) -> Tensor:
    """Sum of w x over `count` steps. Not over the sum of the weights: a batch's own mean weight would shrink the gradient.

    x, weight: float32[N], weight 0 for steps that do not count.  count: float32 scalar, >= 1.
    """
    return (weight * x).sum() / count


def ratio_of(log_prob: Tensor, behaviour_log_prob: Tensor) -> Tensor:
    """pi(a|s) over the behaviour's probability, > 0 and finite.  float32, one shape."""
    return (log_prob - behaviour_log_prob).clamp(-LARGEST_LOG_RATIO, LARGEST_LOG_RATIO).exp()


def clipped_ratio(ratio: Tensor, mask: Tensor) -> Tensor:
    """Mean of min(1, ratio) over steps that count: 1 - total variation between policy and behaviour, in [0, 1]."""
    return (ratio.clamp(max=1.0) * mask).sum() / mask.sum().clamp_min(1)


class ActorCriticPolicy(Policy):
    """Acts by its distribution, from learner step 0 on; by its mode when deterministic."""

    def __init__(self, config: Config, schema: Schema) -> None:
        super().__init__(config, schema)
        settings = cast("ActorCriticSettings", config.algorithm)
        self.body = build_body(self.encoder.out_features, config.network)
        self.head = build_head(self.body.out_features, schema, config.algorithm.name, settings.initial_std)

    def distribution(self, features: Tensor) -> Distribution:
        """For features float32[N, F]."""
        chosen: Distribution = self.head(self.body(features)[0])
        return chosen

    def trunk(self) -> tuple[nn.Module, ...]:
        return (self.body,)

    @torch.inference_mode()
    def choose(self, outputs: np.ndarray, *, deterministic: bool, env_steps: int, rng: np.random.Generator) -> Acted:
        """The log-probability is that of the action as it is stored, so that a learner finds the same one."""
        distribution: Distribution = self.head(torch.from_numpy(outputs))
        columns = self.head.columns(distribution.mode() if deterministic else distribution.sample(rng))
        stored = self.head.stored({name: torch.from_numpy(leaf) for name, leaf in columns.items()})
        return Acted(columns, distribution.log_prob(stored).numpy())


class ValueNetwork(nn.Module):
    """V of features, with a body of its own."""

    def __init__(self, features: int, config: Config) -> None:
        super().__init__()
        self.body = build_body(features, config.network.of_critic())
        self.value = nn.Linear(self.body.out_features, 1)

    def forward(self, features: Tensor) -> Tensor:
        """float32[N, F] to float32[N]."""
        value: Tensor = self.value(self.body(features)[0])
        return value.squeeze(1)


class ActorCritic(Algorithm):
    """Policy, value network, and one optimiser over both, with the encoder that they share."""

    policy: ActorCriticPolicy
    items: ClassVar[tuple[str, ...]] = ("segment",)

    def __init__(self, config: Config, schema: Schema, device: str, seed: int) -> None:
        super().__init__(config, schema, device, seed)
        settings = cast("ActorCriticSettings", config.algorithm)
        self._objective = StepObjective(config, settings)
        self._critic = ValueNetwork(self.policy.encoder.out_features, config).to(device)
        trained = [*self.policy.parameters(), *self._critic.parameters()]
        self._optimiser = Optimiser(trained, settings.learning_rate, settings.max_gradient_norm, settings.weight_decay)
        self.parts |= {"critic": self._critic, "optimiser": self._optimiser}
        if self._objective.rate is not None:
            self.parts["reward_rate"] = self._objective.rate.to(device)

    @classmethod
    def make_policy(cls, config: Config, schema: Schema) -> ActorCriticPolicy:
        return ActorCriticPolicy(config, schema)

    def adopt_policy(self) -> None:
        """Nothing here is a copy of the policy."""

    def _step_facts(self, ratio: Tensor, error: Tensor, score: Tensor) -> StepFacts:
        """ratio, error: float32[B, L].  score: float32[B * L, E]."""
        choices = isinstance(self.policy.head, BranchesHead) and len(self.policy.head.actions.sizes) == 1
        return StepFacts(ratio, error.abs(), score.view(*ratio.shape, -1), choices)

    def _rate(self) -> dict[str, Tensor]:
        """The running reward rate as a metric, where there is one."""
        return {} if self._objective.rate is None else {"reward_rate": self._objective.rate.value()}
