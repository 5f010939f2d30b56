"""`sojourn bench`: does this program still give the known answers?"""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sojourn.cli.arguments import Overrides
from sojourn.errors import ConfigError

if TYPE_CHECKING:
    from sojourn.bench.chaos.run import Trial
    from sojourn.bench.duration import Outcome
    from sojourn.bench.learning import Course
    from sojourn.bench.real_time import RealCourse

bench = typer.Typer(help="Measure against known answers.", no_args_is_help=True)

Results = Annotated[Path, typer.Option(metavar="FILE", help="Each result is appended here, one line.")]
Page = Annotated[Path, typer.Option(metavar="FILE", help="Its section is written anew, if the page is there.")]

LOAD_DEFAULTS = ["actors.replicas=8", "tables.replay.limiter.samples_per_insert=null", "learners.batch_size=256"]
"""Of `sojourn bench load`: nothing paces the actors but the service's acknowledgements."""


@bench.command("duration")
def bench_duration(
    row: Annotated[list[str] | None, typer.Option("--row", metavar="NAME", help="Only this row, anew. May be repeated.")] = None,
    quick: Annotated[bool, typer.Option("--quick", help="At the reduced size of the tests.")] = False,
    seed: Annotated[int, typer.Option(min=0, help="Equal seeds give equal numbers.")] = 1,
    results: Results = Path("docs/results/duration.jsonl"),
    page: Page = Path("docs/duration.md"),
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


@bench.command("duration-price")
def bench_duration_price(
    results: Results = Path("docs/results/duration-price.jsonl"),
    page: Page = Path("docs/duration.md"),
) -> None:
    """What each weight adds to the processor time of a prioritised sample, of the service and the learner together.

    Exit status 1 if one adds more than 5 %.
    """
    from sojourn.bench.price import append, prices, write

    found = []
    for price in prices():
        found.append(price)
        append(results, price)
        typer.echo(f"{price.rule:15} {price.median:.3f} of the time without{'' if price.fair else '  <- above 1.05'}")
    if page.exists():
        write(page, found)
    if not all(price.fair for price in found):
        raise typer.Exit(1)


def _tell(outcome: "Outcome") -> None:
    typer.echo(f"{outcome.row}  {outcome.seconds:.0f} s  {'passed' if outcome.passed else 'FAILED'}")
    for verdict in outcome.verdicts:
        claim = verdict.claim
        exact = "" if claim.exact is None else f"exact {claim.exact:.5g}  "
        wrong = "" if verdict.agrees else "  <- disagrees"
        typer.echo(f"    {claim.name:45} {exact}measured {verdict.mean:.5g} +- {verdict.standard_error:.1g}{wrong}")


@bench.command("duration-learning")
def bench_duration_learning(
    case: Annotated[
        list[str] | None, typer.Option("--case", metavar="NAME", help='Only this one, anew: "queue, none". May be repeated.')
    ] = None,
    seeds: Annotated[int, typer.Option(min=1, help="Seeds 1 to so many of each case.")] = 6,
    results: Results = Path("docs/results/duration-learning.jsonl"),
    page: Page = Path("docs/duration.md"),
) -> None:
    """What is learned under each rule of collection and each weight, through the real replay service on a simulated clock.

    Cases and seeds that are in the results are not run again. Exit status 1 if a statement about them does not hold.
    """
    from sojourn.bench.learning import CASES, read, run
    from sojourn.bench.learning_page import by_case, judge, write

    unknown = [name for name in case or () if name not in CASES]
    if unknown:
        raise ConfigError(f"unknown case {unknown[0]!r}; there are {'; '.join(CASES)}")
    chosen = [CASES[name] for name in case or CASES]
    courses = run(chosen, range(1, seeds + 1), results=results, again=bool(case), tell=_tell_course)
    if page.exists():
        write(page, read(results))
    statements = judge(by_case(courses))
    for statement in statements:
        typer.echo(f"{'holds' if statement.holds else 'DOES NOT HOLD'}: {statement.said}: {statement.shown}")
    if not all(statement.holds for statement in statements):
        raise typer.Exit(1)


@bench.command("duration-real-time")
def bench_duration_real_time(
    seeds: Annotated[int, typer.Option(min=1, help="Seeds 1 to so many of each case.")] = 6,
    results: Results = Path("docs/results/duration-real-time.jsonl"),
    page: Page = Path("docs/duration.md"),
) -> None:
    """The same in real time: whole runs of V-trace on arms and a HalfCheetah that sleep, with the actors, services and learners of any run.

    Cases and seeds that are in the results are not run again. Half a minute to a minute and a half each.
    """
    from sojourn.bench.real_time import CASES, read, run
    from sojourn.bench.real_time_page import write

    run(CASES, range(1, seeds + 1), results=results, tell=_tell_real_course)
    if page.exists():
        write(page, read(results))


def _tell_real_course(course: "RealCourse") -> None:
    looks = ", ".join(f"{reward:.3f} at {updates} updates" for updates, reward in course.returns.items())
    typer.echo(f"{course.case}  seed {course.seed}  {course.seconds:.0f} s  return {looks}")


def _tell_course(course: "Course") -> None:
    looks = ", ".join(f"{chance:.3f} at {mark} s" for mark, chance in course.by_clock.items())
    typer.echo(f"{course.case}  seed {course.seed}  {course.seconds:.0f} s  P(better arm) {looks}")


@bench.command("load")
def bench_load(
    overrides: Overrides = None,
    seconds: Annotated[float, typer.Option(min=1.0, max=86_400.0, help="How long actors insert.")] = 10.0,
    minutes: Annotated[
        float | None, typer.Option(min=0.1, max=1_440.0, help="The same in minutes: a soak, at half load.")
    ] = None,
    share: Annotated[float | None, typer.Option(min=0.01, max=1.0, help="Of the rate that is reached at full speed.")] = None,
    observation: Annotated[int, typer.Option(min=1, max=1_000_000, help="Elements of an observation, float32.")] = 17,
    action: Annotated[int, typer.Option(min=1, max=10_000, help="Elements of an action, float32.")] = 6,
    duration_s: Annotated[float, typer.Option(min=0.0, max=3_600.0, help="Mean duration of a step; 0: no pause.")] = 0.0,
    law: Annotated[str, typer.Option(help="Of durations: constant, exponential or pareto.")] = "constant",
    failures_per_s: Annotated[float, typer.Option(min=0.0, max=100.0, help="Crashes of each actor.")] = 0.0,
    storm_every_s: Annotated[float, typer.Option(min=0.0, help="All connections break so often; 0: never.")] = 0.0,
    seed: Annotated[int, typer.Option(min=0)] = 1,
) -> None:
    """Simulated actors on real replay services: rate, acknowledgements, memory, and a ledger of what was lost or doubled.

    actors.replicas, actors.environments, actors.segment_steps, replay.shards, replay.durability, tables.replay.capacity_steps and every
    other key of the configuration are given as KEY=VALUE. Exit status 1 if a step was lost or doubled.
    """
    from sojourn.bench.load.actors import Behaviour
    from sojourn.bench.load.run import Load, run_load
    from sojourn.bench.load.steps import Payload, law_of
    from sojourn.config.load import load_config

    config = load_config(None, [*LOAD_DEFAULTS, *(overrides or [])])
    behaviour = Behaviour(Payload(observation, action), law_of(law), duration_s, failures_per_s, seed)
    length_s = seconds if minutes is None else 60.0 * minutes
    wanted = share if share is not None else 1.0 if minutes is None else 0.5
    report = run_load(config, Load(behaviour, length_s, wanted, storm_every_s), typer.echo)
    for line in report.lines():
        typer.echo(line)
    if not report.clean:
        raise typer.Exit(1)


@bench.command("chaos")
def bench_chaos(
    row: Annotated[list[str] | None, typer.Option("--row", metavar="NAME", help="Only this row. May be repeated.")] = None,
    quick: Annotated[bool, typer.Option("--quick", help="Five trials of the two rows that kill a shard, anew.")] = False,
    trials: Annotated[int | None, typer.Option(min=1, max=1_000, help="At most so many of each row, in this sitting.")] = None,
    minutes: Annotated[float, typer.Option(min=0.1, help="No trial begins after so long.")] = 24 * 60.0,
    results: Results = Path("docs/results/chaos.jsonl"),
    page: Page = Path("docs/chaos.md"),
) -> None:
    """Faults under load on real services: what was lost or doubled, and how long until inserts and samples went on.

    Trials that are in the results are not made again. Exit status 1 if a trial of this sitting did not hold, or was late.
    """
    import os
    import time

    from sojourn.bench.chaos.page import is_late, write
    from sojourn.bench.chaos.rows import QUICK, ROWS
    from sojourn.bench.chaos.run import Chaos, read

    unknown = [name for name in row or () if name not in ROWS]
    if unknown:
        raise ConfigError(f"unknown row {unknown[0]!r}; there are {', '.join(ROWS)}")
    held = True
    with Chaos(results, quick=quick, until_s=time.monotonic() + 60.0 * minutes) as chaos:
        for name in row or (QUICK if quick else ROWS):
            if ROWS[name].needs_root and os.geteuid() != 0:
                typer.echo(f"{name}: left out, it needs root")
                continue
            for trial in chaos.trials(ROWS[name], trials):
                typer.echo(told_trial(trial))
                held = held and trial.held and not is_late(ROWS[name], trial)
    if page.exists() and not quick:
        write(page, ROWS, read(results))
    if not held:
        raise typer.Exit(1)


def told_trial(trial: "Trial") -> str:
    """One line of a trial, for a person."""
    found = trial.found
    times = ", ".join(
        f"first {what} {'never' if at_s is None else f'{at_s:.2f} s'}"
        for what, at_s in (("insert", found.first_insert_s), ("sample", found.first_sample_s))
    )
    verdict = "held" if trial.held else f"DID NOT HOLD: {found.broken}"
    return f"{trial.row} {trial.number}: {found.lost} lost, {found.doubled} doubled, {times}. {found.said} {verdict}"


@bench.command("fuzz")
def bench_fuzz(
    seconds: Annotated[float, typer.Option(min=1.0, max=86_400.0, help="How long messages are sent.")] = 600.0,
    seed: Annotated[int, typer.Option(min=0, help="Equal seeds send equal messages.")] = 1,
) -> None:
    """Random and mutated messages on every call of the replay service, while an actor and a learner use it.

    Exit status 1 if the service ended, logged an error that is not one of Sojourn's, or harmed the other two.
    """
    from sojourn.bench.fuzz.run import fuzz

    report = fuzz(seconds, seed)
    for line in report.lines():
        typer.echo(line)
    if report.complaints:
        raise typer.Exit(1)
