"""What several shards say of their start logs, as one: counts are added by stratum, and only then become curves.

Pure NumPy: no I/O, no clock. The counts are those of replay/summaries.py; items name their stratum by its number on their shard.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from typing import Any

import numpy as np

from replay.survival import EventTable, SurvivalCurve, added, product_limit, window_curve

Key = tuple[str, str]
"""(pool, speed class)."""
RATE_CELLS = 8_192  # of a stratum's time: a hundredth of what one value is a mean over, with 65,536 starts
RATE_STARTS = 400  # behind one value of the start rate: a twentieth of it is noise


@dataclass(frozen=True, eq=False)
class StartSummary:
    """One shard's start log.

    strata: as the service wrote them.  period_s: between two policy versions, 0 unknown.  pool_shares: wanted, empty: equal.
    clock_s: the service's clock less the learner's when it came; two shards' clocks differ by that.
    """

    strata: Sequence[Mapping[str, Any]] = ()
    period_s: float = 0.0
    pool_shares: Mapping[str, float] = field(default_factory=dict)
    clock_s: float = 0.0

    @classmethod
    def of(cls, said: Mapping[str, Any], clock_s: float) -> "StartSummary":
        return cls(tuple(said.get("strata", ())), float(said.get("period_s", 0.0)), said.get("pool_shares", {}), clock_s)


Summaries = tuple[StartSummary, ...]
"""One a shard, in the order of the shards' numbers."""


def keys_of(summaries: Summaries) -> list[Key]:
    """All strata, each once."""
    found = {(stratum["pool"], stratum["speed_class"]): None for summary in summaries for stratum in summary.strata}
    return list(found)


@lru_cache(maxsize=8)
def places(summaries: Summaries) -> np.ndarray:
    """Index into `keys_of` by shard and its stratum's number, -1 for none. int64[shards, strata]."""
    keys = {key: place for place, key in enumerate(keys_of(summaries))}
    most = max((len(summary.strata) for summary in summaries), default=0)
    table = np.full((max(1, len(summaries)), max(1, most)), -1, np.int64)
    for shard, summary in enumerate(summaries):
        table[shard, : len(summary.strata)] = [keys[stratum["pool"], stratum["speed_class"]] for stratum in summary.strata]
    return table


def strata_of(summaries: Summaries, shard: np.ndarray, number: np.ndarray) -> np.ndarray:
    """Merged stratum of each item, -1 for one that no summary names yet. shard uint32[B], number of any whole type [B] -> int64[B]."""
    table = places(summaries)
    if table.size == 1:  # nearly always: one pool on one shard
        return np.where((shard == 0) & (number == 0), table[0, 0], -1)
    known = (shard < len(table)) & (number >= 0) & (number < table.shape[1])
    found: np.ndarray = np.where(known, table[np.where(known, shard, 0), np.where(known, number, 0)], -1)
    return found


@lru_cache(maxsize=8)
def curves(summaries: Summaries, rule: str) -> tuple[SurvivalCurve | None, ...]:
    """Survival curve of each stratum in the order of `keys_of`, None where there is no start yet."""
    found = []
    for key in keys_of(summaries):
        said = _of_stratum(summaries, key)
        tables = [EventTable(*(np.array(one[name], np.float64) for name in ("time", "events", "leaving"))) for one in said]
        tables = [table for table in tables if len(table.time)]
        found.append(_curve(rule, added(tables), sum(one.get("clusters", 0) for one in said)) if tables else None)
    return tuple(found)


def _curve(rule: str, table: EventTable, clusters: int) -> SurvivalCurve:
    if rule == "censoring":
        return product_limit(table, censored_leave_first=True)
    return window_curve(table, min(table.starts, clusters) if clusters else None)


def _of_stratum(summaries: Summaries, key: Key) -> list[Mapping[str, Any]]:
    return [said for summary in summaries for said in summary.strata if (said["pool"], said["speed_class"]) == key]


