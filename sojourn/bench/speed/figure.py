"""What was measured, of whom, and does it reach what it must? Plain values and their file; no clock, no chance."""

import json
import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from sojourn.bench.measured import Measured

US = "sojourn"
PRIORITISED, APPEND_ONLY, INCLUSION = "prioritised", "append-only Redis", "inclusion"
ALL_ON = (PRIORITISED, APPEND_ONLY, INCLUSION)


@dataclass(frozen=True, kw_only=True)
class Row:
    """One line of docs/benchmarks.md.

    name: for `--row`.  what: is measured, for a reader.  unit: of its values.  target: what it must reach, None: it is only told.
    higher: whether more is better; else the target is the most that it may be.  on: which of `ALL_ON` were on.
    shortfall: why it falls short, said only where it does.
    """

    name: str
    what: str
    unit: str
    target: float | None = None
    higher: bool = True
    on: tuple[str, ...] = ALL_ON
    shortfall: str = ""


@dataclass(frozen=True, kw_only=True)
class Figure(Measured, Row):
    """A row as it was found. bench: replay, rollout, learner or parameters.  who: `US`, or a peer and its version.  values: by turn."""

    bench: str
    who: str = US
    values: tuple[float, ...]

    @property
    def median(self) -> float:
        return statistics.median(self.values)

    @property
    def met(self) -> bool:
        """Whether the median reaches the target; so does what has none."""
        if self.target is None:
            return True
        return self.median >= self.target if self.higher else self.median <= self.target


def append(results: Path, figure: Figure) -> None:
    """Add one line to the results."""
    results.parent.mkdir(parents=True, exist_ok=True)
    with results.open("a") as file:
        file.write(json.dumps({**asdict(figure), "median": figure.median, "met": figure.met}) + "\n")


def read(results: Path) -> list[Figure]:
    """All figures of the file, the oldest first; none if there is no file."""
    if not results.exists():
        return []
    return [_figure(json.loads(line)) for line in results.read_text().splitlines()]


def _figure(fields: dict[str, object]) -> Figure:
    told = {name: tuple(value) if isinstance(value, list) else value for name, value in fields.items()}
    return Figure(**{name: value for name, value in told.items() if name not in ("median", "met")})  # type: ignore[arg-type]


def latest(figures: Sequence[Figure]) -> dict[tuple[str, str, str], Figure]:
    """The newest figure of each bench, row and peer, in the order in which they were first measured."""
    return {(figure.bench, figure.name, figure.who): figure for figure in figures}
