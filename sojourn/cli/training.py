"""`sojourn train` and `sojourn resume`: make or open a run's folder, drive the run, say what came of it."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from sojourn.cli.arguments import Overrides, Profile, RunName, Target, configured
from sojourn.cli.display import Display
from sojourn.cli.telling import told
from sojourn.config import Config
from sojourn.errors import ConfigError
from sojourn.monitor import latest_evaluation
from sojourn.readable import number
from sojourn.run_folder import create_run, driving, find_run, note_resume, read_run, run_config

Address = Annotated[str | None, typer.Option("--address", help="A Ray cluster: auto, or HOST:PORT. Default: a Ray of its own.")]
Serial = Annotated[bool, typer.Option("--serial", help="The same parts on threads of this one process, without Ray.")]

HINT = "Ctrl-C stops with a checkpoint, a second one at once"


def train_run(
    target: Target, overrides: Overrides = None, address: Address = None, serial: Serial = False, profile: Profile = None
) -> None:
    """Train a policy. Ctrl-C stops cleanly with a checkpoint, a second Ctrl-C at once."""
    from sojourn.launcher.validation import validate

    if "=" in target:
        raise ConfigError(f"give a configuration file or an environment id before {target}, for example configs/pendulum.yaml")
    config = configured(target, overrides or [], profile)
    _refuse_both(address, serial)
    validate(config)  # an unknown environment leaves no folder behind
    path = create_run(config, _command())
    with driving(path):
        _drive(path, address, serial)


def resume_run(run: RunName = None, overrides: Overrides = None, address: Address = None, serial: Serial = False) -> None:
    """Go on with a run. Learner step, optimiser, replay and random state are as they were."""
    given = list(overrides or [])
    if run and "=" in run:
        given, run = [run, *given], None
    _refuse_both(address, serial)
    path = find_run(run)
    config = run_config(path, given)
    with driving(path):
        note_resume(path, config, _command())
        _drive(path, address, serial)


def _drive(path: Path, address: str | None, serial: bool) -> None:
    """Drive the run in a folder until it is over, write its report, and end with the launcher's exit code."""
    from sojourn import launcher

    config, run_id = run_config(path), read_run(path).run_id
    heading = f"{path}  {config.environment.id}  {config.algorithm.name}"
    with Display(config, heading, HINT) as display, told(display):
        if serial:
            code = launcher.serial(config, path, run_id=run_id, on_progress=display.show)
        else:
            code = launcher.train(config, path, run_id=run_id, address=address, on_progress=display.show)
    if code == 0:
        _conclude(path, config)
    raise typer.Exit(code)


def _conclude(path: Path, config: Config) -> None:
    """Write the report and say what was reached, and where everything lies."""
    from sojourn.report import write_report

    report = write_report(path)
    evaluation, expected = latest_evaluation(path), config.run.expected_return
    if evaluation:
        hoped = "" if expected is None else f", expected {number(expected)}"
        typer.echo(f"return    best evaluation {number(evaluation.return_best)}{hoped}")
    typer.echo(f"run       {path}")
    typer.echo(f"report    {report}")
    typer.echo(f"plots     {path / 'plots'}/")
    videos = path / "videos"
    if films := sorted(videos.glob("*.mp4")):
        typer.echo(f"video     {films[-1]}")
    elif (videos / "none.txt").is_file():
        typer.echo((videos / "none.txt").read_text().rstrip())
    typer.echo(f"go on     sojourn resume {path}")


def _command() -> list[str]:
    return ["sojourn", *sys.argv[1:]]


def _refuse_both(address: str | None, serial: bool) -> None:
    if serial and address:
        raise ConfigError(f"--serial runs in this process alone: leave out --address {address}")
