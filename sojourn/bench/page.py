"""How do results become the table of docs/duration.md? The theory around it is written by hand; only the table is replaced."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from sojourn.bench.between import write_between
from sojourn.bench.duration import Outcome
from sojourn.bench.row import Row
from sojourn.bench.verdict import Verdict

BEGIN = "<!-- measured: written by `sojourn bench duration` -->"
END = "<!-- end of what was measured -->"
HEADING = "| | theory | a wrong rule | measured | standard error | |\n|---|---|---|---|---|---|\n"


def write(page: Path, rows: Mapping[str, Row], outcomes: Sequence[Outcome]) -> None:
    """Put the table of full-size outcomes, the latest of each row, between the page's two marks."""
    latest = {outcome.row: outcome for outcome in outcomes if not outcome.quick}
    sections = [_section(row, latest[name]) for name, row in rows.items() if name in latest]
    write_between(page, BEGIN, END, "\n".join(sections))


def _section(row: Row, outcome: Outcome) -> str:
    lines = "".join(line(verdict) for verdict in outcome.verdicts)
    source = f"`{outcome.command}`, {outcome.seconds:.0f} s, {outcome.machine}, {outcome.version}, {outcome.date}"
    return f"### {row.name}\n\n{row.definition}\n\n{HEADING}{lines}\n{source}\n"


def line(verdict: Verdict) -> str:
    """One line of the table."""
    claim = verdict.claim
    said = ("agrees" if verdict.agrees else "**DISAGREES**") if claim.exact is not None else ""
    measured = f"{verdict.mean:.5g}" if verdict.standard_error == 0.0 else f"{verdict.mean:.5f}"
    return f"| {claim.name} | {_number(claim.exact)} | {_number(claim.naive)} | {measured} | {_error(verdict)} | {said} |\n"


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.5g}"


def _error(verdict: Verdict) -> str:
    return "0" if verdict.standard_error == 0.0 else f"{verdict.standard_error:.1g}"
