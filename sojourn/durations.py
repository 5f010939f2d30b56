"""Into which few classes do actions fall, so that their laws can be counted for ever in bounded memory? Duration buckets and labels.

Pure NumPy: no I/O, no clock, no randomness. Services and learners count by these, doctor and report compare the counts.
"""

import numpy as np

MOST_SECONDS = 1e9
"""Of a duration or an age: above 30 years they are no measurement."""

BOUNDS_S = (0.0001, 0.001, 0.003, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0, 1000.0)
"""Upper bounds of all buckets but the last, seconds; a bound belongs to its bucket."""

BUCKETS = (*(f"{bound:g}" for bound in BOUNDS_S), "inf")
"""Names of the buckets: their upper bounds, values of the label `bucket`."""

SPLIT = 8
"""Parts of a bucket in which starts are counted: where some are cut off, a law needs to know better when than a bucket says."""


def _fine_bounds_s() -> tuple[float, ...]:
    """Bounds of all parts but the last: SPLIT geometric steps to each bound of BOUNDS_S, and doublings beyond them."""
    lows = (BOUNDS_S[0] / 10, *BOUNDS_S[:-1])
    steps = [
        [low * (high / low) ** (k / SPLIT) for k in range(1, SPLIT)] + [high] for low, high in zip(lows, BOUNDS_S, strict=True)
    ]
    return (*(bound for part in steps for bound in part), *(BOUNDS_S[-1] * 2.0**k for k in range(1, SPLIT)))


FINE_BOUNDS_S = _fine_bounds_s()
PARTS = len(BUCKETS) * SPLIT

MOST_LABELS = 8
LABELS = (*map(str, range(MOST_LABELS)), "other")
"""Names of action and task labels: 0 to 7, and all others together."""

LABEL_KINDS = ("action", "task")


def bucket_of(duration_s: np.ndarray) -> np.ndarray:
    """Index into `BUCKETS` of each duration: float64[N] >= 0 to int64[N]."""
    return np.searchsorted(BOUNDS_S, duration_s, side="left")


def part_of(duration_s: np.ndarray) -> np.ndarray:
    """Number of the part of a bucket, in [0, PARTS), of each duration: float64[N] >= 0 to int64[N]."""
    return np.searchsorted(FINE_BOUNDS_S, duration_s, side="left")


def by_bucket(parts: np.ndarray) -> np.ndarray:
    """Sums over the parts of each bucket: float64[PARTS] to float64[buckets]."""
    sums: np.ndarray = parts.reshape(len(BUCKETS), SPLIT).sum(axis=1)
    return sums


def label_of(value: np.ndarray) -> np.ndarray:
    """Index into `LABELS` of each discrete action or task: integers [N] to int64[N]."""
    return np.where((value >= 0) & (value < MOST_LABELS), value, MOST_LABELS).astype(np.int64)


def counts_of(places: np.ndarray, size: int, weight: np.ndarray | None = None) -> np.ndarray:
    """How many, or how much weight, fell into each of `size` classes: int64[N] to float64[size]."""
    return np.bincount(places, weight, size).astype(np.float64, copy=False)


def product_limit(ended: np.ndarray, cut: np.ndarray) -> np.ndarray:
    """Shares of durations over all starts by class, from those that ended and those cut off at an age: float64[C] each, ascending.

    The product over classes of 1 - ended / at risk; what was cut in a class was at risk there. Mass beyond the last end goes to
    the last class in which anything was cut.  Returns float64[C] of sum 1, or zeros without a start.
    Source: Kaplan and Meier 1958; the last convention: Efron 1967.
    """
    at_risk = np.cumsum((ended + cut)[::-1])[::-1]
    hazard = np.divide(ended, at_risk, out=np.zeros(len(ended)), where=at_risk > 0)
    survival = np.concatenate(([1.0], np.cumprod(1.0 - hazard)))
    shares: np.ndarray = survival[:-1] * hazard
    if at_risk[0] > 0 and survival[-1] > 0:
        shares[np.flatnonzero(cut)[-1]] += survival[-1]
    return shares
