"""`sojourn doctor`: do durations bias what a run learns, and what would mend it? Reads the run's folder, of a live or an ended run."""

from pathlib import Path

import typer

from sojourn.cli.arguments import RunName
from sojourn.config import Config
from sojourn.diagnosis import diagnose, told
from sojourn.diagnosis.doctor import Verdict
from sojourn.errors import ConfigError
from sojourn.monitor import DurationRecord, Monitor, read_durations
from sojourn.readable import seconds
from sojourn.run_folder import find_run, is_driven, run_config

EXIT_BIASED = 1


def examine_run(run: RunName = None) -> None:
    """Say in words whether durations bias what a run learns, how large the bias is and which setting to change.

    Exit status 1 if there is a bias that weights do not repair.
    """
    path = find_run(run)
    config = run_config(path)
    record = latest(path, config)
    diagnosis = diagnose(record, config)
    state = "running" if is_driven(path) else "stopped"
    typer.echo(f"{path}  {state}  {config.environment.id} {config.algorithm.name}  after {seconds(record.elapsed_s)}")
    for line in told(diagnosis):
        typer.echo(line)
    if diagnosis.verdict is Verdict.BIASED:
        raise typer.Exit(EXIT_BIASED)


def latest(path: Path, config: Config) -> DurationRecord:
    """The newest record; where none is kept (the first seconds, or roles without a launcher), what the roles say now.

    Raises ConfigError if nobody says anything.
    """
    records = read_durations(path)
    if records:
        return records[-1]
    with Monitor(path, config.learners.table) as monitor:
        record = monitor.durations(monitor.read())
    if record.buckets["expected"]:
        return record
    wait = "wait some seconds" if is_driven(path) else "it was stopped within its first seconds, or made by an older version"
    raise ConfigError(f"{path} has recorded nothing of durations yet: {wait}")
