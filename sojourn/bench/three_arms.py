"""What is learned from what was collected: a policy over three arms, and the policy gradient on batches of the replay service.

Pure NumPy: no I/O, no clock. The arms are a quick one, a slow better one and a quick failure; the quick one pays most per second.
"""

from collections.abc import Sequence
from math import exp

import numpy as np

from sojourn.bench.lanes import Attempt
from sojourn.experience import Batch

REWARDS = np.array([0.62, 0.67, 0.0])
MEANS_S = np.array([1.0, 20.0, 0.5])
SPREAD = 0.3  # of the logarithm of durations
NOISE = 0.05  # of rewards
SLOW = 1  # the best arm
RATIO_CLIP = 2.0
LABELS = ("arm",)


class Learner:
    """A softmax over the arms and its version, one more with every update.

    No value network: the baseline is the weighted mean reward of what an update learns from.
    """

    def __init__(self, rng: np.random.Generator, step: float, entropy_cost: float = 0.0) -> None:
        """step: of plain gradient ascent.  entropy_cost: of the entropy's exact gradient."""
        self.version = 0
        self.policy = np.full(len(REWARDS), 1.0 / len(REWARDS))
        self._logits = np.zeros(len(REWARDS))
        self._rng, self._step, self._entropy_cost = rng, step, entropy_cost

    def attempt(self, lane: int, now_s: float) -> Attempt:
        """What a lane does next, by the present policy."""
        rng, arm = self._rng, int(self._rng.choice(len(REWARDS), p=self.policy))
        duration_s = MEANS_S[arm] * exp(SPREAD * rng.standard_normal() - SPREAD**2 / 2)
        reward = REWARDS[arm] + NOISE * rng.standard_normal()
        log_prob = float(np.log(self.policy[arm]))
        return Attempt(duration_s, (float(arm),), reward, log_prob, policy_version=self.version, last=True)

    def learn(self, batches: Sequence[Batch]) -> None:
        """One step: mean of w min(pi / behaviour, 2) (r - b) grad log pi."""
        arm = np.concatenate([batch.columns["observation"][:, 0] for batch in batches]).astype(np.int64)
        reward = np.concatenate([batch.columns["reward"][:, 0] for batch in batches]).astype(np.float64)
        weight = np.concatenate([batch.loss_weight for batch in batches]).astype(np.float64)
        chosen_with = np.exp(np.concatenate([batch.columns["log_prob"] for batch in batches]).astype(np.float64))
        ratio = np.minimum(self.policy[arm] / chosen_with, RATIO_CLIP)
        baseline = (weight @ reward) / weight.sum()
        score = np.bincount(arm, weight * ratio * (reward - baseline), len(REWARDS)) / len(arm)
        self._logits += self._step * (score - self.policy * score.sum() + self._entropy_cost * self._entropy_gradient())
        self._logits -= self._logits.mean()
        powers = np.exp(self._logits - self._logits.max())
        self.policy = powers / powers.sum()
        self.version += 1

    def _entropy_gradient(self) -> np.ndarray:
        """Of the policy's entropy by its logits: -pi (log pi + H)."""
        log_policy = np.log(np.maximum(self.policy, 1e-300))
        entropy = -(self.policy @ log_policy)
        gradient: np.ndarray = -self.policy * (log_policy + entropy)
        return gradient
