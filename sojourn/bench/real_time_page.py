"""How do courses in real time become a section of docs/duration.md? Tables, and who is ahead of whom by two standard errors."""

from collections.abc import Mapping, Sequence
from itertools import combinations
from pathlib import Path

import numpy as np

from sojourn.bench.real_time import CASES, LOOKS, RULES, WEIGHTS, RealCourse

BEGIN = "<!-- real time: written by `sojourn bench duration-real-time` -->"
END = "<!-- end of real time -->"
STANDARD_ERRORS = 2.0


def write(page: Path, courses: Sequence[RealCourse]) -> None:
    """Put the section between the page's two marks."""
    before, _, rest = page.read_text().partition(BEGIN)
    _, _, after = rest.partition(END)
    page.write_text(f"{before}{BEGIN}\n\n{section(courses)}\n{END}{after}")


def section(courses: Sequence[RealCourse]) -> str:
    """Table, comparisons, and where it was measured."""
    grouped = {case: {course.seed: course for course in courses if course.case == case} for case in CASES}
    heading = ["rule, weight", "seeds", *(f"return, {look}" for look in LOOKS), *(f"seconds, {look}" for look in LOOKS)]
    lines = [heading, ["---"] * len(heading), *(_line(case, list(found.values())) for case, found in grouped.items() if found)]
    table = "".join(f"| {' | '.join(line)} |\n" for line in lines)
    newest = max(courses, key=lambda course: course.date)
    source = f"`{newest.command}`, {sum(course.seconds for course in courses):.0f} s in all"
    return f"{table}\n{_comparisons(grouped)}\n{source}, {newest.machine}, {newest.version}, {newest.date}\n"


def _line(case: str, courses: Sequence[RealCourse]) -> list[str]:
    returns = [_shown([course.returns[str(look)] for course in courses]) for look in LOOKS]
    seconds = [_shown([course.cycles_s[str(look)] for course in courses]) for look in LOOKS]
    return [case, str(len(courses)), *returns, *seconds]


def _comparisons(grouped: Mapping[str, Mapping[int, RealCourse]]) -> str:
    found = ""
    for rule in RULES:
        for first, second in combinations(WEIGHTS[rule], 2):
            one, other = grouped[f"{rule}, {first}"], grouped[f"{rule}, {second}"]
            gaps = [
                one[seed].returns[str(LOOKS[-1])] - other[seed].returns[str(LOOKS[-1])] for seed in sorted(one.keys() & other)
            ]
            found += compared(f"{rule}, {first}", f"{rule}, {second}", gaps) if len(gaps) > 1 else ""
    return found


def compared(first: str, second: str, gaps: Sequence[float]) -> str:
    """One line: who is ahead at the last look, or that nobody is. gaps: of returns, by seed."""
    mean, error = float(np.mean(gaps)), float(np.std(gaps, ddof=1) / len(gaps) ** 0.5)
    if abs(mean) < STANDARD_ERRORS * error:
        return f"- {first} and {second}: neither is ahead by two standard errors ({mean:+.4f} +- {error:.4f}).\n"
    ahead, behind = (first, second) if mean > 0.0 else (second, first)
    return f"- {ahead} is ahead of {behind} by {abs(mean):.4f} +- {error:.4f}.\n"


def _shown(values: Sequence[float]) -> str:
    error = np.std(values, ddof=1) / len(values) ** 0.5 if len(values) > 1 else 0.0
    return f"{np.mean(values):.3f} +- {error:.3f}"
