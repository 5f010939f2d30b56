"""What do the courses of learning say together? Statements that hold or do not, and a section of docs/duration.md. Pure but for `write`."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import exp
from pathlib import Path

import numpy as np

from sojourn.bench.between import write_between
from sojourn.bench.learning import CASES, Case, Course
from sojourn.bench.three_arms import REWARDS

BEGIN = "<!-- learning: written by `sojourn bench duration-learning` -->"
END = "<!-- end of learning -->"
STANDARD_ERRORS = 2.0  # that a difference between weights must have
WINDOW_ENTROPY_COST = CASES["window, none"].entropy_cost
TRUTH = 1.0 / (1.0 + exp((REWARDS[0] - REWARDS[1]) / WINDOW_ENTROPY_COST))
"""Where reward and entropy balance: pi proportional to exp(r / entropy cost). The failing arm has exp(-31) of the quick one."""

RIGHT = {"queue, none": True, "drop, none": False, "drop, linear": True}
"""Whether all seeds come to prefer the better arm, or none."""

ByCase = Mapping[str, Sequence[Course]]


@dataclass(frozen=True)
class Statement:
    """Something that courses of the same seeds show or do not. shown: the numbers behind it."""

    said: str
    holds: bool
    shown: str


def by_case(courses: Sequence[Course]) -> dict[str, list[Course]]:
    """Courses of each case in the order of `CASES`, by seed."""
    ordered = sorted(courses, key=lambda course: course.seed)
    grouped = {name: [course for course in ordered if course.case == name] for name in CASES}
    return {name: found for name, found in grouped.items() if found}


def judge(grouped: ByCase) -> list[Statement]:
    """Those statements of which all cases are there."""
    found = [_right(grouped[name], everywhere=there) for name, there in RIGHT.items() if name in grouped]
    if {"queue, none", "queue, linear"} <= grouped.keys():
        found += [_ahead(grouped["queue, none"], grouped["queue, linear"], by) for by in ("updates", "clock")]
    if {"window, none", "window, linear", "window, inclusion"} <= grouped.keys():
        found += [_nearer(grouped["window, inclusion"], grouped[f"window, {other}"]) for other in ("none", "linear")]
    return found


def _final(course: Course, by: str = "clock") -> float:
    marks = course.by_clock if by == "clock" else course.by_updates
    return marks[max(marks, key=float)]


def _right(courses: Sequence[Course], *, everywhere: bool) -> Statement:
    right, seeds = sum(_final(course) > 0.5 for course in courses), len(courses)
    said = "all seeds prefer the better arm" if everywhere else "no seed prefers the better arm"
    return Statement(f"{courses[0].case}: {said}", right == (seeds if everywhere else 0), f"the better arm in {right} of {seeds}")


def _ahead(first: Sequence[Course], second: Sequence[Course], by: str) -> Statement:
    gap, error = _paired([_final(a, by) - _final(b, by) for a, b in _pairs(first, second)])
    said = f"{first[0].case} is ahead of {second[0].case} by two standard errors at equal {by}"
    return Statement(said, gap >= STANDARD_ERRORS * error and gap > 0.0, f"{gap:.3f} +- {error:.3f}")


def _nearer(first: Sequence[Course], second: Sequence[Course]) -> Statement:
    gap, error = _paired([abs(b.late - TRUTH) - abs(a.late - TRUTH) for a, b in _pairs(first, second)])
    said = f"{first[0].case} ends nearer to {TRUTH:.3f} than {second[0].case} by two standard errors"
    return Statement(said, gap >= STANDARD_ERRORS * error and gap > 0.0, f"{gap:.3f} +- {error:.3f}")


def _pairs(first: Sequence[Course], second: Sequence[Course]) -> list[tuple[Course, Course]]:
    """Courses of the same seed."""
    others = {course.seed: course for course in second}
    return [(course, others[course.seed]) for course in first if course.seed in others]


def _paired(values: Sequence[float]) -> tuple[float, float]:
    """Mean and its standard error over seeds; a single seed has none, and counts as 0."""
    error = np.std(values, ddof=1) / len(values) ** 0.5 if len(values) > 1 else 0.0
    return float(np.mean(values)), float(error)


def write(page: Path, courses: Sequence[Course]) -> None:
    """Put tables and statements between the page's two marks."""
    write_between(page, BEGIN, END, section(by_case(courses)))


def section(grouped: ByCase) -> str:
    """The tables, one for each set of marks, the statements, and where it was measured."""
    marks = {name: (CASES[name].updates, CASES[name].clock_s) for name in grouped}
    tables = [_table([name for name in grouped if marks[name] == of], grouped) for of in dict.fromkeys(marks.values())]
    statements = "".join(f"- {'' if one.holds else '**Does not hold:** '}{one.said}: {one.shown}.\n" for one in judge(grouped))
    newest = max((course for courses in grouped.values() for course in courses), key=lambda course: course.date)
    seconds = sum(course.seconds for courses in grouped.values() for course in courses)
    source = f"`{newest.command}`, {seconds:.0f} s in all, {newest.machine}, {newest.version}, {newest.date}"
    return "\n".join([*tables, statements, source]) + "\n"


def _table(names: Sequence[str], grouped: ByCase) -> str:
    case = CASES[names[0]]
    looks = [f"{count} updates" for count in case.updates] + [f"{clock_s:g} s" for clock_s in case.clock_s]
    heading = ["rule, weight", *looks, "second half", "right", "of what was consumed"]
    lines = [heading, ["---"] * len(heading), *(_line(CASES[name], grouped[name]) for name in names)]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def _line(case: Case, courses: Sequence[Course]) -> list[str]:
    looks = [[course.by_updates[str(count)] for course in courses] for count in case.updates]
    looks += [[course.by_clock[f"{clock_s:g}"] for course in courses] for clock_s in case.clock_s]
    right = sum(_final(course) > 0.5 for course in courses)
    shown = [_shown(values) for values in [*looks, [course.late for course in courses]]]
    return [case.name, *shown, f"{right} of {len(courses)}", f"{np.mean([course.slow_share for course in courses]):.2f}"]


def _shown(values: Sequence[float]) -> str:
    mean, error = _paired(values)
    return f"{mean:.3f} +- {error:.3f}"
