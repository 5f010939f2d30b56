"""A fixed time share per action: the one regime in which each term times its duration is exact. Shares, effective sample size, draws."""

from collections.abc import Mapping
from functools import partial

import numpy as np

from sojourn.bench.lanes import Attempt, Lanes
from sojourn.bench.row import Row, Size
from sojourn.bench.shares import Averages, take
from sojourn.bench.verdict import Claim
from sojourn.bench.world import World

FAST_S, SLOW_S = 1.0, 10.0
LANES_EACH = 32
PERIOD_S = 10.0  # in which every lane ends whole actions, so that all batches are alike
PERIOD_ITEMS = LANES_EACH * int(PERIOD_S / FAST_S + PERIOD_S / SLOW_S)
UNCAPPED = 1e6
BATCH = 404
RATIOS = (2, 5, 10, 20, 100)


def time_share(size: Size, rng: np.random.Generator) -> Mapping[str, float]:
    """Shares where every lane keeps its action. Nothing is left to chance."""
    periods = size.of(100, 4)
    tables = {weight: {"duration": {"weight": weight}} for weight in ("none", "linear")}
    with World(tables, labels=("slow",), seed=0) as world:
        lanes = Lanes(world, 2 * LANES_EACH, lambda lane, now_s: _kept(lane >= LANES_EACH, SLOW_S))
        lanes.start_all()
        learners = {name: world.learner(name, PERIOD_ITEMS) for name in tables}
        averages = {name: Averages() for name in tables}
        for _ in range(periods):
            lanes.go_on_until(world.clock.now_s + PERIOD_S)
            lanes.deliver()
            for name, learner in learners.items():
                for batch in take(learner, 1):
                    averages[name].add(batch)
    return {"raw": averages["none"].of(0), "linear": averages["linear"].of(0)}


def _kept(slow: bool, slow_s: float) -> Attempt:
    return Attempt(slow_s if slow else FAST_S, (float(slow),))


def _kept_of(slow_s: float, lane: int, now_s: float) -> Attempt:
    return _kept(lane == 1, slow_s)


def effective_size(size: Size, rng: np.random.Generator) -> Mapping[str, float]:
    """Effective share of a batch of linear weights, for two actions whose durations differ by each ratio."""
    found = {}
    with World({"linear": {"duration": {"weight": "linear", "cap": UNCAPPED}}}, labels=("slow",), seed=0) as world:
        for ratio in RATIOS:
            periods = BATCH // (ratio + 1)  # of R fast actions and a slow one
            lanes = Lanes(world, 2, partial(_kept_of, float(ratio)), name=f"actor-{ratio}")
            lanes.start_all()
            lanes.go_on_until(world.clock.now_s + periods * ratio)
            learner = world.learner("linear", lanes.deliver(), ahead=1)
            (batch,) = take(learner, 1)
            weight = batch.loss_weight.astype(np.float64)
            found[f"ratio {ratio}"] = float(weight.sum() ** 2 / (len(weight) * (weight**2).sum()))
            learner.close()
    return found


ROWS = (
    Row(
        "time-share",
        "32 + 32 actors that keep their action, d = 1/10, T = 1000: share of the slow action",
        (Claim("raw", 1 / 11, 0.5), Claim("linear", 0.5, 1 / 11)),
        time_share,
    ),
    Row(
        "ess",
        "pi = .5/.5, q ~ pi/d: effective sample size of linear weights, harmonic over arithmetic mean of d",
        tuple(Claim(f"ratio {ratio}", 4 * ratio / (ratio + 1) ** 2, 1.0) for ratio in RATIOS),
        effective_size,
    ),
)
