"""Deep Q-learning for discrete actions: networks, acting rule, loss, priorities.

Sources: Mnih et al. 2015 (target copy, error clipped in the gradient: Huber loss), van Hasselt et al. 2016 (double), Wang et al. 2016
(dueling), n-step targets as in Hessel et al. 2018. Actions of several dimensions are branches of one network that share its value
stream (Tavakoli et al. 2018, arXiv 1711.08946); Discrete is the case of one branch.

Axes: B items, D branches, A choices of the largest branch.
"""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from sojourn.algorithms.base import Acted, Algorithm, Policy, TrainBatch, Update, weighs_policy_only
from sojourn.algorithms.optimiser import Optimiser
from sojourn.algorithms.spaces import DiscreteActions
from sojourn.algorithms.targets import TargetRule
from sojourn.errors import ConfigError
from sojourn.networks import build_body

if TYPE_CHECKING:
    from sojourn.columns import Schema
    from sojourn.config import Config
    from sojourn.config.algorithms import DqnSettings


def exploration(settings: DqnSettings, env_steps: int) -> float:
    """Chance of a uniform choice: linear from start to end over `exploration_env_steps`, then constant."""
    faded = min(1.0, env_steps / settings.exploration_env_steps)
    return settings.exploration_start + faded * (settings.exploration_end - settings.exploration_start)


def q_of(q: Tensor, index: Tensor) -> Tensor:
    """The values of chosen actions.  q: float32[B, D, A], index: int64[B, D].  Returns float32[B, D]."""
    return q.gather(2, index[..., None]).squeeze(2)


def td_loss(q: Tensor, target: Tensor, weight: Tensor) -> Tensor:
    """Mean over items of w times the mean over branches of Huber(y - Q).  q: float32[B, D], target and weight: float32[B]."""
    error = functional.huber_loss(q, target[:, None].expand_as(q), reduction="none")
    return (weight * error.mean(dim=1)).mean()


class QNetwork(nn.Module):
    """Q of every choice in every branch.

    Dueling: Q_d(s, a) = V(s) + A_d(s, a) - mean_a A_d(s, a). Choices that a branch lacks have Q = -inf.
    """

    possible: Tensor

    def __init__(self, features: int, sizes: list[int], config: Config, *, dueling: bool) -> None:
        super().__init__()
        self._shape = (len(sizes), max(sizes))
        self.body = build_body(features, config.network)
        self.advantage = nn.Linear(self.body.out_features, len(sizes) * max(sizes))
        self.value = nn.Linear(self.body.out_features, 1) if dueling else None
        possible = torch.arange(max(sizes)) < torch.tensor(sizes)[:, None]
        self.register_buffer("possible", possible, persistent=False)

    def forward(self, features: Tensor) -> Tensor:
        """float32[B, F] to float32[B, D, A]."""
        return self.of_hidden(self.body(features)[0])

    def of_hidden(self, hidden: Tensor) -> Tensor:
        """The same for the body's outputs, float32[B, H]."""
        q: Tensor = self.advantage(hidden).view(-1, *self._shape)
        if self.value is not None:
            mean = (q * self.possible).sum(dim=2, keepdim=True) / self.possible.sum(dim=1, keepdim=True)
            q = q - mean + self.value(hidden)[:, :, None]
        return q.masked_fill(~self.possible, -torch.inf)