@lru_cache(maxsize=8)
def pool_weights(summaries: Summaries) -> np.ndarray:
    """p_s c_s / K_s of the pool of each stratum, NaN where it is not known. float64[strata].

    p_s: wanted share.  c_s: lane seconds per completion.  K_s: lanes, as lane seconds per second.  Source: docs/duration.md.
    """
    keys = keys_of(summaries)
    shares: Mapping[str, float] = next((summary.pool_shares for summary in summaries if summary.pool_shares), {})
    by_pool: dict[str, float] = {}
    for pool in {pool for pool, _ in keys}:
        parts = [said for summary in summaries for said in summary.strata if said["pool"] == pool and said["completions"] > 0]
        seconds = sum(part["lane_seconds"] for part in parts)
        lanes = sum(part["lane_seconds"] / part["span_s"] for part in parts if part["span_s"] > 0.0)
        share = shares.get(pool, np.nan) if shares else 1.0
        completions = sum(part["completions"] for part in parts)
        by_pool[pool] = share * (seconds / completions) / lanes if lanes > 0.0 else np.nan
    return np.array([by_pool[pool] for pool, _ in keys], np.float64)


class StartRates:
    """How many actions of a stratum began per second around a moment, over its mean, over all shards.

    Over its mean, so that a stratum keeps its part of the batch: only when its actions began is corrected.
    """

    def __init__(self, summaries: Summaries, key: Key) -> None:
        said = [(summary, one) for summary in summaries for one in summary.strata if (one["pool"], one["speed_class"]) == key]
        parts = [(np.array(one["time"]), np.array(one["count"], np.float64), summary.clock_s) for summary, one in said]
        self._parts = [(time - clock_s, count) for time, count, clock_s in parts if len(time)]
        starts = sum(count[-1] for _, count in self._parts)
        self._first_s = min((time[0] for time, _ in self._parts), default=0.0)
        self._last_s = max((time[-1] for time, _ in self._parts), default=0.0)
        span_s = self._last_s - self._first_s
        self._mean = starts / span_s if span_s > 0.0 else 0.0
        self._half_s = min(span_s, span_s * RATE_STARTS / starts) / 2 if starts else 0.0

    def at(self, start_s: np.ndarray, clock_s: float | np.ndarray = 0.0) -> np.ndarray:
        """Rate over mean rate, float64[N] > 0, NaN where nothing is known. start_s: on a clock that is clock_s ahead of the learner's."""
        if self._half_s <= 0.0:
            return np.full(len(start_s), np.nan)
        cell = start_s - (clock_s + self._first_s)
        cell *= RATE_CELLS / (self._last_s - self._first_s)
        np.fmax(cell, 0.0, out=cell)  # a start that is no number counts as the first
        np.fmin(cell, RATE_CELLS - 1, out=cell)
        known: np.ndarray = self._by_cell.take(cell.astype(np.int32))
        return known

    @cached_property
    def _by_cell(self) -> np.ndarray:
        """Rate over mean rate in the middle of equal parts of the time, float64[RATE_CELLS] > 0."""
        return self._around(np.linspace(self._first_s, self._last_s, 2 * RATE_CELLS + 1)[1::2])

    def _around(self, start_s: np.ndarray) -> np.ndarray:
        middle = np.clip(start_s, self._first_s, self._last_s)
        begin, end = np.maximum(middle - self._half_s, self._first_s), np.minimum(middle + self._half_s, self._last_s)
        counts = self._up_to(end) - self._up_to(begin)
        relative: np.ndarray = np.maximum(counts, 1.0) / (end - begin) / self._mean
        return relative

    def _up_to(self, moment_s: np.ndarray) -> np.ndarray:
        total = np.zeros(len(moment_s))
        for time, count in self._parts:
            total += np.interp(moment_s, time, count, left=0.0)
        return total


@lru_cache(maxsize=8)
def start_rates(summaries: Summaries) -> tuple[StartRates, ...]:
    """Of each stratum, in the order of `keys_of`."""
    return tuple(StartRates(summaries, key) for key in keys_of(summaries))
