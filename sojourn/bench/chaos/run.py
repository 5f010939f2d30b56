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

from sojourn.bench.chaos.rows import StageRow
from sojourn.bench.chaos.snapshot import Snapshot, make_snapshot
from sojourn.bench.chaos.stage import Stage
from sojourn.bench.chaos.trial import Found, measure
from sojourn.bench.duration import machine, version
from sojourn.config import Config
from sojourn.config.load import load_config

QUICK_STEPS = 100_000
QUICK_TRIALS = 5
MOST_TRIALS_PER_STAGE = 10  # its tables fill with every trial
SETTINGS = (
    "tables.replay.limiter.samples_per_insert=null",
    "tables.replay.capacity_steps=1_500_000",
    "learners.batch_size=256",
    "learners.prefetch=2",
    "learners.batches_per_message=1",
)


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
        self._snapshots: dict[tuple[int, tuple[str, ...]], Snapshot] = {}
        self._ends = ExitStack()

    def __enter__(self) -> "Chaos":
        self._folder = Path(self._ends.enter_context(tempfile.TemporaryDirectory(prefix="sojourn-snapshots-")))
        return self

    def __exit__(self, *_: object) -> None:
        self._ends.close()

    def trials(self, row: StageRow, most: int | None = None) -> Iterator[Trial]:
        """The trials that the row lacks, at most `most`; each is appended to the results before it is handed out."""
        wanted = QUICK_TRIALS if self._quick else row.trials
        had = {trial.number for trial in read(self._results) if (trial.row, trial.quick) == (row.name, self._quick)}
        numbers = [] if self._quick and most is None else had
        lacking = [number for number in range(wanted) if number not in numbers][:most]
        while lacking and time.monotonic() < self._until_s:
            together = 1 if row.alone else MOST_TRIALS_PER_STAGE
            with Stage(self._config(row), row.setting, self._snapshot(row), seed=lacking[0]) as stage:
                for trial in self._on_stage(row, stage, lacking[:together]):
                    lacking.remove(trial.number)
                    yield trial

    def _on_stage(self, row: StageRow, stage: Stage, numbers: Sequence[int]) -> Iterator[Trial]:
        """Trials until one does not hold, or the time is over: what broke one would break the next."""
        for number in list(numbers):
            if time.monotonic() > self._until_s:
                return
            rng = np.random.default_rng([zlib.crc32(row.name.encode()), number])
            trial = Trial(
                row.name,
                number,
                self._quick,
                measure(stage, row.make(stage, rng), rng),
                time.strftime("%Y-%m-%d"),
                machine(),
                version(),
            )
            append(self._results, trial)
            yield trial
            if not trial.held:
                return

    def _config(self, row: StageRow) -> Config:
        return load_config(None, [*SETTINGS, f"actors.replicas={row.setting.actors}", *row.setting.overrides])

    def _snapshot(self, row: StageRow) -> Snapshot:
        steps = min(row.setting.steps, QUICK_STEPS) if self._quick else row.setting.steps
        key = steps, row.setting.overrides
        if key not in self._snapshots:
            self._snapshots[key] = make_snapshot(self._folder / str(len(self._snapshots)), self._config(row), steps)
        return self._snapshots[key]


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
