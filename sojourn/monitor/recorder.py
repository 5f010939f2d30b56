"""How are records kept? progress.jsonl for programs, TensorBoard events for eyes. Appends to files; no torch.

A run of a day would fill both with 86,400 lines that no curve can show, so records are as far apart as a thousandth of the run's
age, at least a second: 1,000 in the first quarter of an hour, about 5,500 in a day. A new evaluation is always kept.
Records of durations hold sums, of which the latest says everything: they are as far apart as a fiftieth of the age, at least five seconds.
"""

import io
import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from types import TracebackType
from typing import Any, TextIO, TypeVar

from tensorboard.summary import Writer

from sojourn.monitor.durations import DurationRecord
from sojourn.monitor.progress import Evaluation, Progress

SPACING = 0.001
DURATION_SPACING, DURATION_SPACING_S = 0.02, 5.0
Record = TypeVar("Record")
PROGRESS, DURATIONS = "progress.jsonl", "duration.jsonl"


class Recorder:
    """Writes what is worth keeping of the records it is shown. Use as a context."""

    def __init__(self, run_folder: Path) -> None:
        self._file = _whole_lines(run_folder / PROGRESS)
        self._durations = _whole_lines(run_folder / DURATIONS)
        self._durations_due_s = DURATION_SPACING_S
        self._events = Writer(str(run_folder / "tb"))
        self._last: Progress | None = None

    def keep(self, record: Progress, *, always: bool = False) -> bool:
        """Write the record if it is far enough from the last one. Says whether it did."""
        if not (always or self._worth(record)):
            return False
        self._file.write(json.dumps(_rounded(asdict(record))) + "\n")
        self._file.flush()
        for tag, value in scalars(record):
            self._events.add_scalar(tag, value, step=record.env_steps, wall_time=record.time_s)
        self._last = record
        return True

    def _worth(self, record: Progress) -> bool:
        if self._last is None or record.evaluation != self._last.evaluation:
            return True
        return record.elapsed_s - self._last.elapsed_s >= SPACING * record.elapsed_s

    def wants_durations(self, record: Progress) -> bool:
        """Whether it is time for the next record of durations."""
        return record.elapsed_s >= self._durations_due_s

    def keep_durations(self, record: DurationRecord) -> None:
        """Write it."""
        self._durations.write(json.dumps(_rounded(asdict(record))) + "\n")
        self._durations.flush()
        self._durations_due_s = record.elapsed_s + max(DURATION_SPACING_S, DURATION_SPACING * record.elapsed_s)

    def close(self) -> None:
        with ExitStack() as closing:  # each is closed, also when another has no room for what it still holds
            for file in (self._file, self._durations, self._events):
                closing.callback(file.close)

    def __enter__(self) -> "Recorder":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()


def read_progress(run_folder: Path) -> list[Progress]:
    """Everything recorded, oldest first. A last line that a crash left half-written is left out."""
    return [record for line in _lines(run_folder / PROGRESS) if (record := _parsed(line, Progress.from_json))]


def read_durations(run_folder: Path) -> list[DurationRecord]:
    """Every record of durations, oldest first, cut ones left out."""
    return [record for line in _lines(run_folder / DURATIONS) if (record := _parsed(line, DurationRecord.from_json))]


def read_evaluations(run_folder: Path) -> list[dict[str, Any]]:
    """Lines of evaluations.jsonl, which the evaluator writes, oldest first; one that a crash cut short is left out."""
    file = run_folder / "evaluations.jsonl"
    lines = file.read_text(encoding="utf-8").split("\n")[:-1] if file.exists() else []
    return [json.loads(line) for line in lines if line]


def latest_evaluation(run_folder: Path) -> Evaluation | None:
    """The run's last evaluation. A run that is ending makes one that no scrape sees any more."""
    made = read_evaluations(run_folder)
    if not made:
        return None
    named = {name: made[-1][name] for name in ("policy_version", "env_steps", "return_mean", "return_std")}
    return Evaluation(count=len(made), return_best=max(one["return_mean"] for one in made), **named)


def scalars(record: Progress) -> Iterator[tuple[str, float]]:
    """What TensorBoard shows, by tag; the horizontal axis is environment steps."""
    named: dict[str, float | None] = {
        "return/training": record.training_return,
        "return/episode_length": record.episode_length,
        "throughput/env_steps_per_s": record.env_steps_per_s,
        "throughput/updates_per_s": record.updates_per_s,
        "throughput/sample_wait_share": record.sample_wait_share,
        "throughput/learner_step": record.learner_step,
        "replay/items": record.replay_items,
        "replay/oldest_s": record.replay_oldest_s,
        "replay/age_s": record.replay_age_s,
        "policy/lag_versions": record.policy_lag,
        "policy/version": record.policy_version,
        "duration/p50_s": record.duration_p50_s,
        "duration/p99_s": record.duration_p99_s,
        "roles/up": sum(record.roles.values()),
        "roles/restarts": sum(record.restarts.values()),
    }
    if record.evaluation:
        named["return/evaluation"] = record.evaluation.return_mean
        named["return/evaluation_std"] = record.evaluation.return_std
    named.update({f"learner/{name}": value for name, value in record.learner.items()})
    yield from ((tag, value) for tag, value in named.items() if value is not None)


def _whole_lines(path: Path) -> TextIO:
    """The file opened for appending, without a last line that a crash cut short: the next record would become part of it."""
    file = open(path, "ab+")  # noqa: SIM115  the caller closes it
    file.seek(0)
    file.truncate(file.read().rfind(b"\n") + 1)
    return io.TextIOWrapper(file, encoding="utf-8")


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        return []


def _parsed(line: str, make: Callable[[dict[str, Any]], Record]) -> Record | None:
    try:
        return make(json.loads(line))
    except (ValueError, TypeError):
        return None


def _rounded(value: Any) -> Any:
    """Six digits are more than any curve shows; Unix times keep their milliseconds."""
    if isinstance(value, float):
        return round(value, 3) if abs(value) >= 1e5 else float(f"{value:.6g}")
    if isinstance(value, dict):
        return {key: _rounded(inner) for key, inner in value.items()}
    return value
