"""Do the actions that are learned from come as the policy chose them? The mean score, and whether it is further from 0 than chance.

Pure NumPy: no I/O, no clock, no randomness. Where sampling is right, E[w rho grad log pi] = 0 in every state, whatever the policy was
in the meantime; where actions are lost by what they are, an error of the baseline leaks into the gradient in proportion to this mean
(docs/duration.md).
"""

import numpy as np


class ScoreLeak:
    """Running sums of weighted scores, of E components each.

    statistic: n |mean|^2 / trace of the covariance. Where nothing is lost it is a quadratic form of normal variables with mean 1, which
    exceeds z^2 with at most the chance that |normal| exceeds z, for chances below .215.  Source: Szekely and Bakirov 2003.
    """

    def __init__(self) -> None:
        self._count = 0
        self._weight = 0.0
        self._sum = self._squares = np.zeros(0)
        self._choices = False

    def add(self, score: np.ndarray, weight: np.ndarray, *, choices: bool) -> None:
        """score: float32[N, E].  weight: loss weight x policy over behaviour probability, float64[N].  choices: of one discrete action."""
        terms = score.astype(np.float64) * weight[:, None]
        good = np.isfinite(terms).all(axis=1)
        if len(self._sum) != score.shape[1]:
            self._sum, self._squares = np.zeros(score.shape[1]), np.zeros(score.shape[1])
        self._choices = choices
        self._count += int(good.sum())
        self._weight += float(weight[good].sum())
        self._sum = self._sum + terms[good].sum(axis=0)
        self._squares = self._squares + np.square(terms[good]).sum(axis=0)

    @property
    def statistic(self) -> float:
        """NaN before two scores."""
        if self._count < 2:
            return float("nan")
        mean = self._sum / self._count
        trace = float((self._squares / self._count - mean**2).sum())
        return self._count * float(mean @ mean) / trace if trace > 0.0 else 0.0

    @property
    def gap(self) -> float:
        """Total variation between consumed shares of a discrete action and the policy's; NaN for other actions, or before any."""
        if not self._choices or self._weight <= 0.0:
            return float("nan")
        return 0.5 * float(np.abs(self._sum).sum()) / self._weight
