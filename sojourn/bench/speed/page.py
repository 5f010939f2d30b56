"""How do figures become docs/benchmarks.md? Each bench has a section between two marks; what is around them is written by hand."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from sojourn.bench.between import write_between
from sojourn.bench.speed.figure import US, Figure, Row, latest

HEADING = "| row | what | on | median of five | lowest, highest | must reach | |\n|---|---|---|---|---|---|---|\n"


def marks(section: str) -> tuple[str, str]:
    """What a section of the page stands between."""
    return f"<!-- {section}: written by a command -->", f"<!-- end of {section} -->"


def write(page: Path, bench: str, rows: Mapping[str, Row], figures: Sequence[Figure]) -> None:
    """Put our latest figures of a bench into its section, in the order of its rows."""
    ours = latest([figure for figure in figures if figure.who == US and figure.bench == bench])
    shown = [ours[bench, name, US] for name in rows if (bench, name, US) in ours]
    if shown:
        write_between(page, *marks(bench), HEADING + "".join(map(line, shown)) + "\n" + sources(shown))


def line(figure: Figure) -> str:
    """One line of the table."""
    lowest, highest = (number(value) for value in (min(figure.values), max(figure.values)))
    cells = [
        f"`{figure.name}`",
        figure.what,
        ", ".join(figure.on) or "none",
        f"{number(figure.median)} {figure.unit}",
        f"{lowest}, {highest}",
        _target(figure),
        _verdict(figure),
    ]
    return f"| {' | '.join(cells)} |\n"


def number(value: float) -> str:
    """Three digits or more, as a person reads it."""
    return f"{value:,.0f}" if abs(value) >= 100.0 else f"{value:.3g}"


def _target(figure: Figure) -> str:
    if figure.target is None:
        return ""
    return f"{'' if figure.higher else 'at most '}{number(figure.target)}"


def _verdict(figure: Figure) -> str:
    if figure.target is None:
        return ""
    return "met" if figure.met else "**falls short**" + (f": {figure.shortfall}" if figure.shortfall else "")


def sources(figures: Sequence[Figure]) -> str:
    """Where, when and with what the figures were made: one line for each that differs."""
    told = {f"`{one.command}`, {one.machine}, {one.version}, {one.date}": None for one in figures}
    return "".join(f"{line}\n\n" for line in told)
