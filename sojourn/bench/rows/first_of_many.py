"""The first B results of N close a round. What of the others: abort them, or carry them over?"""

from collections.abc import Mapping
from math import erf, exp, pi, sqrt

import numpy as np

from sojourn.bench.lanes import Attempt, Lanes
from sojourn.bench.row import Row, Size
from sojourn.bench.shares import Averages, take
from sojourn.bench.verdict import Claim
from sojourn.bench.world import World

STARTED, KEPT = 64, 48
MEAN, SLOPE, NOISE = 0.5, 0.2, 0.3
WARM_UP = 10  # rounds of carrying over, until long actions are as frequent in flight as they stay


def kept_mean() -> float:
    """E[f] over the KEPT smallest of STARTED standard normal z, f = MEAN + SLOPE z: MEAN + SLOPE E[z | kept].

    The r-th smallest of n has density n C(n-1, r-1) F^(r-1) (1-F)^(n-r) phi; the sum over r <= KEPT is integrated by the midpoint rule.
    """
    width = 1e-3
    grid = np.arange(-8.0 + width / 2, 8.0, width)
    density = np.array([exp(-z * z / 2) / sqrt(2 * pi) for z in grid])
    below = np.array([0.5 * (1 + erf(z / sqrt(2))) for z in grid])
    kept, term = np.zeros_like(grid), (1 - below) ** (STARTED - 1)
    for smaller in range(KEPT):  # P(exactly so many of the other 63 are smaller)
        kept += term
        term = term * (STARTED - 1 - smaller) / (smaller + 1) * below / np.maximum(1 - below, 1e-300)
    chance = kept * density
    return MEAN + SLOPE * float((grid * chance).sum() / chance.sum())


def first_of_many(size: Size, rng: np.random.Generator) -> Mapping[str, float]:
    rounds = size.of(500, 16)
    return {"aborted": _aborting(rounds, rng), "carried over": _carrying_over(rounds, rng)}


def _attempt(rng: np.random.Generator) -> Attempt:
    z = rng.standard_normal()
    return Attempt(exp(z), (MEAN + SLOPE * z + NOISE * rng.standard_normal(),))


def _aborting(rounds: int, rng: np.random.Generator) -> float:
    """Mean of f where every round starts all lanes afresh and ends what is late."""
    with World({"fifo": {}}, labels=("f",), seed=0) as world:
        lanes = Lanes(world, STARTED, lambda lane, now_s: _attempt(rng))
        learner, averages = world.learner("fifo", KEPT), Averages()
        for _ in range(rounds):
            lanes.first_of_all(KEPT)
            lanes.settle()
            for batch in take(learner, 1):
                averages.add(batch)
    return averages.of(0)


def _carrying_over(rounds: int, rng: np.random.Generator) -> float:
    """Mean of f where what is late goes on into the next round."""
    with World({"fifo": {}}, labels=("f",), seed=0) as world:
        lanes = Lanes(world, STARTED, lambda lane, now_s: _attempt(rng))
        learner, averages = world.learner("fifo", KEPT), Averages()
        lanes.start_all()
        for number in range(WARM_UP + rounds):
            ended = [lanes.end_next() for _ in range(KEPT)]
            world.clock.now_s = ended[-1].ends_at_s
            for run in ended:
                lanes.start(run.lane, world.clock.now_s)
            lanes.deliver()
            for batch in take(learner, 1):
                if number >= WARM_UP:
                    averages.add(batch)
    return averages.of(0)


ROWS = (
    Row(
        "first-of-many",
        "first B = 48 of N = 64, ln D = z, f = .5 + .2 z + .3 noise: mean of f",
        (Claim("aborted", kept_mean(), 0.5), Claim("carried over", 0.5, kept_mean())),
        first_of_many,
    ),
)
