"""`sojourn status` and `sojourn top`: how does a run fare, seen from outside? Reads its folder and asks its roles; changes nothing."""

import time
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from sojourn.cli.arguments import RunName
from sojourn.cli.display import Display, panel
from sojourn.config import Config
from sojourn.monitor import Monitor, Progress, read_progress
from sojourn.monitor.scrape import announcements
from sojourn.run_folder import find_run, is_driven, read_run, run_config

SPAN_S = 1.0


def show_status(run: RunName = None) -> None:
    """Show roles, replay, learner and evaluation."""
    path = find_run(run)
    config, identity = run_config(path), read_run(path)
    record = _now(path, config)
    console = Console(soft_wrap=True)
    state = "running" if is_driven(path) else "stopped"
    if record is None:
        console.print(f"{path}: {state}, nothing recorded yet", markup=False, highlight=False)
        return
    console.print(
        panel(record, config, f"{path}  {state}  {config.environment.id} {config.algorithm.name}  since {identity.created_at}")
    )
    if record.roles:
        console.print(_roles(path, record))


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
    with Monitor(path, config.learners.table) as monitor, Display(config, str(path)) as display:
        while True:
            display.show(_with_restarts(monitor.read(), path))
            if not is_driven(path) or time.monotonic() + SPAN_S > end_s:
                return
            time.sleep(SPAN_S)


def _now(path: Path, config: Config) -> Progress | None:
    """As the roles say now, over one second; as it was recorded last if the run has stopped."""
    if not is_driven(path):
        return next(reversed(read_progress(path)), None)
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


def _roles(path: Path, record: Progress) -> Table:
    said = {one.name: one for one in announcements(path / "roles")}
    table = Table(box=None, padding=(0, 2, 0, 0))
    for name in ("role", "state", "restarts", "process", "metrics"):
        table.add_column(name)
    for name, up in record.roles.items():
        one = said.get(name)
        process = f"{one.pid}@{one.host}" if one else "-"
        table.add_row(name, "up" if up else "down", str(record.restarts.get(name, 0)), process, (one and one.metrics) or "-")
    return table
