"""Runs rows, keeps what they gave, and goes on where it was stopped: the work behind `sojourn bench duration`.

One line of JSON a row and seed is appended to the results; a row that has passed at that seed and size is not run again unless it is
named. Starts and ends services on this machine's loopback.
"""

import json
import time
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from sojourn.bench.measured import Measured, here
from sojourn.bench.row import Row, Size
from sojourn.bench.verdict import REPLICATES, Claim, Verdict, judge


@dataclass(frozen=True)
class Outcome(Measured):
    """One row's verdicts."""

    row: str
    seed: int
    quick: bool
    seconds: float
    verdicts: tuple[Verdict, ...]

    @property
    def passed(self) -> bool:
        return all(verdict.agrees for verdict in self.verdicts)


def measure(row: Row, *, seed: int, quick: bool) -> Outcome:
    """Run all replicates of a row. Each draws from a stream of its own, which depends on seed, row and replicate alone."""
    began_s, name = time.monotonic(), zlib.crc32(row.name.encode())
    numbers = [row.replicate(Size(quick), np.random.default_rng([seed, name, replicate])) for replicate in range(REPLICATES)]
    verdicts = tuple(judge(row.claims, numbers))
    return Outcome(
        row=row.name,
        seed=seed,
        quick=quick,
        seconds=round(time.monotonic() - began_s, 1),
        verdicts=verdicts,
        **here(f"sojourn bench duration --row {row.name} --seed {seed}" + " --quick" * quick),
    )


def run(
    rows: Sequence[Row], *, seed: int, quick: bool, results: Path, again: bool, tell: Callable[[Outcome], None]
) -> Iterator[Outcome]:
    """Outcomes of the rows, in order; those that passed before come from the results unless `again`."""
    known = {} if again else {outcome.row: outcome for outcome in read(results) if (outcome.seed, outcome.quick) == (seed, quick)}
    for row in rows:
        outcome = known.get(row.name)
        if outcome is None or not outcome.passed or [v.claim for v in outcome.verdicts] != list(row.claims):
            outcome = measure(row, seed=seed, quick=quick)
            append(results, outcome)
        tell(outcome)
        yield outcome


def append(results: Path, outcome: Outcome) -> None:
    """Add one line to the results."""
    results.parent.mkdir(parents=True, exist_ok=True)
    with results.open("a") as file:
        file.write(json.dumps({**asdict(outcome), "passed": outcome.passed}) + "\n")


def read(results: Path) -> list[Outcome]:
    """All outcomes, oldest first; none if there is no file."""
    if not results.exists():
        return []
    return [_outcome(json.loads(line)) for line in results.read_text().splitlines()]


def _outcome(said: dict[str, Any]) -> Outcome:
    said.pop("passed")
    verdicts = tuple(Verdict(**{**verdict, "claim": Claim(**verdict["claim"])}) for verdict in said.pop("verdicts"))
    return Outcome(**said, verdicts=verdicts)
