"""`sojourn checkpoint`: ask the learner of a running run for a checkpoint now, and wait until it is on disk."""

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sojourn.cli.arguments import RunName
from sojourn.errors import CheckpointError, ConfigError, DeadlineError
from sojourn.run_folder import find_run, is_driven

if TYPE_CHECKING:
    from sojourn.checkpoint_requests import Made

LOOK_S = 0.05

Within = Annotated[float, typer.Option("--within", metavar="SECONDS", min=0.0, help="How long to wait for it.")]


def checkpoint_run(run: RunName = None, within: Within = 60.0) -> None:
    """Make a checkpoint of a running run now: learner and replay tables at one point. Prints its folder."""
    path = find_run(run)
    if not is_driven(path):
        raise ConfigError(f"{path} is not running: it ended with a checkpoint, from which `sojourn resume {path}` goes on")
    made = _made(path, within)
    if made.refused:
        raise CheckpointError(f"no checkpoint of {path}: {made.refused}")
    typer.echo(path / "checkpoints" / made.folder)
    for cut in made.cuts:
        said = cut.reason or f"{cut.items:,} items up to row {cut.row_number:,}, {cut.env_steps:,} environment steps"
        typer.echo(f"replay shard {cut.shard}: {said}")


def _made(path: Path, within_s: float) -> "Made":
    """Raises DeadlineError if no learner answers in time, or the run ends meanwhile."""
    from sojourn.checkpoint_requests import ask_for_checkpoint, take_answer, withdraw

    request, until_s = ask_for_checkpoint(path), time.monotonic() + within_s
    try:
        while (made := take_answer(path, request)) is None:
            if not is_driven(path):
                raise DeadlineError(f"{path} ended before it was asked: its last checkpoint is in {path / 'checkpoints'}")
            if time.monotonic() > until_s:
                raise DeadlineError(f"the learner of {path} made no checkpoint within {within_s:g} s; see {path / 'logs'}")
            time.sleep(LOOK_S)
    finally:
        withdraw(path, request)
    return made
