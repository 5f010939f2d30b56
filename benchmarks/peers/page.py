"""How do figures of ours and of others become a section of docs/benchmarks.md? Those of one run stand side by side, with their ratio."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from benchmarks.peers.peers import Peer
from sojourn.bench.between import write_between
from sojourn.bench.speed.figure import US, Figure, latest
from sojourn.bench.speed.page import marks, number, sources

HEADING = "| row | what | ours | beside it | its median | lowest, highest | ours over it |\n|---|---|---|---|---|---|---|\n"


def write(page: Path, peers: Sequence[Peer], figures: Sequence[Figure], left_out: Mapping[str, str]) -> None:
    """Put the latest figures of every row that a peer has into the page. left_out: peers that were not measured, and why."""
    newest = latest(figures)
    lines = [
        line(newest[bench, name, US], theirs, needed(peers, theirs))
        for (bench, name, who), theirs in newest.items()
        if who != US and (bench, name, US) in newest
    ]
    missing = "".join(f"{who} is left out: {reason}\n\n" for who, reason in left_out.items())
    shown = list(newest.values())
    write_between(page, *marks("peers"), HEADING + "".join(lines) + "\n" + missing + sources(shown))


def needed(peers: Sequence[Peer], theirs: Figure) -> float | None:
    """How many times that figure ours must be, if that is said."""
    return next((peer.needed.get(theirs.name) for peer in peers if peer.who == theirs.who), None)


def line(ours: Figure, theirs: Figure, needed: float | None) -> str:
    """One line of the table."""
    ratio = ours.median / theirs.median
    short = f"; **must be {needed:g}**" if needed and ratio < needed else f"; must be {needed:g}" if needed else ""
    cells = [
        f"`{ours.name}`",
        ours.what,
        f"{number(ours.median)} {ours.unit}",
        theirs.who,
        f"{number(theirs.median)} {theirs.unit}",
        f"{number(min(theirs.values))}, {number(max(theirs.values))}",
        f"{number(ratio)}{short}",
    ]
    return f"| {' | '.join(cells)} |\n"
