"""Which courses are missing, and what did they come to? One after the other: two at once would share the cores. Blocks for hours."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from sojourn.bench.curves import ours, peer
from sojourn.bench.curves.course import PEER, Course, append, read


def run(systems: Sequence[str], environments: Sequence[str], seeds: Sequence[int], results: Path) -> Iterator[Course]:
    """All courses, those of a seed together; what is in the results is not run again."""
    known = {(course.system, course.environment, course.seed): course for course in read(results)}
    for seed in seeds:
        for environment in environments:
            for system in systems:
                course = known.get((system, environment, seed))
                if course is None:
                    course = peer.follow(environment, seed) if system == PEER else ours.follow(system, environment, seed)
                    append(results, course)
                yield course
