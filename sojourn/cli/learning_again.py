"""`sojourn replay-learner`: do the recorded batches make the published parameters, bit by bit? Trains again, in this process."""

from typing import Annotated

import typer

from sojourn.cli.arguments import RunName
from sojourn.errors import ConfigError
from sojourn.run_folder import find_run, run_config

EXIT_DIFFERENT = 1


def learn_again(
    run: RunName = None,
    first: Annotated[int, typer.Option("--from", min=1, help="The first policy version to compare.")] = 1,
    last: Annotated[int | None, typer.Option("--to", min=1, help="The last one. Default: the newest.")] = None,
) -> None:
    """Train a run's learner again on the archived batches and compare its parameters with the published ones, bit by bit.

    Needs a run with lineage: full. Exit status 1 if any bit differs.
    """
    path = find_run(run)
    config = run_config(path)
    if config.lineage != "full":
        raise ConfigError(
            f"{path} was run with lineage: {config.lineage}, which keeps no rows: only lineage: full can be repeated"
        )

    from learners.rerun import Rerun

    rerun = Rerun(path, config, first, last)
    for difference in rerun.unlike:
        typer.echo(f"warning: {difference}: equal bits cannot be expected", err=True)
    typer.echo(f"{path}  begins with {rerun.begins_with}")
    compared = 0
    for comparison in rerun.comparisons():
        if comparison.difference:
            typer.echo(f"{comparison.what} (learner step {comparison.learner_step}) differs first in {comparison.difference}")
            raise typer.Exit(EXIT_DIFFERENT)
        compared += 1
    typer.echo(f"identical: {compared} versions and checkpoints, learner steps {rerun.start} to {rerun.end}")
