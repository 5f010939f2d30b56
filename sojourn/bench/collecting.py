"""How is experience collected for a learner? Each rule of collection gives the batches of one update after another.

A rule is a generator: its caller learns from what it gives, and then asks for more. All of it goes through the real service; lanes act
by the learner's policy of that moment.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from sojourn.bench.lanes import Lanes
from sojourn.bench.shares import take
from sojourn.bench.three_arms import Learner
from sojourn.bench.world import World, eventually
from sojourn.experience import Batch

TABLE = "fifo"
LANES = 16
BATCH = 16
STARTED = 32  # in a round of which the first 16 results are kept
MOST_LAG = 1  # versions
RESTART_S = 30.0
WINDOW_S = 40.0
WINDOW_LANES = 64

Collect = Callable[[World, Learner], Iterator[list[Batch]]]


@dataclass(frozen=True)
class Rule:
    """collect: gives what each update learns from.  table: settings of the table.  loses: in words."""

    collect: Collect
    loses: str
    table: Mapping[str, Any]
    duration: Mapping[str, Any]


def queue(world: World, learner: Learner, most_lag: int | None = None) -> Iterator[list[Batch]]:
    """Sample, run, deliver, sample again. most_lag: the table drops what is more versions behind when it comes."""
    lanes, connection = Lanes(world, LANES, learner.attempt), world.learner(TABLE, BATCH, ahead=1)
    lanes.start_all()
    while True:
        waiting = 0
        while waiting < BATCH:
            run = lanes.end_next()
            world.clock.now_s = run.ends_at_s
            waiting += most_lag is None or learner.version - run.attempt.policy_version <= most_lag
            if waiting < BATCH:
                lanes.start(run.lane, run.ends_at_s)
        lanes.deliver()
        for batch in take(connection, 1):
            yield [batch]
        connection.report(learner.version, learner.version)
        if most_lag is not None:
            _told(world, learner.version)
        lanes.start(run.lane, run.ends_at_s)


def dropping(world: World, learner: Learner) -> Iterator[list[Batch]]:
    """As `queue`, but late results are dropped."""
    yield from queue(world, learner, MOST_LAG)


def _told(world: World, version: int) -> None:
    """What comes from now on is judged by this version."""
    eventually(lambda: world.info().learner_step >= version, f"the service to hear of version {version}")


def first_of_many(world: World, learner: Learner) -> Iterator[list[Batch]]:
    """Rounds of so many starts, each closed by its first results; the others are aborted."""
    lanes, connection = Lanes(world, STARTED, learner.attempt), world.learner(TABLE, BATCH, ahead=1)
    while True:
        lanes.first_of_all(BATCH)
        lanes.report()
        for batch in take(connection, 1):
            yield [batch]


def restarting(world: World, learner: Learner) -> Iterator[list[Batch]]:
    """Every 30 s what runs is cut and all lanes begin anew; one update for every 16 results of a window."""
    for batches in _windows(world, learner, LANES, RESTART_S):
        yield from ([batch] for batch in batches)


def cold_windows(world: World, learner: Learner) -> Iterator[list[Batch]]:
    """Windows of 40 s that begin with idle lanes; one update a window."""
    return _windows(world, learner, WINDOW_LANES, WINDOW_S)


def _windows(world: World, learner: Learner, count: int, window_s: float) -> Iterator[list[Batch]]:
    lanes, connection = Lanes(world, count, learner.attempt), world.learner(TABLE, BATCH, ahead=16)
    weighted = world.config.tables[TABLE].duration.weight == "inclusion"
    left = 0
    while True:
        lanes.start_all()
        left += len(lanes.go_on_until(world.clock.now_s + window_s))
        lanes.cut_all()
        lanes.deliver()
        if weighted:
            lanes.settle()  # the weight reads what the service knows of starts that were cut
        else:
            lanes.report()
        lanes.end_window()
        taken = list(take(connection, left // BATCH))
        left %= BATCH
        if taken:
            yield taken


RULES: dict[str, Rule] = {
    "queue": Rule(queue, "nothing", {}, {}),
    "drop": Rule(dropping, "results more than 1 version late", {"max_staleness": MOST_LAG, "on_stale": "drop"}, {}),
    "restart": Rule(restarting, "what is unfinished every 30 s", {}, {"rule": "window"}),
    "first of many": Rule(first_of_many, "the later half of 32 results", {}, {}),
    "window": Rule(cold_windows, "what is unfinished after 40 s", {}, {"rule": "window"}),
}
"""By name: how it collects, and what its table needs to know of it."""
