"""Do courses keep what is promised? Compares ours with the peer's at the last mark of an environment. Pure."""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from sojourn.bench.curves.course import PEER, SYSTEMS, TASKS, Course
from sojourn.bench.curves.statistics import interquartile_mean, interval, interval_of_difference

SOONER = {"sojourn": 1.25, "sojourn, bfloat16": 1.5}
"""How many times sooner than the peer a system must have taken its steps."""


@dataclass(frozen=True)
class Standing:
    """A system on an environment at the last mark.

    interval: of the interquartile mean of the return.  difference: interval of its distance to the peer's, None for the peer itself
    and where the peer was not run.  seconds: median until the mark.  sooner: the peer's seconds over these.
    """

    environment: str
    system: str
    seeds: tuple[int, ...]
    return_mean: float
    interval: tuple[float, float]
    difference: tuple[float, float] | None
    seconds: float
    sooner: float | None

    @property
    def matches(self) -> bool:
        """Whether the return is not below the peer's within the interval."""
        return self.difference is None or self.difference[1] >= 0.0

    @property
    def soon(self) -> bool:
        """Whether the steps were taken as much sooner as is promised of the system."""
        return self.sooner is None or self.sooner >= SOONER.get(self.system, 0.0)


def standings(courses: Sequence[Course]) -> list[Standing]:
    """All systems that were run, by environment; the latest course of a seed counts."""
    latest = {(course.environment, course.system, course.seed): course for course in courses}
    found = []
    for environment in TASKS:
        by_system = {
            system: [course for key, course in sorted(latest.items()) if key[:2] == (environment, system)]
            for system in (*SYSTEMS, PEER)
        }
        found += [_standing(environment, system, ran, by_system[PEER]) for system, ran in by_system.items() if ran]
    return found


def _standing(environment: str, system: str, ran: list[Course], peers: list[Course]) -> Standing:
    returns, seconds = _at_the_end(environment, ran)
    compared = bool(peers) and system != PEER
    theirs = _at_the_end(environment, peers) if compared else None
    return Standing(
        environment,
        system,
        tuple(course.seed for course in ran),
        float(interquartile_mean(np.array(returns))),
        interval(returns),
        interval_of_difference(returns, theirs[0]) if theirs else None,
        statistics.median(seconds),
        statistics.median(theirs[1]) / statistics.median(seconds) if theirs else None,
    )


def _at_the_end(environment: str, ran: Sequence[Course]) -> tuple[list[float], list[float]]:
    looks = [course.at(TASKS[environment].env_steps) for course in ran]
    return [look.return_mean for look in looks], [look.elapsed_s for look in looks]
