"""Actors that differ: a pool for each task, and actors that crash."""

from collections.abc import Mapping
from math import exp

import numpy as np

from sojourn.bench.lanes import Attempt, Lanes
from sojourn.bench.row import Row, Size
from sojourn.bench.rows.windows import BATCH, averaged
from sojourn.bench.verdict import Claim
from sojourn.bench.world import World
from sojourn.experience import EndKind

POOLS_S = {"quick": (1.0, 4.0), "slow": (10.0, 40.0)}  # durations of the two actions of each task
LANES_EACH = 32
TICK_S = 20.0
WARM_UP = 8  # ticks, until long actions are as frequent in flight as they stay
UNCAPPED = 1e6
KINDS = tuple(f"{pool} {duration_s:g}" for pool, durations in POOLS_S.items() for duration_s in durations)

CRASH_RATE = 0.05  # a second, of every lane
FAST_S, SLOW_S = 1.0, 10.0
CRASH_LANES = 64
CRASH_TICK_S = 1.0
CRASH_WARM_UP = 30


def pools(size: Size, rng: np.random.Generator) -> Mapping[str, float]:
    """Shares of the four (task, action) pairs, by weight."""
    tables = {weight: {"duration": {"weight": weight, "cap": UNCAPPED}} for weight in ("none", "linear", "pool")}
    batch_size = size.of(64, 8)  # what is left over at the end comes from one pool, so it must be little
    with World(tables, labels=KINDS, seed=0) as world:
        fleets, warm_up = [_pool(world, pool, rng) for pool in POOLS_S], 0
        for tick in range(WARM_UP + size.of(100, 7)):
            if tick == WARM_UP:
                warm_up = -(-world.items("none") // batch_size)
            until_s = world.clock.now_s + TICK_S
            for number in rng.permutation(len(fleets)):
                fleets[number].go_on_until(until_s)
                fleets[number].deliver()
        found = {weight: averaged(world, weight, skip=warm_up, batch_size=batch_size) for weight in tables}
    return {f"{kind} {weight}": averages.of(label) for weight, averages in found.items() for label, kind in enumerate(KINDS)}


def _pool(world: World, pool: str, rng: np.random.Generator) -> Lanes:
    """The lanes of one task, which begin all at once."""
    durations_s = POOLS_S[pool]

    def attempt(long: bool) -> Attempt:
        kind = f"{pool} {durations_s[long]:g}"
        return Attempt(durations_s[long], tuple(float(kind == other) for other in KINDS))

    lanes = Lanes(world, LANES_EACH, lambda lane, now_s: attempt(rng.random() < 0.5), name=pool, pool=pool)
    lanes.start_all()
    return lanes


def crashes(size: Size, rng: np.random.Generator) -> Mapping[str, float]:
    """Share of the slow action where lanes crash at random and lose what they run."""
    tables = {weight: {"duration": {"weight": weight, "rule": "censoring"}} for weight in ("none", "inclusion")}

    def choose(lane: int, now_s: float) -> Attempt:
        slow = rng.random() < 0.5
        duration_s, crash_s = SLOW_S if slow else FAST_S, rng.exponential(1.0 / CRASH_RATE)
        if crash_s < duration_s:
            return Attempt(crash_s, (float(slow),), ends=EndKind.CRASHED)
        return Attempt(duration_s, (float(slow),))

    with World(tables, labels=("slow",), seed=0) as world:
        lanes = Lanes(world, CRASH_LANES, choose)
        lanes.start_all()
        warm_up = 0
        for tick in range(CRASH_WARM_UP + size.of(600, 60)):
            if tick == CRASH_WARM_UP:
                warm_up = -(-world.items("none") // BATCH)
            lanes.go_on_until(world.clock.now_s + CRASH_TICK_S)
            lanes.deliver()
            lanes.settle()
        world.clock.now_s += CRASH_TICK_S
        found = {weight: averaged(world, weight, skip=warm_up) for weight in tables}
    return {weight: averages.of(0) for weight, averages in found.items()}


def _pool_claims() -> tuple[Claim, ...]:
    """Raw shares go by completions, linear ones by seconds, those by pool are all alike."""
    rates = [LANES_EACH / sum(POOLS_S[pool]) for pool in POOLS_S for _ in range(2)]
    seconds = [rate * duration_s for rate, duration_s in zip(rates, (d for pair in POOLS_S.values() for d in pair), strict=True)]
    raw, linear = ([value / sum(values) for value in values] for values in (rates, seconds))
    return (
        *(Claim(f"{kind} none", share, 0.25) for kind, share in zip(KINDS, raw, strict=True)),
        *(Claim(f"{kind} linear", share, 0.25) for kind, share in zip(KINDS, linear, strict=True)),
        *(Claim(f"{kind} pool", 0.25, share) for kind, share in zip(KINDS, raw, strict=True)),
    )


COMPLETED = tuple(exp(-CRASH_RATE * duration_s) for duration_s in (FAST_S, SLOW_S))
CRASH_RAW = COMPLETED[1] / sum(COMPLETED)

ROWS = (
    Row(
        "pools",
        "two tasks with a pool of 32 actors each, d = (1, 4) and (10, 40), T = 2000: shares of the (task, action) pairs",
        _pool_claims(),
        pools,
    ),
    Row(
        "crashes",
        "K = 64, d = 1/10, every actor crashes at a rate of .05 a second: share of the slow action",
        (Claim("none", CRASH_RAW, 0.5), Claim("inclusion", 0.5, CRASH_RAW)),
        crashes,
    ),
)
