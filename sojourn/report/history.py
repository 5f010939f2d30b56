"""What did a run record, as columns ready to be drawn? Reads files of the run's folder."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from sojourn.config import Config
from sojourn.monitor import DurationRecord, Progress, read_durations, read_evaluations, read_progress
from sojourn.monitor.sums import Buckets, added
from sojourn.run_folder import RunIdentity, read_run, run_config

MOST_POINTS = 1_000
"""More points than a figure has pixels across only make the page large."""

Points = tuple[list[float], list[float]]


@dataclass(frozen=True)
class History:
    """A run as it was recorded.

    evaluations: lines of evaluations.jsonl, oldest first.  active_s: seconds that the run had been going at each record, pauses
    between launches left out.
    durations: records of duration.jsonl, oldest first.
    """

    path: Path
    identity: RunIdentity
    config: Config
    records: Sequence[Progress]
    active_s: Sequence[float]
    evaluations: Sequence[dict[str, Any]]
    durations: Sequence[DurationRecord] = ()

    @property
    def last(self) -> Progress | None:
        return self.records[-1] if self.records else None

    def counts(self, histogram: Callable[[Progress], Mapping[str, float]]) -> Buckets:
        """A histogram over all launches of the run."""
        ends = [one for one, after in pairwise(self.records) if after.elapsed_s < one.elapsed_s]
        return added({float(bound): count for bound, count in histogram(one).items()} for one in [*ends, *self.records[-1:]])

    def over_env_steps(self, value: Callable[[Progress], float | None]) -> Points:
        """A quantity over environment steps, where it is known."""
        return _thinned([(float(record.env_steps), one) for record in self.records if (one := value(record)) is not None])

    def over_minutes(self, value: Callable[[Progress], float | None]) -> Points:
        """A quantity over minutes of activity, where it is known."""
        pairs = zip(self.active_s, self.records, strict=True)
        return _thinned([(at_s / 60, one) for at_s, record in pairs if (one := value(record)) is not None])


def read_history(path: Path) -> History:
    """Everything that a run recorded. Raises ConfigError if the folder is no run."""
    records = read_progress(path)
    identity, config = read_run(path), run_config(path)
    return History(path, identity, config, records, active_seconds(records), read_evaluations(path), read_durations(path))


def active_seconds(records: Sequence[Progress | DurationRecord]) -> list[float]:
    """elapsed_s begins anew with each launch; here the launches follow each other."""
    active, before_s, last_s = [], 0.0, 0.0
    for record in records:
        if record.elapsed_s < last_s:
            before_s += last_s
        last_s = record.elapsed_s
        active.append(before_s + last_s)
    return active


def shares(counts: Buckets) -> list[tuple[str, float]]:
    """Cumulative counts by upper bound -> share of each bucket by its label, empty ends left out."""
    bounds = list(counts)
    everything = max(counts.values(), default=0.0)
    if everything <= 0:
        return []
    parts, below = [], 0.0
    for index, bound in enumerate(bounds):
        label = f"over {bounds[index - 1]:g}" if math.isinf(bound) and index else f"to {bound:g}"
        parts.append((label, (counts[bound] - below) / everything))
        below = counts[bound]
    filled = [index for index, (_, part) in enumerate(parts) if part > 0]
    return parts[filled[0] : filled[-1] + 1]


def _thinned(points: list[tuple[float, float]]) -> Points:
    every = -(-len(points) // MOST_POINTS) or 1
    kept = [*points[::every], *(points[-1:] if (len(points) - 1) % every else [])]
    return [x for x, _ in kept], [y for _, y in kept]
