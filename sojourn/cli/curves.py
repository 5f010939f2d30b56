"""`sojourn bench learning`: how fast is learning, beside Stable-Baselines3?"""

from pathlib import Path
from typing import Annotated

import typer

from sojourn.cli.benchmarks import Page, Results
from sojourn.errors import ConfigError

Names = Annotated[list[str] | None, typer.Option(metavar="NAME", help="Only this one. May be repeated.")]


def bench_learning(
    system: Names = None,
    environment: Names = None,
    seeds: Annotated[int, typer.Option(min=1, help="Seeds 1 to so many of each.")] = 3,
    results: Results = Path("docs/results/learning.jsonl"),
    page: Page = Path("docs/learning.md"),
) -> None:
    """Whole runs of SAC and their returns by steps and by the clock, beside Stable-Baselines3 on the same machine. Hours.

    Systems, environments and seeds that are in the results are not run again. Exit status 1 if a promise is not kept.
    """
    from sojourn.bench.curves.course import PEER, SYSTEMS, TASKS, read
    from sojourn.bench.curves.page import write
    from sojourn.bench.curves.run import run
    from sojourn.bench.curves.verdict import standings

    for chosen, there in ((system, (*SYSTEMS, PEER)), (environment, tuple(TASKS))):
        unknown = [name for name in chosen or () if name not in there]
        if unknown:
            raise ConfigError(f"unknown name {unknown[0]!r}; there are {'; '.join(there)}")
    for course in run(system or (*SYSTEMS, PEER), environment or tuple(TASKS), range(1, seeds + 1), results):
        last = course.looks[-1]
        typer.echo(
            f"{course.environment}  {course.system}  seed {course.seed}  return {last.return_mean:.0f} at {last.env_steps:,} steps, {last.elapsed_s:.0f} s"
        )
        if page.exists():
            write(page, read(results))
    kept = True
    for standing in standings(read(results)):
        typer.echo(
            f"{standing.environment}  {standing.system}  return {standing.return_mean:.0f}  {standing.seconds:.0f} s"
            + ("" if standing.matches else "  <- return below")
            + ("" if standing.soon else "  <- not soon enough")
        )
        kept = kept and standing.matches and standing.soon
    if not kept:
        raise typer.Exit(1)
