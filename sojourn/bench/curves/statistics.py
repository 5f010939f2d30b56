"""Interquartile means and their intervals, as Agarwal et al. 2021 (arXiv 2108.13264) ask for. Pure NumPy."""

from collections.abc import Sequence

import numpy as np

RESAMPLES = 10_000
LEVEL = 0.95


def interquartile_mean(values: np.ndarray) -> np.ndarray:
    """Mean of what is left when the lowest and the highest quarter are cut off, over the last axis.

    values: float64[..., N]. Of N values floor(N / 4) are cut at either end, as scipy.stats.trim_mean does: none of three.
    """
    cut = values.shape[-1] // 4
    ordered: np.ndarray = np.sort(values, axis=-1)
    kept: np.ndarray = ordered[..., cut : values.shape[-1] - cut]
    mean: np.ndarray = kept.mean(axis=-1)
    return mean


def interval(values: Sequence[float], seed: int = 0) -> tuple[float, float]:
    """Bootstrap percentile interval of the interquartile mean, at `LEVEL`: runs are drawn anew with replacement."""
    return _percentiles(interquartile_mean(_resampled(values, np.random.default_rng(seed))))


def interval_of_difference(ours: Sequence[float], theirs: Sequence[float], seed: int = 0) -> tuple[float, float]:
    """The same of ours less theirs, each a stratum of its own."""
    rng = np.random.default_rng(seed)
    return _percentiles(interquartile_mean(_resampled(ours, rng)) - interquartile_mean(_resampled(theirs, rng)))


def _resampled(values: Sequence[float], rng: np.random.Generator) -> np.ndarray:
    return np.asarray(values, float)[rng.integers(len(values), size=(RESAMPLES, len(values)))]


def _percentiles(means: np.ndarray) -> tuple[float, float]:
    low, high = np.percentile(means, [50.0 * (1.0 - LEVEL), 50.0 * (1.0 + LEVEL)])
    return float(low), float(high)
