"""Proximal policy optimisation: several passes over a batch of segments, held near the policy that acted.

Source: Schulman et al. 2017, arXiv 1707.06347 (equations 7 and 9, algorithm 1), with generalised advantages on realised durations
(sojourn/algorithms/advantages.py). The ratio is to the probability that the actor stored. A segment's weight multiplies the
losses of its steps and stays outside of advantages and traces.

Axes: B segments, L steps, N = B * L steps side by side, M steps of a minibatch.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

import torch
from torch import Tensor

from sojourn.algorithms.actor_critic import ActorCritic, clipped_ratio, ratio_of, weighted_mean
from sojourn.algorithms.advantages import gae, normalised
from sojourn.algorithms.base import StepFacts, TrainBatch, Update
from sojourn.algorithms.segments import Segments
from sojourn.errors import ConfigError

if TYPE_CHECKING:
    from sojourn.columns import Schema
    from sojourn.config import Config
    from sojourn.config.algorithms import PpoSettings


def surrogate(ratio: Tensor, advantage: Tensor, clip: float) -> Tensor:
    """min(ratio A, clamp(ratio, 1 - clip, 1 + clip) A): equation 7.  float32[M] each."""
    return torch.minimum(ratio * advantage, ratio.clamp(1.0 - clip, 1.0 + clip) * advantage)


@dataclass(frozen=True)
class Fixed:
    """What stays as it is during the passes, of N steps: behaviour log-probability, advantage and value target float32, counts bool."""

    steps: TrainBatch
    log_prob: Tensor
    advantage: Tensor
    target: Tensor
    mask: Tensor

    def at(self, index: Tensor) -> Fixed:
        """Of the steps int64[M]."""
        columns = {name: column[index] for name, column in self.steps.columns.items()}
        steps = TrainBatch(columns, self.steps.loss_weight[index], self.steps.weight_of_values[index])
        return Fixed(steps, self.log_prob[index], self.advantage[index], self.target[index], self.mask[index])


class Ppo(ActorCritic):
    """Order of an update: normalisers, advantages by the value network as it is, then `epochs` x `minibatches` gradient steps."""

    def __init__(self, config: Config, schema: Schema, device: str, seed: int) -> None:
        """Raises ConfigError for a table that would hand out old steps, or a batch with fewer steps than minibatches."""
        super().__init__(config, schema, device, seed)
        self._settings = cast("PpoSettings", config.algorithm)
        _check(config, self._settings)

    def update(self, batch: TrainBatch) -> Update:
        self.learner_step += 1
        segments = Segments.of(batch)
        fixed, facts = self._fixed(segments)
        learned = [self._step(fixed.at(index)) for index in self._minibatches(len(fixed.mask))]
        means = {name: torch.stack([step[name] for step in learned]).mean() for name in learned[0]}
        priority = segments.priority((fixed.target - self._values(fixed.steps)).view(segments.mask.shape))
        return Update(priority, {**means, "td_error": priority.mean(), **self._rate()}, facts)

    @torch.no_grad()
    def _fixed(self, segments: Segments) -> tuple[Fixed, StepFacts]:
        """Advantages and targets by the networks as they are before the passes, and what diagnosis needs of the policy."""
        shape = segments.mask.shape
        steps = segments.steps()
        reward = self.policy.observe(steps).view(shape)
        worth = self._objective.worth(reward, segments.duration_s, segments.tau_s, steps.weight_of_values.view(shape))
        features = self.policy.encoder(segments.observations())
        value = self._critic(features).view(shape[0], shape[1] + 1)
        now, behind = value[:, :-1].T, value[:, 1:].T
        parts = (worth.reward.T, worth.discount.T, segments.terminated.T, segments.ended.T)
        advantage = gae(*parts, now, behind, worth.trace.T).T.flatten()
        target = advantage + value[:, :-1].flatten()
        chosen = self.policy.distribution(features.view(shape[0], shape[1] + 1, -1)[:, :-1].flatten(0, 1))
        action = self.policy.head.stored(steps.columns)
        ratio = ratio_of(chosen.log_prob(action).view(shape), segments.behaviour_log_prob)
        facts = self._step_facts(ratio, advantage.view(shape), chosen.score(action))
        if self._settings.normalise_advantage:
            advantage = normalised(advantage, steps.loss_weight)
        return Fixed(steps, segments.behaviour_log_prob.flatten(), advantage, target, segments.mask.flatten()), facts

    @torch.no_grad()
    def _values(self, steps: TrainBatch) -> Tensor:
        value: Tensor = self._critic(self.policy.encoder(steps.columns))
        return value

    def _minibatches(self, count: int) -> Iterator[Tensor]:
        """Indices of each gradient step's steps: every pass goes over all of them in an order of its own."""
        for _ in range(self._settings.epochs):
            order = torch.randperm(count, generator=self.generator, device=self.generator.device)
            yield from order.tensor_split(self._settings.minibatches)

    def _step(self, part: Fixed) -> dict[str, Tensor]:
        settings, weight = self._settings, part.steps.loss_weight
        count = part.mask.sum().clamp_min(1)
        features = self.policy.encoder(part.steps.columns)
        chosen = self.policy.distribution(features)
        ratio = ratio_of(chosen.log_prob(self.policy.head.stored(part.steps.columns)), part.log_prob)
        actor_loss = -weighted_mean(surrogate(ratio, part.advantage, settings.ratio_clip), weight, count)
        error = self._critic(features) - part.target
        critic_loss = 0.5 * weighted_mean(error.square(), part.steps.weight_of_values, count)
        entropy = weighted_mean(chosen.entropy(), weight, count)
        loss = actor_loss + settings.value_cost * critic_loss - settings.entropy_cost * entropy
        norm, skipped = self._optimiser.minimise(loss)
        losses = {"actor_loss": actor_loss.detach(), "critic_loss": critic_loss.detach(), "entropy": entropy.detach()}
        outside = ((ratio.detach() - 1.0).abs() > settings.ratio_clip) & part.mask
        shares = {"clipped_ratio": clipped_ratio(ratio.detach(), part.mask), "clipped_share": outside.sum() / count}
        return {**losses, **shares, "gradient_norm": norm, "skipped": skipped}


def _check(config: Config, settings: PpoSettings) -> None:
    name = config.learners.table
    table = config.tables[name]
    if table.sampler != "fifo":
        raise ConfigError(
            f"ppo learns from what its policy did last, once: write tables.{name}.sampler: fifo and consume: true, not "
            f"sampler: {table.sampler}"
        )
    if settings.minibatches > config.learners.batch_size * table.length:
        raise ConfigError(
            f"algorithm.minibatches {settings.minibatches} is above the {config.learners.batch_size * table.length} steps of a batch"
        )
