"""How is a running learner asked for a checkpoint now? By a file in RUN/control/ for each request, and one for its answer.

    <request>.asked       somebody waits for a checkpoint
    <request>.answered    JSON of `Made`

Reads and writes files; nothing waits. Both kinds appear whole or not at all.
"""

import json
import logging
import uuid
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from sojourn.chosen_cut import ShardCut
from sojourn.durable_files import replace_durably

LOG = logging.getLogger("sojourn.learners")

LOOK_S = 0.2  # how often a learner looks for requests: 20 microseconds each


@dataclass(frozen=True)
class Made:
    """A checkpoint that was asked for. folder: its name.  refused: why there is none, "" where there is one.  cuts: of the tables."""

    folder: str
    learner_step: int
    refused: str = ""
    cuts: tuple[ShardCut, ...] = ()


def ask_for_checkpoint(run_folder: Path) -> str:
    """Ask the run's learner. Returns the request's name."""
    name = uuid.uuid4().hex
    folder = run_folder / "control"
    folder.mkdir(exist_ok=True)
    (folder / f"{name}.asked").touch()
    return name


def take_answer(run_folder: Path, name: str) -> Made | None:
    """The answer to a request, which is gone then; None while there is none."""
    file = run_folder / "control" / f"{name}.answered"
    try:
        said = json.loads(file.read_text())
    except FileNotFoundError:
        return None
    file.unlink()
    return Made(**{**said, "cuts": tuple(ShardCut(**cut) for cut in said["cuts"])})


def withdraw(run_folder: Path, name: str) -> None:
    """Nobody waits for the answer any more."""
    for kind in ("asked", "answered"):
        (run_folder / "control" / f"{name}.{kind}").unlink(missing_ok=True)


class CheckpointRequests:
    """The learner's side."""

    def __init__(self, run_folder: Path) -> None:
        self._folder = run_folder / "control"
        self._look_s = 0.0

    def waiting(self, now_s: float) -> list[str]:
        """Names of the requests that wait; looked up at most every LOOK_S."""
        if now_s < self._look_s:
            return []
        self._look_s = now_s + LOOK_S
        return sorted(file.stem for file in self._folder.glob("*.asked"))

    def answer(self, names: Sequence[str], made: Made) -> None:
        """Answer requests; one that was withdrawn meanwhile gets none, nor does one whose answer a full disk refuses."""
        for name in names:
            try:
                (self._folder / f"{name}.asked").unlink()
                replace_durably(self._folder / f"{name}.answered", json.dumps(asdict(made)))
            except FileNotFoundError:
                continue
            except OSError as error:
                LOG.warning("a request for a checkpoint gets no answer: %s", error)
                withdraw(self._folder.parent, name)
