"""How are raw weights scaled? By a running mean of the batches before, then cut at a cap; what is no weight counts as an average one.

Pure NumPy: no I/O, no clock, no randomness. B items per batch, K batches that are scaled together, each by the means before it.
"""

from collections.abc import Sequence

import numpy as np

LARGEST = 1e30  # of raw weights, and SMALLEST of their means: beyond them single precision has no quotient
SMALLEST = 1e-30
MEAN_BATCHES = 100  # memory of the running means: long beside the noise of one batch, short beside a policy's drift


class RunningMean:
    """Mean of the batches so far: plain over the first `memory` of them, exponential afterwards."""

    def __init__(self, memory: int = MEAN_BATCHES) -> None:
        self._memory = memory
        self._batches = 0
        self._value = 0.0

    def before(self, batch_mean: float) -> float:
        """The mean before this batch, which is then included. The very first batch has no other mean than its own."""
        mean = self._value if self._batches else batch_mean
        self._batches += 1
        self._value += (batch_mean - self._value) / min(self._batches, self._memory)
        return mean


@np.errstate(over="ignore", invalid="ignore")
def normalise(raw: np.ndarray, mean: RunningMean, cap: float) -> tuple[np.ndarray, Sequence[int], Sequence[int]]:
    """min(raw / running mean before its batch, cap), and how many were cut and repaired in each. float[K, B] -> float32[K, B]."""
    batches, size = raw.shape
    nothing: Sequence[int] = (0,) * batches
    cut, repaired = nothing, nothing
    sums = np.add.reduce(raw, axis=1)  # ufuncs themselves: the arrays' methods take twice as long
    if not (np.maximum.reduce(sums) <= LARGEST * size and np.minimum.reduce(raw, axis=None) >= 0.0):
        raw, repaired = _repaired(raw)
        sums = np.add.reduce(raw, axis=1)
    factor = (raw * _scales(sums.tolist(), size, mean).astype(np.result_type(raw, 0.0))[:, None]).astype(np.float32)
    if np.maximum.reduce(factor, axis=None) > cap:  # as whatever is infinite here is
        cut = (factor > cap).sum(axis=1).tolist()
        factor = np.minimum(factor, np.float32(cap))
    return factor, cut, repaired


def _scales(sums: Sequence[float], size: int, mean: RunningMean) -> np.ndarray:
    """One over the mean before each batch, 0 where there is nothing to scale by. float64[K].

    If all weights were 0 so far, there is no other mean than the batch's own.
    """
    means = [total / size for total in sums]
    before = [mean.before(own) or own for own in means]
    return np.array([1.0 / value if value >= SMALLEST else 0.0 for value in before])


def _repaired(raw: np.ndarray) -> tuple[np.ndarray, list[int]]:
    """Put the mean of a batch's good weights, 1 if there is none, in the place of negative, non-finite and absurdly large ones."""
    good = (raw >= 0.0) & (raw <= LARGEST)
    instead = [[float(row[fits].mean()) if fits.any() else 1.0] for row, fits in zip(raw, good, strict=True)]
    return np.where(good, raw, np.array(instead)), (~good).sum(axis=1).tolist()
