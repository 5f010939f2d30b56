"""A policy that changes while actions run: what ends now was chosen then, and at times more was started than at others.

Exact values: the start rate of all lanes obeys s(t) = s(t - fast) P(fast at t - fast) + s(t - slow) P(slow at t - slow).
"""

from collections.abc import Mapping
from math import log
from typing import Any

import numpy as np

from sojourn.bench.lanes import Attempt, Lanes
from sojourn.bench.row import Row, Size
from sojourn.bench.shares import take
from sojourn.bench.verdict import Claim
from sojourn.bench.world import BEGIN_S, World
from sojourn.experience import Batch

FAST_S, SLOW_S = 1.0, 20.0
INTERVALS_S = ((120.0, 122.0), (138.0, 140.0))
FALLS_S = (100.0, 140.0)
WIDTH_S = 2.0  # of an interval
BATCH = 20
GRID_S = 0.01
SLOW, ENDED = range(2)
Sums = dict[tuple[str, float], np.ndarray]
"""By name and begin of the interval: weight of all, and of the slow ones."""


def p_slow(time_s: float) -> float:
    """From .8 to .2."""
    return 0.8 - 0.6 * min(1.0, max(0.0, (time_s - FALLS_S[0]) / (FALLS_S[1] - FALLS_S[0])))


def drift(size: Size, rng: np.random.Generator) -> Mapping[str, float]:
    """Slow shares of what two intervals consume, in order of completion and of start, weighted towards the policy of that time."""
    tables: dict[str, dict[str, Any]] = {
        "completion": {"duration": {"weight": "inclusion", "rule": "start_rate", "cap": 1e6}},
        "start": {"order": "start", "duration": {"weight": "none"}},
    }
    sums: Sums = {}
    started_s: list[float] = []  # of all that ended
    with World(tables, labels=("slow", "ended"), seed=0) as world:
        lanes = _begun(world, size.of(4_000, 1_500), rng)
        learner, taken = world.learner("start", BATCH), 0
        for until_s in np.ravel(INTERVALS_S).tolist():
            started_s += [run.started_at_s for run in lanes.go_on_until(BEGIN_S + until_s)]
            lanes.deliver()
            lanes.settle()
            ready = int(np.count_nonzero(np.array(started_s) < lanes.oldest_s)) // BATCH - taken  # behind nothing that runs
            for batch in take(learner, ready):
                for begin_s in [begin_s for begin_s, end_s in INTERVALS_S if until_s == end_s]:
                    slow = batch.columns["observation"][:, SLOW]
                    _add(sums, "start order, raw", begin_s, slow, np.ones(len(batch)))
                    _add(sums, "start order, rho", begin_s, slow, towards(batch, begin_s))
            taken += ready
        world.clock.now_s += WIDTH_S
        _in_order_of_completion(world, sums)
    return {f"{name}, {begin_s:g}": float(slow / total) for (name, begin_s), (total, slow) in sums.items()}


def _begun(world: World, count: int, rng: np.random.Generator) -> Lanes:
    """Lanes that began one after another over the longest action."""

    def choose(lane: int, now_s: float) -> Attempt:
        chance = p_slow(now_s - BEGIN_S)
        slow = rng.random() < chance
        duration_s = SLOW_S if slow else FAST_S
        return Attempt(duration_s, (float(slow), now_s + duration_s - BEGIN_S), log_prob=log(chance if slow else 1.0 - chance))

    lanes = Lanes(world, count, choose)
    for lane in range(count):
        lanes.start(lane, BEGIN_S - SLOW_S * rng.random())
    return lanes


def towards(batch: Batch, begin_s: float) -> np.ndarray:
    """Chance of each action under the policy in the middle of an interval, over that under which it was chosen. float64[B]."""
    chance = p_slow(begin_s + WIDTH_S / 2)
    slow = batch.columns["observation"][:, SLOW] == 1.0
    rho: np.ndarray = np.where(slow, chance, 1.0 - chance) / np.exp(batch.columns["log_prob"].astype(np.float64))
    return rho


def _in_order_of_completion(world: World, sums: Sums) -> None:
    """All items of the table, those of the intervals by when they ended."""
    batches = world.items("completion") // BATCH
    for batch in take(world.learner("completion", BATCH), batches):
        slow, ended_s = batch.columns["observation"][:, SLOW], batch.columns["observation"][:, ENDED]
        for begin_s, end_s in INTERVALS_S:
            within = ((ended_s > begin_s) & (ended_s <= end_s)).astype(np.float64)
            if within.any():
                rho = within * towards(batch, begin_s)
                _add(sums, "raw", begin_s, slow, within)
                _add(sums, "rho", begin_s, slow, rho)
                _add(sums, "rho / start rate", begin_s, slow, rho * batch.loss_weight)


def _add(sums: Sums, name: str, begin_s: float, slow: np.ndarray, weight: np.ndarray) -> None:
    sums[name, begin_s] = sums.get((name, begin_s), np.zeros(2)) + np.array([weight.sum(), weight @ slow])


def expected() -> dict[str, float]:
    """Exact shares, by integrating the start rate on a grid; one lane begins per second before time 0."""
    lags = round(FAST_S / GRID_S), round(SLOW_S / GRID_S)
    times = np.arange(-SLOW_S + GRID_S / 2, INTERVALS_S[-1][1], GRID_S)
    chance, rate = np.array([p_slow(time_s) for time_s in times]), np.ones(len(times))
    for at in range(lags[0], len(times)):
        again = rate[at - lags[0]] * (1.0 - chance[at - lags[0]])
        rate[at] = again + (rate[at - lags[1]] * chance[at - lags[1]] if at >= lags[1] else 1.0)
    found = {}
    for begin_s, end_s in INTERVALS_S:
        within = np.flatnonzero((times > begin_s) & (times < end_s))
        now = p_slow(begin_s + WIDTH_S / 2)
        fast, slow = (rate * (1.0 - chance))[within - lags[0]].sum(), (rate * chance)[within - lags[1]].sum()
        found[f"raw, {begin_s:g}"] = float(slow / (fast + slow))
        fast, slow = rate[within - lags[0]].sum() * (1.0 - now), rate[within - lags[1]].sum() * now
        found[f"rho, {begin_s:g}"] = float(slow / (fast + slow))
        found[f"rho / start rate, {begin_s:g}"] = found[f"start order, rho, {begin_s:g}"] = now
        started = np.flatnonzero((times > begin_s - SLOW_S) & (times < end_s - SLOW_S))
        found[f"start order, raw, {begin_s:g}"] = float((rate * chance)[started].sum() / rate[started].sum())
    return found


def _claims() -> tuple[Claim, ...]:
    exact = expected()
    return tuple(Claim(name, value, _wrong(name, exact)) for name, value in exact.items())


def _wrong(name: str, exact: Mapping[str, float]) -> float:
    """Of order by start, the share without rho and the other way round; else each is told apart from rho alone, and that from raw."""
    kind, begin_s = name.rsplit(", ", 1)
    wrong = {"rho": "raw", "start order, rho": "start order, raw", "start order, raw": "start order, rho"}.get(kind, "rho")
    return exact[f"{wrong}, {begin_s}"]


ROWS = (
    Row(
        "drift",
        "K = 4000, d = 1/20, P(slow) falls from .8 to .2 over [100, 140]: slow share of what ends in [120, 122) and [138, 140)",
        _claims(),
        drift,
    ),
)
