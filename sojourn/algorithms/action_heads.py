"""Which stochastic policies can be learned on their own actions? Independent branches of choices, and clipped Gaussians.

Both give the probability of an action exactly as it is stored, so what an actor says and what a learner recomputes agree.
Pure torch and NumPy: no I/O; random numbers come from the generator handed in.

Axes: N observations, D branches or dimensions, A choices of the largest branch, H hidden features.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn

from sojourn.algorithms.spaces import ContinuousActions, DiscreteActions
from sojourn.experience import Columns
from sojourn.leaves import leaves_of

if TYPE_CHECKING:
    from sojourn.columns import Schema

EDGE = 1.0 - 1e-6  # a stored action from here on counts as lying on the bound: scaling it to [-1, 1] rounds
LOG_STD_RANGE = (-5.0, 2.0)  # narrower ones would resolve the rounding of stored actions
FIRST_SCALE = 0.01  # of the last layer: first actions barely depend on the observation (Andrychowicz et al. 2021, section 3.2)
_IMPOSSIBLE = -1e9  # logit of a choice that a branch lacks; finite, so that entropies and their gradients stay so
_HALF_LOG_2_PI = 0.5 * math.log(2.0 * math.pi)


class Distribution(ABC):
    """Actions for N observations: tensors of the head's own form."""

    @abstractmethod
    def log_prob(self, action: Tensor) -> Tensor:
        """Of actions [N, D], float32[N]."""

    @abstractmethod
    def score(self, action: Tensor) -> Tensor:
        """Gradient of `log_prob` by logits, or by means in units of their spread: float32[N, E], of mean 0 for the policy's actions."""

    @abstractmethod
    def entropy(self) -> Tensor:
        """float32[N]."""

    @abstractmethod
    def mode(self) -> Tensor:
        """The likeliest action of each, [N, D]."""

    @abstractmethod
    def sample(self, rng: np.random.Generator) -> Tensor:
        """An action of each, [N, D]."""


@dataclass(frozen=True)
class Branches(Distribution):
    """Independent choices. log_choice: log probabilities float32[N, D, A]; actions are indices int64[N, D]."""

    log_choice: Tensor

    def log_prob(self, action: Tensor) -> Tensor:
        return self.log_choice.gather(2, action[..., None]).squeeze(2).sum(dim=1)

    def score(self, action: Tensor) -> Tensor:
        """One-hot of the choice less the probabilities: E = D A."""
        chosen = torch.zeros_like(self.log_choice).scatter_(2, action[..., None], 1.0)
        return (chosen - self.log_choice.exp()).flatten(1)

    def entropy(self) -> Tensor:
        return -(self.log_choice.exp() * self.log_choice).sum(dim=(1, 2))

    def mode(self) -> Tensor:
        return self.log_choice.argmax(dim=2)

    def sample(self, rng: np.random.Generator) -> Tensor:
        noise = torch.from_numpy(rng.gumbel(size=self.log_choice.shape).astype(np.float32))  # the largest is a draw
        return (self.log_choice + noise).argmax(dim=2)


@dataclass(frozen=True)
class ClippedGaussian(Distribution):
    """A Gaussian in each dimension, clipped to [-1, 1]: the bounds have the probability of all that lies beyond them.

    mean, log_std: float32[N, D]; actions float32[N, D] in [-1, 1].
    Density inside, probability on the bounds.  Source: Fujita and Maeda 2018, arXiv 1802.07564.
    """

    mean: Tensor
    log_std: Tensor

    def log_prob(self, action: Tensor) -> Tensor:
        std = self.log_std.exp()
        inside = -0.5 * ((action - self.mean) / std).square() - self.log_std - _HALF_LOG_2_PI
        below, above = torch.special.log_ndtr((-1.0 - self.mean) / std), torch.special.log_ndtr((self.mean - 1.0) / std)
        return torch.where(action >= EDGE, above, torch.where(action <= -EDGE, below, inside)).sum(dim=1)

    def score(self, action: Tensor) -> Tensor:
        """By the means: E = D. On a bound it is the hazard of the Gaussian, phi / Phi."""
        std = self.log_std.exp()
        below, above = (-1.0 - self.mean) / std, (self.mean - 1.0) / std
        return torch.where(
            action >= EDGE, _hazard(above), torch.where(action <= -EDGE, -_hazard(below), (action - self.mean) / std)
        )

    def entropy(self) -> Tensor:
        """Of the Gaussian before it is clipped: a bonus on it widens the policy and never moves its mean."""
        return (self.log_std + 0.5 + _HALF_LOG_2_PI).sum(dim=1)

    def mode(self) -> Tensor:
        return self.mean.clamp(-1.0, 1.0)

    def sample(self, rng: np.random.Generator) -> Tensor:
        noise = torch.from_numpy(rng.standard_normal(self.mean.shape, np.float32))
        return torch.addcmul(self.mean, self.log_std.exp(), noise).clamp(-1.0, 1.0)


