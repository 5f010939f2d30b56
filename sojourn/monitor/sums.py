"""How do the numbers of many roles become one? Sums, means and quantiles over readings. Pure."""

import math
from collections.abc import Iterable, Mapping

from sojourn.monitor.scrape import Reading

Readings = Mapping[str, Reading]
Buckets = Mapping[float, float]
"""Upper bound -> how many observations lie at or below it, as Prometheus histograms count."""


def values(readings: Readings, name: str, **labels: str) -> list[float]:
    """Every role's finite values of a series whose labels include `labels`."""
    found = (
        sample.value
        for reading in readings.values()
        for sample in reading.samples
        if sample.name == name and labels.items() <= sample.labels.items()
    )
    return [value for value in found if math.isfinite(value)]


def total(readings: Readings, name: str, **labels: str) -> float | None:
    """Sum over roles; None if none exports the series."""
    found = values(readings, name, **labels)
    return sum(found) if found else None


def highest(readings: Readings, name: str, **labels: str) -> float | None:
    return max(values(readings, name, **labels), default=None)


def mean(readings: Readings, name: str, weight: str) -> float | None:
    """Mean over roles of series `name`, each role counting as much as its series `weight` says; None without any weight."""
    pairs = [
        (one[0], heavy[0])
        for role, reading in readings.items()
        if (one := values({role: reading}, name)) and (heavy := values({role: reading}, weight))
    ]
    weights = sum(heavy for _, heavy in pairs)
    return sum(value * heavy for value, heavy in pairs) / weights if weights > 0 else None


def buckets(readings: Readings, name: str) -> Buckets:
    """A histogram summed over roles and labels."""
    samples = (sample for reading in readings.values() for sample in reading.samples if sample.name == f"{name}_bucket")
    return added({float(sample.labels["le"]): sample.value} for sample in samples)


def added(parts: Iterable[Buckets]) -> Buckets:
    """The sum of histograms with the same bounds."""
    summed: dict[float, float] = {}
    for part in parts:
        for bound, count in part.items():
            summed[bound] = summed.get(bound, 0.0) + count
    return dict(sorted(summed.items()))


def quantile(counts: Buckets, share: float) -> float | None:
    """The value below which `share` of the observations lie, in [0, 1]; None without observations.

    Within a bucket the logarithm is interpolated, as the bounds are spaced; within the first, the value. Beyond the last finite
    bound, that bound.
    """
    everything = max(counts.values(), default=0.0)
    if everything <= 0:
        return None
    wanted, low, below = share * everything, 0.0, 0.0
    for bound, count in counts.items():
        if count >= wanted and count > below:
            part = (wanted - below) / (count - below)
            if math.isinf(bound):
                return low
            return low * (bound / low) ** part if low > 0 else bound * part
        low, below = bound, count
    return low
