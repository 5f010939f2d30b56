"""Renewal loops: sample, run, deliver, sample again, and drop nothing. Whatever the durations, shares are those of the policy."""

from collections.abc import Iterable, Mapping

import numpy as np

from sojourn.bench.lanes import Attempt, Lanes, Run
from sojourn.bench.row import Row, Size
from sojourn.bench.shares import Averages, take
from sojourn.bench.verdict import Claim
from sojourn.bench.world import World
from sojourn.errors import ContractError

FAST_S, SLOW_S = 1.0, 10.0
LANES = 16
TICK_S = 10.0
BATCH = 100
WEIGHTS = ("none", "linear", "inclusion")


def two_actions(rng: np.random.Generator, p_slow: float = 0.5, fast_s: float = FAST_S, slow_s: float = SLOW_S) -> Attempt:
    """A fast or a slow action of constant duration; its label says which."""
    slow = rng.random() < p_slow
    return Attempt(slow_s if slow else fast_s, (float(slow),))


def renewal(size: Size, rng: np.random.Generator) -> Mapping[str, float]:
    """Shares of the slow action among the first items consumed, by weight; the farthest inclusion weight from 1."""
    consumed = size.of(20_000, 640)
    tables = {weight: {"duration": {"weight": weight}} for weight in WEIGHTS}
    with World(tables, labels=("slow",), seed=0) as world:
        lanes = Lanes(world, LANES, lambda lane, now_s: two_actions(rng))
        lanes.start_all()
        delivered = 0
        while delivered < consumed:
            lanes.go_on_until(world.clock.now_s + TICK_S)
            delivered += lanes.deliver()
        averages, farthest = {}, 0.0
        for weight in WEIGHTS:
            averages[weight] = Averages()
            for batch in take(world.learner(weight, BATCH), consumed // BATCH):
                averages[weight].add(batch)
                if weight == "inclusion":
                    farthest = max(farthest, float(np.abs(batch.factors["duration"] - 1.0).max()))
    return {
        "raw": averages["none"].of(0),
        "inclusion": averages["inclusion"].of(0),
        "linear": averages["linear"].of(0),
        "inclusion weight minus 1": farthest,
    }


def deficit(size: Size, rng: np.random.Generator) -> Mapping[str, float]:
    """At every event: the most by which, for any action, started minus consumed exceeds what is in flight and queued."""
    with World({"fifo": {}}, labels=("slow",), seed=0) as world:
        lanes = Lanes(world, LANES, lambda lane, now_s: two_actions(rng))
        learner = world.learner("fifo", 1)
        lanes.start_all()
        started = _by_action(lanes.running.values())
        consumed, queued, most = np.zeros(2), np.zeros(2), -np.inf
        for _ in range(size.of(2_000, 100)):
            world.clock.now_s = lanes.next_end_s
            ended = lanes.end_next()
            queued += _by_action([ended])
            started += _by_action([lanes.start(ended.lane, ended.ends_at_s)])
            lanes.deliver()
            for batch in take(learner, int(rng.integers(0, int(queued.sum()) + 1))):
                used = np.bincount(batch.columns["observation"][:, 0].astype(int), minlength=2)
                consumed, queued = consumed + used, queued - used
            most = max(most, float((started - consumed - _by_action(lanes.running.values()) - queued).max()))
            if queued.min() < 0.0:
                raise ContractError(f"consumed what was never delivered: {queued} queued by action")
    return {"started - consumed - in flight - queued": most}


def _by_action(runs: Iterable[Run]) -> np.ndarray:
    """Fast and slow ones, float64[2]."""
    return np.bincount([int(run.attempt.labels[0]) for run in runs], minlength=2).astype(np.float64)


ROWS = (
    Row(
        "renewal",
        "renewal FIFO: K = 16, d = 1/10, pi = .5/.5, the first 20,000 consumed: share of the slow action",
        (
            Claim("raw", 0.5, 10 / 11),
            Claim("inclusion", 0.5, 10 / 11),
            Claim("linear", 10 / 11, 0.5),
            Claim("inclusion weight minus 1", 0.0, tolerance=0.0),
        ),
        renewal,
    ),
    Row(
        "deficit",
        "at every event and for each action, started - consumed = in flight + queued, and no more",
        (Claim("started - consumed - in flight - queued", 0.0, tolerance=0.0),),
        deficit,
    ),
)
