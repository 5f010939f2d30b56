"""How do courses in real time become a section of docs/duration.md? Tables, and who is ahead of whom by two standard errors."""

from collections.abc import Mapping, Sequence
from itertools import combinations
from pathlib import Path

import numpy as np

from sojourn.bench.between import write_between
from sojourn.bench.real_scenes import SCENES
from sojourn.bench.real_time import CASES, RealCourse

BEGIN = "<!-- real time: written by `sojourn bench duration-real-time` -->"
END = "<!-- end of real time -->"
STANDARD_ERRORS = 2.0
LEAST_SEEDS = 4  # of a comparison: a standard error of fewer says little
BySeed = Mapping[int, RealCourse]


def write(page: Path, courses: Sequence[RealCourse]) -> None:
    """Put the section between the page's two marks."""
    write_between(page, BEGIN, END, section(courses))


def section(courses: Sequence[RealCourse]) -> str:
    """Of each environment a table and comparisons; then where the newest was measured. courses: oldest first, at least one."""
    grouped = {case: {course.seed: course for course in courses if course.case == case} for case in CASES}
    scenes = "".join(_scene(name, {case: grouped[case] for case in CASES if CASES[case][0] == name}) for name in SCENES)
    newest = courses[-1]
    source = f"`{newest.command}`, {sum(course.seconds for course in courses):.0f} s in all"
    return f"{scenes}{source}, {newest.machine}, {newest.version}, {newest.date}\n"


def _scene(name: str, grouped: Mapping[str, BySeed]) -> str:
    """Nothing if there is no course in it."""
    if not any(grouped.values()):
        return ""
    looks = SCENES[name].looks
    heading = [f"{name}: rule, weight", "seeds", *(f"return, {look}" for look in looks), *(f"seconds, {look}" for look in looks)]
    lines = [
        heading,
        ["---"] * len(heading),
        *(_line(case, list(found.values()), looks) for case, found in grouped.items() if found),
    ]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines) + f"\n{_comparisons(grouped, str(looks[-1]))}\n"


def _line(case: str, courses: Sequence[RealCourse], looks: Sequence[int]) -> list[str]:
    scene, rule, weight = CASES[case]
    digits = 3 if scene != "HalfCheetah" else 2
    returns = [_shown([course.returns[str(look)] for course in courses], digits) for look in looks]
    seconds = [_shown([course.cycles_s[str(look)] for course in courses], 3) for look in looks]
    return [f"{rule}, {weight}", str(len(courses)), *returns, *seconds]


def _comparisons(grouped: Mapping[str, BySeed], last: str) -> str:
    """Two lines each on two weights of one rule: returns and mean actions at the last look, seed by seed."""
    found = ""
    for first, second in combinations(grouped, 2):
        seeds = sorted(grouped[first].keys() & grouped[second].keys())
        if CASES[first][1] == CASES[second][1] and len(seeds) >= LEAST_SEEDS:
            pairs = [(grouped[first][seed], grouped[second][seed]) for seed in seeds]
            found += compared(first, second, [one.returns[last] - other.returns[last] for one, other in pairs])
            longer = [one.cycles_s[last] - other.cycles_s[last] for one, other in pairs]
            found += compared(first, second, longer, "acts longer than", "neither acts longer")
    return found


def compared(first: str, second: str, gaps: Sequence[float], more: str = "is ahead of", even: str = "neither is ahead") -> str:
    """One line: which has more of it at the last look, or that none has. gaps: by seed."""
    mean, error = float(np.mean(gaps)), float(np.std(gaps, ddof=1) / len(gaps) ** 0.5)
    if abs(mean) < STANDARD_ERRORS * error:
        return f"- {first} and {second}: {even} by two standard errors ({mean:+.4f} +- {error:.4f}).\n"
    above, below = (first, second) if mean > 0.0 else (second, first)
    return f"- {above} {more} {below} by {abs(mean):.4f} +- {error:.4f}.\n"


def _shown(values: Sequence[float], digits: int) -> str:
    error = np.std(values, ddof=1) / len(values) ** 0.5 if len(values) > 1 else 0.0
    return f"{np.mean(values):.{digits}f} +- {error:.{digits}f}"
