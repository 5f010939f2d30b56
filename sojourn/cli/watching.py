"""`sojourn status` and `sojourn top`: how does a run fare, seen from outside? Reads its folder and asks its roles; changes nothing."""

import time
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from sojourn.cli.arguments import RunName
from sojourn.cli.display import Display, rows
from sojourn.config import Config
from sojourn.monitor import Monitor, Progress, latest_evaluation, read_progress
from sojourn.monitor.scrape import announcements
from sojourn.run_folder import find_run, is_driven, read_run, run_config

SPAN_S = 1.0


def show_status(run: RunName = None) -> None:
    """Show roles, replay, learner and evaluation."""
    path = find_run(run)
    config, identity = run_config(path), read_run(path)
    record = _now(path, config)
    state = "running" if is_driven(path) else "stopped"
    if record is None:
        typer.echo(f"{path}: {state}, nothing recorded yet")
        return
    typer.echo(f"{path}  {state}  {config.environment.id} {config.algorithm.name}  since {identity.created_at}")
    for name, text in rows(record, config):
        typer.echo(f"{name:<10} {text}")
    for text in _roles(path, record):
        typer.echo(text)


def show_top(
    run: RunName = None,
    seconds: Annotated[
        float | None, typer.Option("--seconds", min=0.1, help="End after so long. Default: with the run or Ctrl-C.")
    ] = None,
) -> None:
    """Follow a run live. Rates, returns, replay, policy lag, durations, restarts."""
    path = find_run(run)
    config = run_config(path)
    if not is_driven(path):
        typer.echo(f"{path} is not running; this is its last record")
        show_status(str(path))
        return
    end_s = time.monotonic() + (seconds or float("inf"))
    with suppress(KeyboardInterrupt), Monitor(path, config.learners.table) as monitor, Display(config, str(path)) as display:
        while True:
            display.show(_with_restarts(monitor.read(), path))
            if not is_driven(path) or time.monotonic() + SPAN_S > end_s:
                return
            time.sleep(SPAN_S)


def _now(path: Path, config: Config) -> Progress | None:
    """As the roles say now, over one second; as it was recorded last if the run has stopped."""
    if not is_driven(path):
        last = next(reversed(read_progress(path)), None)
        return last and replace(last, roles={}, env_steps_per_s=0.0, updates_per_s=0.0, evaluation=latest_evaluation(path))
    with Monitor(path, config.learners.table) as monitor:
        monitor.read()
        time.sleep(SPAN_S)
        return _with_restarts(monitor.read(), path)


def _with_restarts(record: Progress, path: Path) -> Progress:
    """Restarts and the age of the run are known to its launcher alone, who records them."""
    recorded = next(reversed(read_progress(path)), None)
    if recorded is None:
        return record
    elapsed_s = recorded.elapsed_s + max(0.0, record.time_s - recorded.time_s)
    return replace(record, restarts=recorded.restarts, elapsed_s=elapsed_s)


def _roles(path: Path, record: Progress) -> list[str]:
    """One line a role: whether it answers, restarts, process, metrics endpoint."""
    said = {one.name: one for one in announcements(path / "roles")}
    lines = []
    for name, up in record.roles.items():
        one = said.get(name)
        where = f"{one.pid}@{one.host}  {one.metrics}" if one else ""
        lines.append(f"{name:<16} {'up' if up else 'down':<5} restarts {record.restarts.get(name, 0)}  {where}".rstrip())
    return lines
