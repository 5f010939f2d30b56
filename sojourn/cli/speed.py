"""`sojourn bench replay` and its like: how fast is this program, and does it reach what it must?"""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sojourn.cli.benchmarks import Page, Results

if TYPE_CHECKING:
    from sojourn.bench.speed.run import Scene

RESULTS = Path("docs/results/speed.jsonl")
PAGE = Path("docs/benchmarks.md")
Rows = Annotated[list[str] | None, typer.Option("--row", metavar="NAME", help="Only this row. May be repeated.")]
Quick = Annotated[
    bool, typer.Option("--quick", help="One short turn at a reduced size, to see that it works; nothing is written.")
]


def bench_replay(row: Rows = None, quick: Quick = False, results: Results = RESULTS, page: Page = PAGE) -> None:
    """Inserts and samples a second through a real replay service, its Redis and its clients. Ten minutes.

    Exit status 1 if a figure falls short of what it must reach.
    """
    from sojourn.bench.speed.replay import SCENES

    _run("replay", SCENES, row, quick, results, page)


def bench_learner(row: Rows = None, quick: Quick = False, results: Results = RESULTS, page: Page = PAGE) -> None:
    """Updates of SAC a second on one thread, in float32 and in bfloat16, and their share of the processor's peak. A minute."""
    from sojourn.bench.speed.learner import SCENES

    _run("learner", SCENES, row, quick, results, page)


def bench_rollout(row: Rows = None, quick: Quick = False, results: Results = RESULTS, page: Page = PAGE) -> None:
    """What a lockstep and an asynchronous actor bring to the replay service, of what their environments can give. Four minutes."""
    from sojourn.bench.speed.rollout import SCENES

    _run("rollout", SCENES, row, quick, results, page)


def bench_parameters(row: Rows = None, quick: Quick = False, results: Results = RESULTS, page: Page = PAGE) -> None:
    """How long after an optimiser's step actors act under what it made, with 1, 16 and 64 of them. Two minutes."""
    from sojourn.bench.speed.parameters import SCENES

    _run("parameters", SCENES, row, quick, results, page)


def _run(
    bench_name: str, scenes: "Sequence[Scene[Any]]", names: list[str] | None, quick: bool, results: Path, page: Path
) -> None:
    from sojourn.bench.speed.figure import append, read
    from sojourn.bench.speed.page import number, write
    from sojourn.bench.speed.run import measure, rows_of

    met = True
    for figure in measure(bench_name, scenes, f"sojourn bench {bench_name}", names=names or (), quick=quick):
        short = "" if figure.met else f"  <- must reach {number(figure.target or 0.0)}"
        typer.echo(f"{figure.name:24} {number(figure.median):>12} {figure.unit}{short}")
        if not quick:
            append(results, figure)
            met = met and figure.met
    if page.exists() and not quick:
        write(page, bench_name, rows_of(scenes), read(results))
    if not met:
        raise typer.Exit(1)
