"""How do courses become docs/learning.md and its pictures? The table stands between two marks; what is around it is written by hand."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from sojourn.bench.between import write_between
from sojourn.bench.curves.course import COMMAND, PEER, SYSTEMS, TASKS, Course
from sojourn.bench.curves.statistics import interquartile_mean
from sojourn.bench.curves.verdict import Standing, standings

BEGIN = f"<!-- table: written by `{COMMAND}` -->"
END = "<!-- end of table -->"
HEADING = (
    f"| environment | env steps | system | seeds | return | 95 % | less {PEER}, 95 % | seconds | sooner | |\n"
    "|---|---|---|---|---|---|---|---|---|---|\n"
)


def write(page: Path, courses: Sequence[Course]) -> None:
    """Put the table on the page, and the curves of every environment that was run beside it in curves/."""
    found = standings(courses)
    sources = dict.fromkeys(f"{course.system}: {course.machine}, {course.version}, {course.date}" for course in courses)
    text = HEADING + "".join(map(line, found)) + "\n" + f"`{COMMAND}`. " + "; ".join(sources) + "\n"
    write_between(page, BEGIN, END, text)
    for environment in dict.fromkeys(standing.environment for standing in found):
        draw([course for course in courses if course.environment == environment], page.parent / "curves" / f"{environment}.png")


def line(standing: Standing) -> str:
    """One line of the table."""
    cells = [
        standing.environment,
        f"{TASKS[standing.environment].env_steps:,}",
        standing.system,
        ", ".join(map(str, standing.seeds)),
        f"{standing.return_mean:,.0f}",
        _range(standing.interval),
        _range(standing.difference) if standing.difference else "",
        f"{standing.seconds:,.0f}",
        f"{standing.sooner:.2f} x" if standing.sooner else "",
        _verdict(standing),
    ]
    return f"| {' | '.join(cells)} |\n"


def _range(ends: tuple[float, float]) -> str:
    return f"{ends[0]:,.0f} to {ends[1]:,.0f}"


def _verdict(standing: Standing) -> str:
    if standing.difference is None:
        return ""
    learned = "return matches" if standing.matches else "**return below**"
    return f"{learned}, {'soon enough' if standing.soon else '**not soon enough**'}"


def draw(courses: Sequence[Course], file: Path) -> None:
    """Interquartile means over seeds, lowest and highest as a band: by environment steps, and by the clock."""
    figure = Figure(figsize=(11, 4), layout="constrained")
    by_steps, by_clock = figure.subplots(1, 2, sharey=True)
    marks = np.array(TASKS[courses[0].environment].marks)
    for number, system in enumerate((*SYSTEMS, PEER)):
        ran = [course for course in courses if course.system == system]
        if not ran:
            continue
        returns = np.array([[course.at(mark).return_mean for course in ran] for mark in marks])
        seconds = np.array([[course.at(mark).elapsed_s for course in ran] for mark in marks])
        for axes, at in ((by_steps, marks), (by_clock, np.median(seconds, axis=1))):
            axes.plot(at, interquartile_mean(returns), color=f"C{number}", label=f"{system} ({len(ran)} seeds)")
            axes.fill_between(at, returns.min(axis=1), returns.max(axis=1), color=f"C{number}", alpha=0.15, linewidth=0)
    by_steps.set(title=courses[0].environment, xlabel="environment steps", ylabel="return, 10 deterministic episodes")
    by_clock.set(xlabel="seconds")
    by_steps.legend()
    file.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(file, dpi=110)
