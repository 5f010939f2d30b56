"""Runs trials row by row, keeps what they found, and goes on where it was stopped: the work behind `sojourn bench chaos`.

One line of JSON a trial is appended to the results. Starts and ends services on this machine's loopback.
"""

import json
import tempfile
import time
import zlib
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from sojourn.bench.chaos.rows import Attempt, Row
from sojourn.bench.chaos.snapshot import Snapshot, make_snapshot
from sojourn.bench.chaos.trial import Found
from sojourn.bench.measured import machine, today, version
from sojourn.config import Config

QUICK_STEPS = 100_000
QUICK_TRIALS = 5
MOST_TRIALS_TOGETHER = 10  # its tables fill with every trial
MOST_STEPS = 1_000_000  # in a snapshot


@dataclass(frozen=True)
class Trial:
    """A row's trial of a number, which seeds it, and where and when it was made."""

    row: str
    number: int
    quick: bool
    found: Found
    date: str
    machine: str
    version: str

    @property
    def held(self) -> bool:
        return self.found.held


class Chaos:
    """Makes trials. Use it as a context: snapshots are made once, when they are first needed, and are gone at its end."""

    def __init__(self, results: Path, *, quick: bool = False, until_s: float = float("inf")) -> None:
        """until_s: no trial begins after that moment of the monotonic clock."""
        self._results, self._quick, self._until_s = results, quick, until_s
        self._snapshots: dict[int, Snapshot] = {}
        self._ends = ExitStack()

    def __enter__(self) -> "Chaos":
        self._folder = Path(self._ends.enter_context(tempfile.TemporaryDirectory(prefix="sojourn-snapshots-")))
        return self

    def __exit__(self, *_: object) -> None:
        self._ends.close()

    def trials(self, row: Row, most: int | None = None) -> Iterator[Trial]:
        """The trials that the row lacks, at most `most`; each is appended to the results before it is handed out.

        With `quick` all are made anew.
        """
        had = {trial.number for trial in read(self._results) if trial.row == row.name and not self._quick}
        wanted = range(QUICK_TRIALS if self._quick else row.trials)
        lacking = [number for number in wanted if number not in had][:most]
        while lacking and time.monotonic() < self._until_s:
            together = 1 if row.alone else MOST_TRIALS_TOGETHER
            with row.opened(self._snapshot, lacking[0], QUICK_STEPS if self._quick else MOST_STEPS) as attempt:
                for trial in self._together(row, attempt, lacking[:together]):
                    lacking.remove(trial.number)
                    yield trial

    def _together(self, row: Row, attempt: Attempt, numbers: Sequence[int]) -> Iterator[Trial]:
        """Trials one after the other until one does not hold, or the time is over: what broke one would break the next."""
        for number in numbers:
            if time.monotonic() > self._until_s:
                return
            found = attempt(np.random.default_rng([zlib.crc32(row.name.encode()), number]))
            trial = Trial(row.name, number, self._quick, found, today(), machine(), version())
            append(self._results, trial)
            yield trial
            if not trial.held:
                return

    def _snapshot(self, config: Config, steps: int) -> Snapshot:
        if steps not in self._snapshots:
            self._snapshots[steps] = make_snapshot(self._folder / str(steps), config, steps)
        return self._snapshots[steps]


def append(results: Path, trial: Trial) -> None:
    """Add one line to the results."""
    results.parent.mkdir(parents=True, exist_ok=True)
    with results.open("a") as file:
        file.write(json.dumps({**asdict(trial), "held": trial.held}) + "\n")


def read(results: Path) -> list[Trial]:
    """All trials, oldest first; none if there is no file."""
    if not results.exists():
        return []
    lines = [json.loads(line) for line in results.read_text().splitlines()]
    return [Trial(**{**{k: v for k, v in line.items() if k != "held"}, "found": Found(**line["found"])}) for line in lines]
