"""Keeps the effective sample size of weights above a floor by raising them to an exponent below 1.

Pure NumPy: no I/O, no clock, no randomness. An exponent b < 1 is a bias: it targets q^(1-b) pi^b instead of pi
(docs/duration.md), so b is chosen from batches before this one, never from the batch it is applied to, and is exported.
"""

from collections.abc import Mapping

import numpy as np

REMEMBERED = 8_192  # recent weights that the exponent is chosen from
CHOOSE_EVERY = 32  # batches between choices: one choice costs about a millisecond
HALVINGS = 16  # of [0, 1]: the exponent is found to 2e-5


class EssFloor:
    """Chooses the largest exponent in [0, 1] for which the recent weights keep the share asked for. Not thread-safe."""

    def __init__(self, floor: float) -> None:
        """floor: smallest effective sample size over the sample size, in (0, 1)."""
        if not 0.0 < floor < 1.0:
            raise ValueError(f"floor on the effective sample share must lie in (0, 1), got {floor}")
        self.floor = floor
        self.exponent = 1.0
        self._recent = np.zeros(REMEMBERED)  # logarithms of products
        self._seen = 0
        self._batches = 0

    def temper(self, raw: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """The raw factors of a batch, each float[B], raised to the exponent found from the batches before it."""
        with np.errstate(invalid="ignore"):  # a negative weight becomes NaN here and is repaired by the normaliser
            tempered = {name: np.power(weight, self.exponent) for name, weight in raw.items()}
        self._remember(np.prod(np.stack(list(raw.values())), axis=0))
        return tempered

    def _remember(self, product: np.ndarray) -> None:
        good = product[np.isfinite(product) & (product > 0.0)][:REMEMBERED]
        places = (self._seen + np.arange(len(good))) % REMEMBERED
        self._recent[places] = np.log(good)
        self._seen += len(good)
        self._batches += 1
        if self._batches % CHOOSE_EVERY == 1:
            self.exponent = largest_exponent(self._recent[: min(self._seen, REMEMBERED)], self.floor)


def largest_exponent(log_weight: np.ndarray, floor: float) -> float:
    """Largest b in [0, 1] for which exp(b log_weight) has an effective share of at least `floor`, by halving."""
    if len(log_weight) == 0 or _effective_share(log_weight) >= floor:
        return 1.0
    low, high = 0.0, 1.0
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        low, high = (middle, high) if _effective_share(middle * log_weight) >= floor else (low, middle)
    return low


def _effective_share(log_weight: np.ndarray) -> float:
    weight = np.exp(log_weight - log_weight.max())
    return float(weight.sum() ** 2 / (len(weight) * np.dot(weight, weight)))
