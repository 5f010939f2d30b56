"""`sojourn report`: write a run's page and plots anew."""

import typer

from sojourn.cli.arguments import RunName
from sojourn.run_folder import find_run


def report_run(run: RunName = None) -> None:
    """Write a run's report.html and plots/. Learning curve, throughput, policy lag, durations; also while it goes on."""
    from sojourn.report import write_report

    typer.echo(write_report(find_run(run)))
