"""Results that come too many policy versions late: drop them, or take them all.

Exact shares under dropping have no closed form, since the period of an update depends on what was dropped; they are those of the rule
simulated alone, 8 x 8,000 updates (standard error 4e-4).
"""

from collections.abc import Mapping

import numpy as np

from sojourn.bench.lanes import Attempt, Lanes
from sojourn.bench.row import Row, Size
from sojourn.bench.shares import Averages, take
from sojourn.bench.verdict import Claim
from sojourn.bench.world import World

MEANS_S = (1.0, 30.0)  # exponential
P_SLOW = 0.3
LANES = 64
BATCH = 32
WARM_UP = 20  # updates, until long actions are as frequent in flight as they stay
DROPPED = {4: 0.1969, 1: 0.1057}
NEVER = 1_000_000
OLD = 4  # versions, whose share is printed where nothing is dropped


def exponential(rng: np.random.Generator, version: int) -> Attempt:
    """An action under a version of the policy, which is always the same one."""
    slow = rng.random() < P_SLOW
    return Attempt(rng.exponential(MEANS_S[slow]), (float(slow),), policy_version=version)


class Loop:
    """Actors and a learner that take turns: an update as soon as so many results are in that are not too old."""

    def __init__(self, world: World, rng: np.random.Generator, most_lag: int) -> None:
        self._world, self._most_lag = world, most_lag
        self.version = 0
        self.late = self.consumed = 0
        self._lanes = Lanes(world, LANES, lambda lane, now_s: exponential(rng, self.version))
        self._learner = world.learner("fifo", BATCH, ahead=1)
        self._lanes.start_all()

    def update(self, averages: Averages | None) -> None:
        """Run until a batch is together, consume it, and go to the next version."""
        waiting = 0
        while waiting < BATCH:
            run = self._lanes.end_next()
            self._world.clock.now_s = run.ends_at_s
            lag = self.version - run.attempt.policy_version
            waiting += lag <= self._most_lag
            if waiting < BATCH:
                self._lanes.start(run.lane, run.ends_at_s)
        self._lanes.deliver()
        for batch in take(self._learner, 1):
            if averages is not None:
                averages.add(batch)
                self.late += int((self.version - batch.columns["policy_version"] > OLD).sum())
                self.consumed += len(batch)
        self.version += 1
        self._learner.report(self.version, self.version)
        self._lanes.start(run.lane, run.ends_at_s)


def staleness(size: Size, rng: np.random.Generator) -> Mapping[str, float]:
    """Slow shares of what is consumed, and how long 100 updates take."""
    found = {}
    for name, most_lag in (("drop, eta = 4", 4), ("drop, eta = 1", 1), ("take all", NEVER)):
        drop = {"max_staleness": most_lag, "on_stale": "drop"} if most_lag < NEVER else {}
        with World({"fifo": {**drop, "duration": {"weight": "none"}}}, labels=("slow",), seed=0) as world:
            loop, averages = Loop(world, rng, most_lag), Averages()
            for _ in range(WARM_UP):
                loop.update(None)
            begin_s, updates = world.clock.now_s, size.of(300, 20)
            for _ in range(updates):
                loop.update(averages)
            found[f"{name}: share"] = averages.of(0)
            found[f"{name}: seconds for 100 updates"] = (world.clock.now_s - begin_s) / updates * 100
            if most_lag == NEVER:
                found[f"{name}: P(lag > 4)"] = loop.late / loop.consumed
    return found


ROWS = (
    Row(
        "staleness",
        "K = 64, exponential d = 1/30, pi(slow) = .3, updates of 32: slow share where results more than eta versions old are dropped",
        (
            Claim("drop, eta = 4: share", DROPPED[4], P_SLOW),
            Claim("drop, eta = 1: share", DROPPED[1], P_SLOW),
            Claim("take all: share", P_SLOW, DROPPED[4]),
            Claim("take all: P(lag > 4)"),
            Claim("drop, eta = 4: seconds for 100 updates"),
            Claim("drop, eta = 1: seconds for 100 updates"),
            Claim("take all: seconds for 100 updates"),
        ),
        staleness,
    ),
)
