"""Soft actor-critic with tuned temperature: networks, acting rule, losses, priorities.

Source: Haarnoja et al. 2018, "Soft Actor-Critic Algorithms and Applications", arXiv 1812.05905. Beyond the paper: n-step targets
with realised durations (sojourn/algorithms/targets.py), a loss weight per item on all three losses (states are drawn by priority,
so the actor's and the temperature's expectations need the correction as much as the critics'), and one observation encoder,
trained by the critics' loss alone (Yarats et al. 2021, arXiv 1910.01741).

Axes: B items, 2 critics, D action dimensions, F features.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar, cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim.swa_utils import get_ema_multi_avg_fn

from sojourn.algorithms.base import Acted, Algorithm, Policy, TrainBatch, Update
from sojourn.algorithms.gaussian import LOG_STD_RANGE, squashed, squashed_numpy
from sojourn.algorithms.objectives import RewardRate, start_to_start_s
from sojourn.algorithms.optimiser import Optimiser
from sojourn.algorithms.spaces import ContinuousActions
from sojourn.algorithms.targets import TargetRule
from sojourn.errors import ConfigError
from sojourn.networks import EnsembleLinear, build_body

if TYPE_CHECKING:
    from sojourn.columns import Schema
    from sojourn.config import Config
    from sojourn.config.algorithms import SacSettings

NEWEST = 16  # the reward rate is that of a batch's newest sixteenth: what older policies earned is another rate


def newest(policy_version: Tensor) -> Tensor:
    """Items of a batch's newest policy versions, at least a sixteenth of it.  int64[B] to bool[B]."""
    least = policy_version.sort(descending=True).values[(len(policy_version) - 1) // NEWEST]
    return policy_version >= least


def critic_loss(q: Tensor, target: Tensor, weight: Tensor) -> Tensor:
    """Sum over both critics of mean w (Q - y)^2 / 2: equation 5.  q: float32[2, B], target and weight: float32[B]."""
    return 0.5 * (weight * (q - target).square()).mean(dim=1).sum()


def actor_loss(log_prob: Tensor, q: Tensor, temperature: Tensor, weight: Tensor) -> Tensor:
    """Mean w (alpha log pi - min Q): equation 9.  log_prob, weight: float32[B], q: float32[2, B], of the policy's own action."""
    return (weight * (temperature * log_prob - q.amin(dim=0))).mean()


def temperature_loss(log_temperature: Tensor, log_prob: Tensor, target_entropy: float, weight: Tensor) -> Tensor:
    """Mean -w log(alpha) (log pi + target entropy): equation 18, with log alpha for alpha as in the authors' own code."""
    return -(weight * log_temperature * (log_prob.detach() + target_entropy)).mean()


def soft_value(q: Tensor, log_prob: Tensor, temperature: Tensor, offset: float) -> Tensor:
    """min Q - alpha (log pi + offset): equation 3, float32[B].

    offset: 0, or the target entropy: the centred form, zero on average at the tuned temperature, which does not pay a policy for
    deciding more often (docs/duration.md).
    """
    return q.amin(dim=0) - temperature * (log_prob + offset)


class SacPolicy(Policy):
    """A squashed Gaussian; its mode, tanh(mean), when deterministic."""

    def __init__(self, config: Config, schema: Schema) -> None:
        super().__init__(config, schema)
        self.actions = ContinuousActions(schema, "sac")
        self.body = build_body(self.encoder.out_features, config.network)
        self.head = EnsembleLinear(1, self.body.out_features, 2 * self.actions.dimensions)

    def distribution(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log standard deviation before the squashing, float32[B, D] each."""
        mean, log_std = self.head(self.body(features))[0].chunk(2, dim=1)
        return mean, log_std.clamp(*LOG_STD_RANGE)

    def random(self, size: int, rng: np.random.Generator) -> Acted:
        dimensions = self.actions.dimensions
        action = rng.uniform(-1.0, 1.0, (size, dimensions)).astype(np.float32)
        return Acted(self.actions.columns(action), np.full(size, -dimensions * np.log(2.0), np.float32))

    def trunk(self) -> tuple[nn.Module, ...]:
        return self.body, self.head

    def choose(self, outputs: np.ndarray, *, deterministic: bool, env_steps: int, rng: np.random.Generator) -> Acted:
        shape = len(outputs), self.actions.dimensions
        noise = np.zeros(shape, np.float32) if deterministic else rng.standard_normal(shape, np.float32)
        action, log_prob = squashed_numpy(outputs, noise)
        return Acted(self.actions.columns(action), log_prob)


class TwinCritic(nn.Module):
    """Two Q functions of features and actions, evaluated in one pass."""

    def __init__(self, features: int, dimensions: int, config: Config) -> None:
        super().__init__()
        self.body = build_body(features + dimensions, config.network.of_critic(), copies=2)
        self.head = EnsembleLinear(2, self.body.out_features, 1)

    def forward(self, features: Tensor, action: Tensor) -> Tensor:
        """float32[B, F] and float32[B, D] to float32[2, B]."""
        q: Tensor = self.head(self.body(torch.cat((features, action), dim=1)))
        return q.squeeze(2)


class Temperature(nn.Module):
    """alpha, kept positive by its logarithm."""

    def __init__(self, initial: float) -> None:
        super().__init__()
        self.log = nn.Parameter(torch.tensor(initial).log())


class Sac(Algorithm):
    """Order of an update: critics, actor against the new critics, temperature, target average."""

    policy: SacPolicy
    capturable: ClassVar[bool] = True

    def __init__(self, config: Config, schema: Schema, device: str, seed: int) -> None:
        super().__init__(config, schema, device, seed)
        settings = cast("SacSettings", config.algorithm)
        dimensions, features = self.policy.actions.dimensions, self.policy.encoder.out_features
        _check(config, settings)
        self._rule = TargetRule.of(config)
        self._rate = RewardRate(settings.rate_memory_batches).to(device) if config.objective == "per_second" else None
        self._target_entropy = -float(dimensions) if settings.target_entropy is None else settings.target_entropy
        self._entropy_offset = self._target_entropy if settings.entropy == "centred" else 0.0
        self._critic = TwinCritic(features, dimensions, config).to(device)
        self._temperature = Temperature(settings.initial_temperature).to(device)
        self._target_critic = TwinCritic(features, dimensions, config).to(device)
        self._target_encoder = self.policy.encoder.target_copy()
        self._average = get_ema_multi_avg_fn(1.0 - settings.target_update_rate)  # type: ignore[no-untyped-call]
        rate, norm, decay = settings.learning_rate, settings.max_gradient_norm, settings.weight_decay
        self._critic_optimiser = Optimiser([*self.policy.encoder.parameters(), *self._critic.parameters()], rate, norm, decay)
        self._actor_optimiser = Optimiser([*self.policy.body.parameters(), *self.policy.head.parameters()], rate, norm, decay)
        self._temperature_optimiser = Optimiser([self._temperature.log], rate, norm)
        self._targets = [*self._target_encoder.parameters(), *self._target_critic.parameters()]
        self.parts |= {
            "critic": self._critic,
            "target_critic": self._target_critic,
            "target_encoder": self._target_encoder,
            "temperature": self._temperature,
            "critic_optimiser": self._critic_optimiser,
            "actor_optimiser": self._actor_optimiser,
            "temperature_optimiser": self._temperature_optimiser,
        }
        if self._rate is not None:
            self.parts["reward_rate"] = self._rate
        self.adopt_policy()

    @classmethod
    def make_policy(cls, config: Config, schema: Schema) -> SacPolicy:
        return SacPolicy(config, schema)

    @torch.no_grad()
    def adopt_policy(self) -> None:
        self._target_critic.load_state_dict(self._critic.state_dict())
        self._target_encoder.load_state_dict(self.policy.encoder.state_dict())

    def update(self, batch: TrainBatch) -> Update:
        self.learner_step += 1
        reward = self._less_seconds(self.policy.observe(batch), batch)
        features = self.policy.encoder(batch.columns)
        target = self._target(batch.columns, reward)
        learned = self._update_critics(features, batch, target)
        learned |= self._update_actor(features.detach(), batch.loss_weight)
        self._average(self._targets, self._critic_optimiser.parameters, None)
        priority = learned.pop("td_error")
        rate = {} if self._rate is None else {"reward_rate": self._rate.value()}
        return Update(priority, {**learned, "td_error": priority.mean(), **rate})

    def _less_seconds(self, reward: Tensor, batch: TrainBatch) -> Tensor:
        """In per_second: reward - rho tau of each step, float32[B, n], by the rate as it was before this batch."""
        if self._rate is None:
            return reward
        mask = batch["mask"]  # behind the last step may stand anything
        reward, tau_s = torch.where(mask, reward, 0.0), torch.where(mask, start_to_start_s(batch.columns), 0.0)
        found = reward - self._rate.value() * tau_s
        self._rate.observe(reward, tau_s, (batch.weight_of_values * newest(batch["policy_version"]))[:, None])
        return found

    @torch.no_grad()
    def _target(self, columns: Mapping[str, Tensor], reward: Tensor) -> Tensor:
        """y of each item, float32[B]."""
        features = self.policy.encoder(columns, "next_observation")
        action, log_prob = self._sample(features)
        if self.policy.encoder.learned:
            features = self._target_encoder(columns, "next_observation")
        q = self._target_critic(features, action)
        value = soft_value(q, log_prob, self._temperature.log.exp(), self._entropy_offset)
        return self._rule.target(reward, columns, value)

    def _sample(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """An action of the present policy, float32[B, D], and its log density, float32[B]."""
        mean, log_std = self.policy.distribution(features)
        noise = torch.randn(mean.shape, generator=self.generator, device=mean.device)
        return squashed(mean, log_std, noise)

    def _update_critics(self, features: Tensor, batch: TrainBatch, target: Tensor) -> dict[str, Tensor]:
        q = self._critic(features, self.policy.actions.normalised(batch.columns))
        loss = critic_loss(q, target, batch.weight_of_values)
        norm, skipped = self._critic_optimiser.minimise(loss)
        return {
            "td_error": (q.detach() - target).abs().mean(dim=0),
            "critic_loss": loss.detach(),
            "q_mean": q.detach().mean(),
            "critic_gradient_norm": norm,
            "skipped": skipped,
        }

    def _update_actor(self, features: Tensor, weight: Tensor) -> dict[str, Tensor]:
        action, log_prob = self._sample(features)
        temperature = self._temperature.log.detach().exp()
        loss = actor_loss(log_prob, self._critic(features, action), temperature, weight)
        norm, _ = self._actor_optimiser.minimise(loss)
        loss_of_temperature = temperature_loss(self._temperature.log, log_prob, self._target_entropy, weight)
        self._temperature_optimiser.minimise(loss_of_temperature)
        return {
            "actor_loss": loss.detach(),
            "temperature_loss": loss_of_temperature.detach(),
            "temperature": temperature,
            "entropy": -log_prob.detach().mean(),
            "actor_gradient_norm": norm,
        }


def _check(config: Config, settings: SacSettings) -> None:
    if config.objective == "per_second" and settings.entropy != "centred":
        raise ConfigError(
            "objective: per_second needs algorithm.entropy: centred: an entropy bonus for every action pays for acting more often"
        )
