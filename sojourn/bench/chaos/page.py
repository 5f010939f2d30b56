"""How do trials become docs/chaos.md? Everything outside the page's two marks is written by hand."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median

from sojourn.bench.between import write_between
from sojourn.bench.chaos.rows import Row
from sojourn.bench.chaos.run import Trial

BEGIN = "<!-- measured: written by `sojourn bench chaos` -->"
END = "<!-- end of what was measured -->"
HEADING = (
    "| fault | must hold | trials | lost | doubled | first insert, s (median, max) | first sample, s (median, max) | what the user sees | |\n"
    "|---|---|---|---|---|---|---|---|---|\n"
)


def write(page: Path, rows: Mapping[str, Row], trials: Sequence[Trial]) -> None:
    """Put the table of full-size trials between the page's two marks."""
    full = [trial for trial in trials if not trial.quick]
    lines = [line(row, mine) for name, row in rows.items() if (mine := [trial for trial in full if trial.row == name])]
    write_between(page, BEGIN, END, f"{HEADING}{''.join(lines)}\n{_sources(full)}")


def line(row: Row, trials: Sequence[Trial]) -> str:
    """One line of the table. The latest trial says what the user sees, beside what the row says."""
    found = [trial.found for trial in trials]
    left_out = (
        f" ({sum(one.left_out for one in found):,} damaged steps named and left out)"
        if any(one.left_out for one in found)
        else ""
    )
    cells = [
        row.fault,
        row.must_hold,
        str(len(trials)),
        f"{sum(one.lost for one in found)}{left_out}",
        str(sum(one.doubled for one in found)),
        _times([one.first_insert_s for one in found]),
        _times([one.first_sample_s for one in found]),
        "; ".join(part.replace("|", "/") for part in (row.seen, found[-1].said) if part),
        _verdict(row, trials),
    ]
    return f"| {' | '.join(cells)} |\n"


def _verdict(row: Row, trials: Sequence[Trial]) -> str:
    """Whether the promises held, that of a time included."""
    missed = sum(not trial.held for trial in trials)
    late = sum(is_late(row, trial) for trial in trials)
    said = [
        f"**{count} of {len(trials)} {what}**"
        for count, what in ((missed, "did not hold"), (late, f"took longer than {row.sampled_within_s:g} s"))
        if count
    ]
    return "; ".join(said) or "held"


def is_late(row: Row, trial: Trial) -> bool:
    """Whether samples went on later than the row promises."""
    return trial.found.first_sample_s is not None and trial.found.first_sample_s > row.sampled_within_s


def _times(seconds: Sequence[float | None]) -> str:
    known = [one for one in seconds if one is not None]
    never = f", {len(seconds) - len(known)} never" if len(known) < len(seconds) else ""
    return (f"{median(known):.2f}, {max(known):.2f}" if known else "none") + never


def _sources(trials: Sequence[Trial]) -> str:
    """Where, when and with what the trials were made."""
    dates = sorted({trial.date for trial in trials})
    machines = ", ".join(sorted({trial.machine for trial in trials}))
    versions = sorted({trial.version for trial in trials})
    told = versions[0] if len(versions) == 1 else f"{versions[0]} to {versions[-1]}"
    return f"`sojourn bench chaos`, {machines}, {told}, {dates[0]} to {dates[-1]}.\n" if trials else ""
