"""Starts are admitted by count, blind to how long they will take: nothing is dropped, and in order of start nothing is too old."""

from collections.abc import Iterator, Mapping

import numpy as np

from replay.heartbeat import LISTED_FROM_S
from replay.start_order import ON_THE_WAY_S
from sojourn.bench.lanes import Lanes
from sojourn.bench.row import Row, Size
from sojourn.bench.rows.staleness import BATCH, DROPPED, LANES, P_SLOW, exponential
from sojourn.bench.shares import Averages, take
from sojourn.bench.verdict import Claim
from sojourn.bench.world import World, eventually

MOST_LAGS = (4, 1)
WARM_UP = 6  # updates
UNKNOWN_S = LISTED_FROM_S + ON_THE_WAY_S + 1e-9  # a start is known for certain behind this
STARTING_S = 1e-6  # a start takes so long: no two are at one time, so their order is theirs


class GatedLoop:
    """Actors that start what the service admits, and a learner that updates as soon as it can.

    Invariant: starts never exceed what the service has granted.
    """

    def __init__(self, world: World, rng: np.random.Generator, order: str, most_lag: int) -> None:
        self._world, self._in_start_order, self._most_lag = world, order == "start", most_lag
        self._lanes = Lanes(world, LANES, lambda lane, now_s: exponential(rng, self.version))
        self._learner = world.learner("fifo", BATCH, ahead=1)
        self._resting = list(range(LANES))
        self._ended_s: list[float] = []  # when what ended had begun
        self._started = 0
        self.version = 0
        self.late = self.items = 0
        self._lanes.settle()
        self._start_allowed()

    def _allowed(self) -> int:
        pace = self._lanes.pace
        return pace.counted_starts + pace.start_credits - self._started

    def _start_allowed(self) -> None:
        for _ in range(min(len(self._resting), self._allowed())):
            self._world.clock.now_s += STARTING_S
            self._lanes.start(self._resting.pop(0), self._world.clock.now_s)
            self._started += 1

    def _ready(self) -> int:
        """Items that can be consumed."""
        known_s = min(self._lanes.oldest_s, self._world.clock.now_s - UNKNOWN_S) if self._in_start_order else np.inf
        return int(np.count_nonzero(np.array(self._ended_s) < known_s)) - self.version * BATCH

    def update(self, averages: Averages) -> None:
        """Run until a batch can be consumed, consume it, and let the service know of the next version."""
        while self._ready() < BATCH:
            if not self._lanes.running:  # what ended last may not be handed out yet
                self._world.clock.now_s += UNKNOWN_S
                continue
            run = self._lanes.end_next()
            self._world.clock.now_s = run.ends_at_s
            self._ended_s.append(run.started_at_s)
            self._resting.append(run.lane)
            self._start_allowed()
        self._lanes.deliver()
        if self._in_start_order:
            self._lanes.settle()  # what still runs decides what may be handed out
        for batch in take(self._learner, 1):
            averages.add(batch)
            self.late += int((self.version - batch.columns["policy_version"] > self._most_lag).sum())
            self.items += len(batch)
        self.version += 1
        self._learner.report(self.version, self.version)
        eventually(self._granted, f"leave under version {self.version}")
        self._start_allowed()

    def _granted(self) -> bool:
        """Ask for further starts. Whether the answer knows of the newest version."""
        self._lanes.settle()
        return self._lanes.pace.learner_step >= self.version


def gated(size: Size, rng: np.random.Generator, order: str, most_lag: int) -> tuple[float, float, float]:
    """Slow share of what is consumed behind the gate, how much of it is too old, and how long 100 updates take."""
    table = {"order": order, "max_staleness": most_lag, "on_stale": "gate", "duration": {"weight": "none"}}
    with World({"fifo": table}, labels=("slow",), seed=0, learners={"batch_size": BATCH, "table": "fifo"}) as world:
        loop, averages = GatedLoop(world, rng, order, most_lag), Averages()
        for _ in range(WARM_UP if order == "completion" else 0):  # in order of start there is nothing to warm up
            loop.update(Averages())
        loop.late = loop.items = 0
        begin_s, updates = world.clock.now_s, size.of(100, 8)
        for _ in range(updates):
            loop.update(averages)
        return averages.of(0), loop.late / loop.items, (world.clock.now_s - begin_s) / updates * 100


def gates(size: Size, rng: np.random.Generator) -> Mapping[str, float]:
    """All that `gated` finds, by order and most lag."""
    found: dict[str, float] = {}
    for order in ("completion", "start"):
        for most_lag in MOST_LAGS:
            name = f"order: {order}, eta = {most_lag}"
            names = (f"{name}: share", f"{name}: P(lag > eta)", f"{name}: seconds for 100 updates")
            found |= dict(zip(names, gated(size, rng, order, most_lag), strict=True))
    return found


def _claims(most_lag: int) -> Iterator[Claim]:
    """In order of completion nothing bounds the lag; how much is late, and how long updates take, has no formula."""
    for order in ("completion", "start"):
        name = f"order: {order}, eta = {most_lag}"
        yield Claim(f"{name}: share", P_SLOW, DROPPED[most_lag])
        yield Claim(f"{name}: P(lag > eta)", 0.0, chance=False) if order == "start" else Claim(f"{name}: P(lag > eta)")
        yield Claim(f"{name}: seconds for 100 updates")


ROWS = (
    Row(
        "gate",
        "K = 64, exponential d = 1/30, pi(slow) = .3, updates of 32: slow share where starts wait for their leave",
        tuple(claim for most_lag in MOST_LAGS for claim in _claims(most_lag)),
        gates,
    ),
)
