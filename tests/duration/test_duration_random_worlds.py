"""Weights that come through real services, against slow sums over the list of everything that was started, in random worlds.

One to three shards, two pools whose windows end at other times, fleets of two speed classes of any size, durations from 1e-6 s to 1e5 s,
deliveries and heartbeats whenever it happens.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import pytest

from sojourn.bench.lanes import Attempt, Lanes
from sojourn.bench.shares import take
from sojourn.bench.world import World
from sojourn.experience import Batch, EndKind

CLASSES = ("quick", "slow")
MEANS_S = {"a": 2.0, "b": 5.0}
BATCH = 4


class Fleet(NamedTuple):
    pool: str
    speed: str
    lanes: Lanes


def fleets_of(world: World, pools: str, shards: int, rng: np.random.Generator, choose: Callable[..., Callable]) -> list[Fleet]:
    """Lanes of each pool, class and shard; the slow ones are missing here and there."""
    places = [(pool, speed, shard) for pool in pools for speed in CLASSES for shard in range(shards)]
    lanes = [int(rng.integers(0 if place[1] == "slow" else 3, 9)) for place in places]
    return [
        Fleet(
            pool,
            speed,
            Lanes(world, many, choose(pool, speed), name=f"{pool}-{speed}-{shard}", shard=shard, pool=pool, speed_class=speed),
        )
        for (pool, speed, shard), many in zip(places, lanes, strict=True)
        if many
    ]


def in_windows(world: World, fleets: list[Fleet], rng: np.random.Generator) -> dict[str, list[float]]:
    """Eight windows, of each pool its own; what a window's end cuts begins anew. Returns their ends by pool."""
    ends: dict[str, list[float]] = {"a": [], "b": []}
    every_s = {pool: rng.uniform(5.0, 20.0) for pool in ends}
    next_s = {pool: world.clock.now_s + length_s for pool, length_s in every_s.items()}
    for fleet in fleets:
        fleet.lanes.start_all()
    for _ in range(8):
        pool = min(next_s, key=next_s.__getitem__)
        for until_s in (rng.uniform(world.clock.now_s, next_s[pool]), next_s[pool]):
            for fleet in fleets:
                fleet.lanes.go_on_until(until_s)
                if rng.random() < 0.5:
                    fleet.lanes.deliver()
        mine = [fleet.lanes for fleet in fleets if fleet.pool == pool]
        for lanes in mine:
            lanes.cut_all()
            lanes.deliver()
            lanes.settle()
        for lanes in {lanes.shard: lanes for lanes in mine}.values():
            lanes.end_window(pool)
        ends[pool].append(next_s[pool])
        next_s[pool] += every_s[pool]
        for lanes in mine:
            lanes.start_all()
    for fleet in fleets:
        fleet.lanes.deliver()
        fleet.lanes.settle()
    return ends


def drawn(world: World, shards: int) -> list[Batch]:
    world.clock.now_s += 2.0  # summaries are made anew
    items = [world.info(shard).table("replay").facts.items for shard in range(shards)]  # before a learner leases any
    return list(take(world.learner("replay", BATCH), sum(held // BATCH for held in items)))


def same_up_to_a_factor(factor: np.ndarray, weights: np.ndarray) -> bool:
    return bool(np.allclose(factor / factor[0], weights / weights[0], rtol=1e-4))


@pytest.mark.parametrize("seed", [0, 1])
def test_windows_of_two_pools_weigh_by_the_share_of_starts_that_had_so_much_left(seed):
    rng = np.random.default_rng(seed)
    shards, starts = 1 + seed, []  # starts: pool, class, time

    def choose(pool: str, speed: str) -> Callable[[int, float], Attempt]:
        def chosen(lane: int, now_s: float) -> Attempt:
            duration_s = rng.choice([1e-6, 1e5, MEANS_S[pool] * rng.pareto(1.3)], p=[0.05, 0.05, 0.9]) + 1e-6
            starts.append((pool, speed, now_s))
            return Attempt(duration_s, (float(pool == "b"), float(speed == "slow"), duration_s))

        return chosen

    with World(
        {"replay": {"duration": {"rule": "window", "cap": 1e9}}}, labels=("b", "slow", "s"), seed=0, shards=shards
    ) as world:
        fleets = fleets_of(world, "ab", shards, rng, choose)
        ends = in_windows(world, fleets, rng)
        batches = drawn(world, shards)

    def weight(of_b: float, of_slow: float, duration_s: float) -> float:
        pool, speed = "ab"[int(of_b)], CLASSES[int(of_slow)]
        closed = np.array(ends[pool])
        begun = [start_s for other, another, start_s in starts if (other, another) == (pool, speed) and start_s < closed[-1]]
        left_s = closed[np.searchsorted(closed, begun, side="right")] - begun
        return len(left_s) / max(1, np.count_nonzero(left_s >= duration_s - 1e-7))

    assert len(batches) > 20
    for batch in batches:
        weights = np.array([weight(*labels) for labels in batch.columns["observation"]])
        assert same_up_to_a_factor(batch.factors["duration"], weights)


@pytest.mark.parametrize("seed", [0, 1])
def test_crashes_weigh_by_the_slow_product_over_all_starts(seed):
    rng = np.random.default_rng(seed)
    shards, seen = 1 + seed, {speed: [] for speed in CLASSES}  # how long each start was watched, and whether it was cut

    def choose(pool: str, speed: str) -> Callable[[int, float], Attempt]:
        def chosen(lane: int, now_s: float) -> Attempt:
            duration_s, cut_s = rng.exponential(4.0) + 1e-6, rng.exponential(6.0)
            ends = EndKind(rng.choice([EndKind.CRASHED, EndKind.ABORTED])) if cut_s < duration_s else EndKind.COMPLETED
            return Attempt(min(duration_s, cut_s), (float(speed == "slow"),), ends=ends)

        return chosen

    with World({"replay": {"duration": {"rule": "censoring", "cap": 1e9}}}, labels=("slow",), seed=0, shards=shards) as world:
        fleets = [(fleet.speed, fleet.lanes) for fleet in fleets_of(world, "a", shards, rng, choose)]
        for _, lanes in fleets:
            lanes.start_all()
        for _ in range(15):
            now_s = world.clock.now_s + rng.uniform(0.1, 4.0)
            for speed, lanes in fleets:
                ended = lanes.go_on_until(now_s)
                seen[speed] += [(run.attempt.duration_s, run.attempt.ends is not EndKind.COMPLETED) for run in ended]
            for _, lanes in fleets:
                lanes.deliver()
                lanes.settle()
        for speed, lanes in fleets:
            seen[speed] += [(now_s - run.started_at_s, False) for run in lanes.running.values()]
        batches = drawn(world, shards)

    def weight(of_slow: float, duration_s: float) -> float:
        watched_s, cut = (np.array(column) for column in zip(*seen[CLASSES[int(of_slow)]], strict=True))
        survival = 1.0
        for time_s in np.unique(watched_s[cut & (watched_s < duration_s - 1e-7)]):
            at_risk = np.count_nonzero(watched_s >= time_s) - np.count_nonzero(~cut & (watched_s == time_s))
            survival *= 1.0 - np.count_nonzero(cut & (watched_s == time_s)) / at_risk
        return 1.0 / survival

    assert len(batches) > 20
    for batch in batches:
        facts = zip(batch.columns["observation"][:, 0], batch.info.duration_s, strict=True)
        assert same_up_to_a_factor(batch.factors["duration"], np.array([weight(*one) for one in facts]))