class DqnPolicy(Policy):
    """Epsilon-greedy in each branch on its own; greedy when deterministic."""

    def __init__(self, config: Config, schema: Schema) -> None:
        super().__init__(config, schema)
        self._settings = cast("DqnSettings", config.algorithm)
        self.actions = DiscreteActions(schema, "dqn")
        self.q = QNetwork(self.encoder.out_features, self.actions.sizes, config, dueling=self._settings.dueling)

    def random(self, size: int, rng: np.random.Generator) -> Acted:
        index = rng.integers(self.actions.sizes, size=(size, len(self.actions.sizes)))
        return Acted(self.actions.columns(index), np.full(size, -np.log(self.actions.sizes).sum(), np.float32))

    def trunk(self) -> tuple[nn.Module, ...]:
        return (self.q.body,)

    @torch.inference_mode()
    def choose(self, outputs: np.ndarray, *, deterministic: bool, env_steps: int, rng: np.random.Generator) -> Acted:
        greedy = self.q.of_hidden(torch.from_numpy(outputs)).argmax(dim=2).numpy()
        epsilon = 0.0 if deterministic else exploration(self._settings, env_steps)
        uniform = rng.integers(self.actions.sizes, size=greedy.shape)
        index = np.where(rng.random(greedy.shape) < epsilon, uniform, greedy)
        probability = epsilon / np.asarray(self.actions.sizes) + (1.0 - epsilon) * (index == greedy)
        return Acted(self.actions.columns(index), np.log(probability).sum(axis=1, dtype=np.float32))


def _check(config: Config) -> None:
    if config.objective == "per_second":
        raise ConfigError(
            "objective: per_second is not available for dqn: its actors explore, and what they earn in a second is not what the "
            "greedy policy does; write per_attempt or discounted_in_time"
        )
    table = config.learners.table
    duration = config.tables[table].duration
    if weighs_policy_only(config.tables[table]) and duration.weight != "none":
        raise ConfigError(
            f"dqn has no policy loss for duration.weight: {duration.weight} to apply to: write tables.{table}.duration.applies_to: all"
        )


class Dqn(Algorithm):
    """One Q network, and a copy of it that values next observations and is renewed every `target_update_every` steps."""

    policy: DqnPolicy

    def __init__(self, config: Config, schema: Schema, device: str, seed: int) -> None:
        super().__init__(config, schema, device, seed)
        _check(config)
        self._settings = cast("DqnSettings", config.algorithm)
        self._rule = TargetRule.of(config)
        self._target_encoder = self.policy.encoder.target_copy()
        self._target_q = copy.deepcopy(self.policy.q)
        trained = [*self.policy.encoder.parameters(), *self.policy.q.parameters()]
        self._optimiser = Optimiser(
            trained, self._settings.learning_rate, self._settings.max_gradient_norm, self._settings.weight_decay
        )
        self.parts |= {"target_encoder": self._target_encoder, "target_q": self._target_q, "optimiser": self._optimiser}

    @classmethod
    def make_policy(cls, config: Config, schema: Schema) -> DqnPolicy:
        return DqnPolicy(config, schema)

    @torch.no_grad()
    def adopt_policy(self) -> None:
        self._target_encoder.load_state_dict(self.policy.encoder.state_dict())
        self._target_q.load_state_dict(self.policy.q.state_dict())

    def update(self, batch: TrainBatch) -> Update:
        self.learner_step += 1
        reward = self.policy.observe(batch)
        target = self._rule.target(reward, batch.columns, self._value(batch))
        q = q_of(self.policy.q(self.policy.encoder(batch.columns)), self.policy.actions.indices(batch.columns))
        loss = td_loss(q, target, batch.weight_of_values)
        norm, skipped = self._optimiser.minimise(loss)
        if self.learner_step % self._settings.target_update_every == 0:
            self.adopt_policy()
        priority = (q.detach() - target[:, None]).abs().mean(dim=1)
        measured = {"critic_loss": loss.detach(), "critic_gradient_norm": norm, "skipped": skipped, "td_error": priority.mean()}
        return Update(priority, {**measured, "q_mean": q.detach().mean()})

    @torch.no_grad()
    def _value(self, batch: TrainBatch) -> Tensor:
        """Value of the next observations: mean over branches of Q' at the best choice, float32[B].

        The choice is the online network's (double) or the target's own.  Source: Tavakoli et al. 2018, equation 6.
        """
        q = self._target_q(self._target_encoder(batch.columns, "next_observation"))
        chooser = q
        if self._settings.double:
            chooser = self.policy.q(self.policy.encoder(batch.columns, "next_observation"))
        return q_of(q, chooser.argmax(dim=2)).mean(dim=1)
