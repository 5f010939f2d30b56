"""What do weights cost? The time of a prioritised sample with a weight, over the time without one, end to end.

A learner takes batches from a real service as fast as they come: drawn, gathered, sent over the loopback, decoded and weighted. Tables with and
without the weight hold the same steps and are sampled in turn, so that their ratio is of one moment of the machine. Blocks for minutes.
"""

import json
import statistics
import subprocess
import sys
import time
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from replay.client import LaneCounts, LearnerConnection
from sojourn.allocator import keep_freed_memory
from sojourn.bench.between import write_between
from sojourn.bench.measured import Measured, here
from sojourn.bench.world import DEADLINE_S, RUN_ID, World, eventually
from sojourn.config.load import dump_config
from sojourn.experience import EndKind, Segment
from sojourn.roles import announced_address

STEPS = 20_000
FEATURES = 45
SEGMENT_STEPS = 100
ACTION_S = 1.0
FAR_S = 1e6
BATCH = 256
AHEAD = 64  # batches that are prefetched
FREED_BYTES = 1 << 30  # as in sojourn/algorithms/processor.py: else a message's size decides whether its memory is new each time
SLICES = 6  # of a turn
SLICE = 250  # batches of one table, then of the other: shorter than a machine is equally fast
TURNS = 5
MOST = 1.05
COMMAND = "sojourn bench duration-price"
BEGIN = "<!-- price: written by `sojourn bench duration-price` -->"
END = "<!-- end of price -->"
HEADING = "| | time with it / without, median of five | lowest, highest | ms a batch | |\n|---|---|---|---|---|\n"
PRIORITISED: dict[str, Any] = {"sampler": "prioritised", "consume": False, "capacity_steps": 2 * STEPS}
TABLES: dict[str, dict[str, Any]] = {
    "none": {"duration": {"weight": "none"}},
    "linear": {"duration": {"weight": "linear"}},
    "one": {"duration": {"weight": "inclusion"}},
    "start_age": {"remover": "start_age", "horizon_s": FAR_S},
    "version_age": {"remover": "version_age", "horizon_versions": 1_000_000},
    "staleness": {"max_staleness": 1_000_000_000, "on_stale": "drop"},
    "window": {"duration": {"rule": "window"}},
    "episode_window": {"duration": {"rule": "episode_window"}},
    "censoring": {"duration": {"rule": "censoring"}},
    "start_rate": {"duration": {"rule": "start_rate"}},
    "pool": {"duration": {"weight": "pool"}},
}
"""Rules of inclusion but for the first two and the last, by name."""


@dataclass(frozen=True)
class Price(Measured):
    """rule: of inclusion, or a weight.  ratios: time with it over time without, by turn.  batch_ms: with it, of 256 items."""

    rule: str
    ratios: tuple[float, ...]
    batch_ms: float

    @property
    def median(self) -> float:
        return statistics.median(self.ratios)

    @property
    def fair(self) -> bool:
        return self.median <= MOST


@contextmanager
def serving(names: Collection[str] = TABLES) -> Iterator[tuple[World, int]]:
    """A service of these tables in a process of its own, as in a run: what waits for the interpreter's lock does so there."""
    tables = {name: {**PRIORITISED, **TABLES[name]} for name in names}
    labels = tuple(f"feature {number}" for number in range(FEATURES))
    world = World(tables, labels=labels, seed=0)
    with TemporaryDirectory(prefix="sojourn-price-") as name:
        folder = Path(name)
        (folder / "config.yaml").write_text(dump_config(world.config))
        arguments = ["--run-folder", name, "--run-id", RUN_ID]
        with (folder / "log").open("wb") as log:
            process = subprocess.Popen([sys.executable, "-m", "replay", *arguments], stdout=log, stderr=log)
        try:
            with world.elsewhere([announced_address(folder, "replay-0")]):
                yield world, process.pid
        finally:
            process.terminate()
            process.wait()


def prices(turns: int = TURNS, slices: int = SLICES, batches: int = SLICE) -> Iterator[Price]:
    """One rule after the other. Changes the process: it keeps freed memory from here on, as a learner does."""
    keep_freed_memory(FREED_BYTES)
    with serving() as (world, service_pid):
        fill(world)
        learners = {name: world.learner(name, BATCH, ahead=AHEAD) for name in TABLES}
        spending = Spending(service_pid)
        plain = learners.pop("none")
        for name, learner in learners.items():
            for connection in (plain, learner):
                spending.of(connection, batches)  # compiled code and curves cost once
            pairs = [in_turn(spending, plain, learner, slices, batches) for _ in range(turns)]
            ratios = tuple(round(weighted / bare, 4) for bare, weighted in pairs)
            batch_ms = round(1e3 * statistics.median(weighted for _, weighted in pairs) / (slices * batches), 4)
            yield Price(name, ratios, batch_ms, **here(COMMAND))
            learner.close()


