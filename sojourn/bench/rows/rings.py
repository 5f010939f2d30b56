"""Rings from which items leave at an age: slow actions have less of it left when they arrive, so draws meet them too seldom."""

from collections.abc import Mapping

import numpy as np

from sojourn.bench.lanes import Attempt, Lanes
from sojourn.bench.row import Row, Size
from sojourn.bench.shares import Averages, take_now
from sojourn.bench.verdict import Claim
from sojourn.bench.world import BEGIN_S, World

FAST_S, SLOW_S = 1.0, 20.0
HORIZON_S = 60.0
LANES = 100
BATCH = 500
BATCHES = 10  # of one ring

VERSION_S = 2.0  # a new policy as often; its rows are delivered, and batches drawn, just before
HORIZON_VERSIONS = int(HORIZON_S / VERSION_S) - 1

FLEET_S = (2.0, 20.0)
FLEET_LANES = (20, 200)  # ten times as many slow ones, so that both start equally often
PRIORITIES = (1.0, 4.0)
EXPONENT = 0.6
FLEET_TICK_S = 2.0  # between deliveries

RING = {"sampler": "uniform", "consume": False, "capacity_steps": 20_000}
BY_AGE = {**RING, "remover": "start_age", "horizon_s": HORIZON_S}


def fast_or_slow(rng: np.random.Generator, now_s: float) -> Attempt:
    slow = rng.random() < 0.5
    return Attempt(SLOW_S if slow else FAST_S, (float(slow),), policy_version=version_at(now_s))


def version_at(now_s: float) -> int:
    return int(now_s // VERSION_S)


def begin_as_if_running(lanes: Lanes, rng: np.random.Generator, now_s: float) -> None:
    """Every lane is somewhere in an action, as after a long time: slow with chance 20/21, at an age of equal chance."""
    for lane in range(LANES):
        slow = rng.random() < SLOW_S / (FAST_S + SLOW_S)
        duration_s = SLOW_S if slow else FAST_S
        started_s = now_s - rng.random() * duration_s
        lanes.begin(lane, Attempt(duration_s, (float(slow),), policy_version=version_at(started_s)), started_s)


def ring(size: Size, rng: np.random.Generator, settings: Mapping[str, object], tick_s: float) -> Mapping[str, float]:
    """Shares of the slow action in a ring, without and with the weight by inclusion."""
    tables = {weight: {**settings, "duration": {"weight": weight}} for weight in ("none", "inclusion")}
    averages = {weight: Averages() for weight in tables}
    with World(tables, labels=("slow",), seed=int(rng.integers(1 << 31))) as world:
        lanes = Lanes(world, LANES, lambda lane, now_s: fast_or_slow(rng, now_s))
        begin_as_if_running(lanes, rng, world.clock.now_s)
        for _ in range(size.of(8, 2)):
            end_s = world.clock.now_s + HORIZON_S
            for tick in range(1, round(HORIZON_S / tick_s) + 1):
                lanes.go_on_until(end_s - HORIZON_S + tick * tick_s)
                lanes.deliver()
            for weight in tables:
                for batch in take_now(world, weight, BATCH, BATCHES):
                    averages[weight].add(batch)
    return {"raw": averages["none"].of(0), "inclusion": averages["inclusion"].of(0)}


def start_age(size: Size, rng: np.random.Generator) -> Mapping[str, float]:
    tick_s = size.of(1, 5) / 10  # between deliveries; items are drawable half of it late on average: shares change by < 5e-4
    return ring(size, rng, BY_AGE, tick_s)


def version_age(size: Size, rng: np.random.Generator) -> Mapping[str, float]:
    settings = {**RING, "remover": "version_age", "horizon_versions": HORIZON_VERSIONS}
    return ring(size, rng, settings, VERSION_S)


def two_factors(size: Size, rng: np.random.Generator) -> Mapping[str, float]:
    """Share of the slow fleet, which has the higher priorities, in a prioritised ring by age: by each factor and by their product."""
    settings = {**BY_AGE, "sampler": "prioritised", "priority_exponent": EXPONENT, "importance_exponent": 1.0}
    averages = {name: Averages() for name in ("raw", "priority", "inclusion", "product")}
    with World(
        {"ring": {**settings, "duration": {"weight": "inclusion"}}}, labels=("slow",), seed=int(rng.integers(1 << 31))
    ) as world:
        fleets = [_fleet(world, number, rng) for number in range(2)]
        for tick in range(1, round(HORIZON_S / FLEET_TICK_S) + 1):
            for fleet in fleets:
                fleet.go_on_until(BEGIN_S + tick * FLEET_TICK_S)
                fleet.deliver()
        world.clock.now_s += rng.random() * FLEET_TICK_S  # at any time between deliveries
        for batch in take_now(world, "ring", BATCH, size.of(100, 10)):
            ones = np.ones(len(batch))
            averages["raw"].add(batch, weight=ones)
            averages["priority"].add(batch, weight=batch.factors["priority"])
            averages["inclusion"].add(batch, weight=batch.factors["duration"])
            averages["product"].add(batch)
    return {name: average.of(0) for name, average in averages.items()}


def _fleet(world: World, number: int, rng: np.random.Generator) -> Lanes:
    """Lanes of one fleet, anywhere in their actions."""
    attempt = Attempt(FLEET_S[number], (float(number),), priority=PRIORITIES[number])
    lanes = Lanes(world, FLEET_LANES[number], lambda lane, now_s: attempt, name=f"fleet-{number}")
    for lane in range(FLEET_LANES[number]):
        lanes.begin(lane, attempt, BEGIN_S - rng.random() * attempt.duration_s)
    return lanes


def _slow_share(fast: float, slow: float) -> float:
    return slow / (fast + slow)


KEPT = tuple(HORIZON_S - duration_s - FLEET_TICK_S / 2 for duration_s in FLEET_S)  # drawable so long
DRAWN = tuple(priority**EXPONENT for priority in PRIORITIES)

ROWS = (
    Row(
        "start-age",
        "ring by age since the start, H = 60 s, K = 100, d = 1/20: share of the slow action",
        (Claim("raw", 40 / 99, 0.5), Claim("inclusion", 0.5, 40 / 99)),
        start_age,
    ),
    Row(
        "version-age",
        "ring by age in versions, H = 29, a version every 2 s, K = 100, d = 1/20: share of the slow action",
        (Claim("raw", 40 / 99, 0.5), Claim("inclusion", 0.5, 40 / 99)),
        version_age,
    ),
    Row(
        "prioritised",
        "prioritised ring (exponent .6) by age, H = 60 s; two fleets, d = 2/20, priorities 1/4: share of the slow fleet by factor",
        (
            Claim("raw", _slow_share(KEPT[0] * DRAWN[0], KEPT[1] * DRAWN[1]), 0.5),
            Claim("priority", _slow_share(KEPT[0], KEPT[1]), 0.5),
            Claim("inclusion", _slow_share(DRAWN[0], DRAWN[1]), 0.5),
            Claim("product", 0.5, _slow_share(KEPT[0], KEPT[1])),
        ),
        two_factors,
    ),
)
