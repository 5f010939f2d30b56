"""`sojourn bench`: does this program still give the known answers?"""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sojourn.errors import ConfigError

if TYPE_CHECKING:
    from sojourn.bench.duration import Outcome

bench = typer.Typer(help="Measure against known answers.", no_args_is_help=True)


@bench.command("duration")
def bench_duration(
    row: Annotated[list[str] | None, typer.Option("--row", metavar="NAME", help="Only this row, anew. May be repeated.")] = None,
    quick: Annotated[bool, typer.Option("--quick", help="At the reduced size of the tests.")] = False,
    seed: Annotated[int, typer.Option(min=0, help="Equal seeds give equal numbers.")] = 1,
    results: Annotated[Path, typer.Option(metavar="FILE", help="One line a row is appended here.")] = Path(
        "docs/results/duration.jsonl"
    ),
    page: Annotated[Path, typer.Option(metavar="FILE", help="Its table is written anew, if the page is there.")] = Path(
        "docs/duration.md"
    ),
) -> None:
    """Shares and weights under every rule of collection, through the real replay service, beside their exact values.

    Rows that have passed at this seed and size are taken from the results. Exit status 1 if a row fails.
    """
    from sojourn.bench import duration
    from sojourn.bench.page import write
    from sojourn.bench.rows import ROWS

    unknown = [name for name in row or () if name not in ROWS]
    if unknown:
        raise ConfigError(f"unknown row {unknown[0]!r}; there are {', '.join(ROWS)}")
    chosen = [ROWS[name] for name in row or ROWS]
    outcomes = list(duration.run(chosen, seed=seed, quick=quick, results=results, again=bool(row), tell=_tell))
    if page.exists():
        write(page, ROWS, duration.read(results))
    if not all(outcome.passed for outcome in outcomes):
        raise typer.Exit(1)


def _tell(outcome: "Outcome") -> None:
    typer.echo(f"{outcome.row}  {outcome.seconds:.0f} s  {'passed' if outcome.passed else 'FAILED'}")
    for verdict in outcome.verdicts:
        claim = verdict.claim
        exact = "" if claim.exact is None else f"exact {claim.exact:.5g}  "
        wrong = "" if verdict.agrees else "  <- disagrees"
        typer.echo(f"    {claim.name:45} {exact}measured {verdict.mean:.5g} +- {verdict.standard_error:.1g}{wrong}")
