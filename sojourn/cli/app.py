"""Which commands are there? Names them and joins them into one program."""

from typing import Annotated

import typer

import sojourn
from sojourn.cli.benchmarks import bench
from sojourn.cli.catalogue import show_list
from sojourn.cli.checkpointing import checkpoint_run
from sojourn.cli.configuration import show_config
from sojourn.cli.curves import bench_learning
from sojourn.cli.diagnosing import examine_run
from sojourn.cli.evaluation import evaluate_run
from sojourn.cli.exporting import export_run
from sojourn.cli.learning_again import learn_again
from sojourn.cli.lineage import show_lineage
from sojourn.cli.reporting import report_run
from sojourn.cli.scaling import scale_run
from sojourn.cli.speed import bench_learner, bench_parameters, bench_replay, bench_rollout
from sojourn.cli.training import resume_run, train_run
from sojourn.cli.watching import show_status, show_top

app = typer.Typer(
    help="Asynchronous reinforcement learning for policies whose actions take time.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("train")(train_run)
app.command("status")(show_status)
app.command("top")(show_top)
app.command("doctor")(examine_run)
app.command("scale")(scale_run)
app.command("checkpoint")(checkpoint_run)
app.command("eval")(evaluate_run)
app.command("resume")(resume_run)
app.command("report")(report_run)
app.command("export")(export_run)
app.command("lineage")(show_lineage)
app.command("replay-learner")(learn_again)
bench.command("replay")(bench_replay)
bench.command("rollout")(bench_rollout)
bench.command("parameters")(bench_parameters)
bench.command("learner")(bench_learner)
bench.command("learning")(bench_learning)
app.add_typer(bench, name="bench")
app.command("config")(show_config)
app.command("list")(show_list)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"sojourn {sojourn.__version__}")
        raise typer.Exit


@app.callback()
def program(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and end.")
    ] = False,
) -> None:
    """Asynchronous reinforcement learning for policies whose actions take time."""