class ActionHead(nn.Module, ABC):
    """The last layer of a policy: from hidden features to a distribution over the actions of a space."""

    @abstractmethod
    def forward(self, hidden: Tensor) -> Distribution:
        """For float32[N, H]."""

    @abstractmethod
    def stored(self, columns: Mapping[str, Tensor]) -> Tensor:
        """Stored actions, leaves [N, ...], as the distribution takes them, [N, D]."""

    @abstractmethod
    def columns(self, action: Tensor) -> Columns:
        """Inverse of `stored`, in NumPy."""


class BranchesHead(ActionHead):
    """Discrete, MultiDiscrete and MultiBinary actions."""

    possible: Tensor

    def __init__(self, features: int, schema: Schema, algorithm: str) -> None:
        super().__init__()
        self.actions = DiscreteActions(schema, algorithm)
        sizes = torch.tensor(self.actions.sizes)
        self._shape = (len(sizes), int(sizes.max()))
        self.logits = _last_layer(features, len(sizes) * int(sizes.max()))
        self.register_buffer("possible", torch.arange(int(sizes.max())) < sizes[:, None], persistent=False)

    def forward(self, hidden: Tensor) -> Branches:
        logits = self.logits(hidden).view(-1, *self._shape).masked_fill(~self.possible, _IMPOSSIBLE)
        return Branches(logits.log_softmax(dim=2))

    def stored(self, columns: Mapping[str, Tensor]) -> Tensor:
        return self.actions.indices(columns)

    def columns(self, action: Tensor) -> Columns:
        return self.actions.columns(action.numpy())


class ClippedGaussianHead(ActionHead):
    """Box actions with bounds. The spread is a parameter of its own, the same everywhere (Schulman et al. 2017, section 6.1)."""

    def __init__(self, features: int, schema: Schema, algorithm: str, initial_std: float) -> None:
        """initial_std: in units of half a dimension's range."""
        super().__init__()
        self.actions = ContinuousActions(schema, algorithm)
        self.mean = _last_layer(features, self.actions.dimensions)
        self.log_std = nn.Parameter(torch.full((self.actions.dimensions,), math.log(initial_std)))

    def forward(self, hidden: Tensor) -> ClippedGaussian:
        mean = self.mean(hidden)
        return ClippedGaussian(mean, self.log_std.clamp(*LOG_STD_RANGE).expand_as(mean))

    def stored(self, columns: Mapping[str, Tensor]) -> Tensor:
        return self.actions.normalised(columns)

    def columns(self, action: Tensor) -> Columns:
        return self.actions.columns(action.numpy())


def build_head(features: int, schema: Schema, algorithm: str, initial_std: float) -> ActionHead:
    """The head for a schema's actions. Raises ConfigError, naming the leaf, for actions that neither kind can serve."""
    if any(leaf.kind == "Box" for _, leaf in leaves_of(schema.action, "action")):
        return ClippedGaussianHead(features, schema, algorithm, initial_std)
    return BranchesHead(features, schema, algorithm)


def _hazard(x: Tensor) -> Tensor:
    """phi(x) / Phi(x), the derivative of log Phi."""
    log_hazard: Tensor = -0.5 * x.square() - _HALF_LOG_2_PI - torch.special.log_ndtr(x)
    return log_hazard.exp()


def _last_layer(features: int, outputs: int) -> nn.Linear:
    layer = nn.Linear(features, outputs)
    with torch.no_grad():
        layer.weight.mul_(FIRST_SCALE)
        layer.bias.zero_()
    return layer