class Spending:
    """Processor time of the service and of this process: others on the machine disturb it least. Linux only."""

    def __init__(self, service_pid: int) -> None:
        self._service_clock = (~service_pid << 3) | 2  # as clock_getcpuclockid(3) does: in nanoseconds, not in hundredths

    def of(self, learner: LearnerConnection, batches: int) -> float:
        """Seconds for so many batches more: until they were taken, and as many prefetched again."""
        prefetched(learner)
        began_s = self._now_s()
        for _ in range(batches):
            learner.sample(DEADLINE_S)
        prefetched(learner)
        return self._now_s() - began_s

    def _now_s(self) -> float:
        return time.process_time() + time.clock_gettime(self._service_clock)


def prefetched(learner: LearnerConnection) -> None:
    """Wait until nothing is left to prefetch. Raises DeadlineError if that is not in time."""
    eventually(lambda: learner.queued_batches >= AHEAD, f"{AHEAD} batches to be prefetched")


def in_turn(
    spending: Spending, plain: LearnerConnection, weighted: LearnerConnection, slices: int, batches: int
) -> tuple[float, float]:
    """Time for slices of so many batches of each, now the one first and now the other: the first finds caches that others have used."""
    bare = priced = 0.0
    for number in range(slices):
        if number % 2:
            priced += spending.of(weighted, batches)
        bare += spending.of(plain, batches)
        if not number % 2:
            priced += spending.of(weighted, batches)
    return bare, priced


def fill(world: World) -> None:
    """Episodes of one lane that have just ended, each a window of its own, of actions with lognormal durations."""
    rng = np.random.default_rng(0)
    durations_s = ACTION_S * rng.lognormal(size=(STEPS // SEGMENT_STEPS, SEGMENT_STEPS))
    ends_s = np.cumsum(durations_s.sum(axis=1))
    actor, now_s = world.actor(pool="a", now_s=time.monotonic), time.monotonic()
    for number, (duration_s, left_s) in enumerate(zip(durations_s, ends_s[-1] - ends_s, strict=True)):
        actor.insert(_episode(rng, number, duration_s, now_s - left_s - float(duration_s.sum())))
    actor.drain(DEADLINE_S)
    for left_s in ends_s[-1] - ends_s:
        actor.end_window("a", max(0.0, time.monotonic() - now_s) + float(left_s))
    actor.report([LaneCounts(0, started=STEPS, completed=STEPS)], [])
    actor.heard(DEADLINE_S)


def _episode(rng: np.random.Generator, number: int, duration_s: np.ndarray, begin_s: float) -> Segment:
    steps = len(duration_s)
    truncated = np.zeros(steps, np.bool_)
    truncated[-1] = True
    return Segment(
        lane=0,
        first_sequence=number * (steps + 1),
        episode=number,
        observation={"observation": rng.standard_normal((steps + 1, FEATURES))},
        action={"action": np.zeros((steps, 1), np.float32)},
        reward=np.zeros(steps, np.float32),
        terminated=np.zeros(steps, np.bool_),
        truncated=truncated,
        duration_s=duration_s,
        started_at_s=begin_s + np.cumsum(duration_s) - duration_s,
        end_kind=np.full(steps, EndKind.COMPLETED, np.uint8),
        log_prob=np.zeros(steps, np.float32),
        policy_version=np.full(steps, number, np.int64),
        closed=True,
        priority=rng.exponential(size=steps).astype(np.float32),
    )


def append(results: Path, price: Price) -> None:
    """Add one line to the results."""
    results.parent.mkdir(parents=True, exist_ok=True)
    with results.open("a") as file:
        file.write(json.dumps({**asdict(price), "median": price.median}) + "\n")


def write(page: Path, found: Sequence[Price]) -> None:
    """Put a table of the prices between the page's two marks, if it has them."""
    source = f"`{COMMAND}`, {found[0].machine}, {found[0].version}, {found[0].date}"
    write_between(page, BEGIN, END, f"{HEADING}{''.join(map(line, found))}\n{source}\n")


def line(price: Price) -> str:
    """One line of the table."""
    said = "" if price.fair else "**above 5 %**"
    spread = f"{min(price.ratios):.3f}, {max(price.ratios):.3f}"
    return f"| {price.rule} | {price.median:.3f} | {spread} | {price.batch_ms:.3f} | {said} |\n"
