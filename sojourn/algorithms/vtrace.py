"""V-trace actor-critic: one gradient step on every batch of segments, corrected for the policy that acted.

Source: Espeholt et al. 2018, "IMPALA", arXiv 1802.01561 (equation 1 and section 4.2), with the realised discount of every step
(sojourn/algorithms/advantages.py). A segment's weight multiplies the losses of its steps and stays outside of targets and traces;
the ratio is in the advantage already, once.

Axes: B segments, L steps, N = B * L steps side by side.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from torch import Tensor

from sojourn.algorithms.actor_critic import ActorCritic, clipped_ratio, ratio_of, weighted_mean
from sojourn.algorithms.advantages import VTrace, normalised, v_trace
from sojourn.algorithms.base import TrainBatch, Update
from sojourn.algorithms.objectives import Worth
from sojourn.algorithms.segments import Segments

if TYPE_CHECKING:
    from sojourn.columns import Schema
    from sojourn.config import Config
    from sojourn.config.algorithms import VTraceSettings


class VTraceActorCritic(ActorCritic):
    """Order of an update: normalisers, values and probabilities of the present networks, targets, one step on the summed loss."""

    def __init__(self, config: Config, schema: Schema, device: str, seed: int) -> None:
        super().__init__(config, schema, device, seed)
        self._settings = cast("VTraceSettings", config.algorithm)

    def update(self, batch: TrainBatch) -> Update:
        self.learner_step += 1
        segments, shape = Segments.of(batch), batch["mask"].shape
        steps = segments.steps()
        reward = self.policy.observe(steps).view(shape)
        worth = self._objective.worth(reward, segments.duration_s, segments.tau_s, steps.weight_of_values.view(shape))
        features = self.policy.encoder(segments.observations()).view(shape[0], shape[1] + 1, -1)
        value = self._critic(features.flatten(0, 1)).view(shape[0], shape[1] + 1)
        chosen = self.policy.distribution(features[:, :-1].flatten(0, 1))
        action = self.policy.head.stored(steps.columns)
        log_prob = chosen.log_prob(action)
        ratio = ratio_of(log_prob.detach().view(shape), segments.behaviour_log_prob)
        score = chosen.score(action).detach()
        targets = self._targets(segments, worth, value.detach(), ratio)
        error = targets.target.T - value[:, :-1]
        learned = self._step(steps, segments.count, log_prob, targets.advantage.T.reshape(-1), error.flatten(), chosen.entropy())
        priority = segments.priority(error.detach())
        measured = {"clipped_ratio": clipped_ratio(ratio, segments.mask), "td_error": priority.mean()}
        return Update(priority, {**learned, **measured, **self._rate()}, self._step_facts(ratio, error.detach(), score))

    def _targets(self, segments: Segments, worth: Worth, value: Tensor, ratio: Tensor) -> VTrace:
        """Targets and advantages, float32[L, B] each.  value: float32[B, L + 1], ratio: float32[B, L]."""
        return v_trace(
            reward=worth.reward.T,
            discount=worth.discount.T,
            terminated=segments.terminated.T,
            ended=segments.ended.T,
            value=value[:, :-1].T,
            next_value=value[:, 1:].T,
            ratio=ratio.T,
            trace=worth.trace.T,
            rho_clip=self._settings.rho_clip,
            c_clip=self._settings.c_clip,
        )

    def _step(
        self, steps: TrainBatch, count: Tensor, log_prob: Tensor, advantage: Tensor, error: Tensor, entropy: Tensor
    ) -> dict[str, Tensor]:
        """A gradient step on policy, value and entropy together. All float32[N] but count, a scalar."""
        settings, weight = self._settings, steps.loss_weight
        if settings.normalise_advantage:
            advantage = normalised(advantage, weight)
        actor_loss = -weighted_mean(advantage * log_prob, weight, count)
        critic_loss = 0.5 * weighted_mean(error.square(), steps.weight_of_values, count)
        bonus = weighted_mean(entropy, weight, count)
        norm, skipped = self._optimiser.minimise(actor_loss + settings.value_cost * critic_loss - settings.entropy_cost * bonus)
        losses = {"actor_loss": actor_loss.detach(), "critic_loss": critic_loss.detach(), "entropy": bonus.detach()}
        return {**losses, "gradient_norm": norm, "skipped": skipped}
