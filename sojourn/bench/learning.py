"""Does the right weight also learn the right thing? Courses of learning under each rule of collection and each weight, through the service.

A course is one seed of one case. Its result is appended as one line of JSON, and a course that is there is not run again. Lanes, clock
and learner are of this process; the service listens on the loopback.
"""

import json
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np

from sojourn.bench.collecting import RULES, TABLE
from sojourn.bench.measured import Measured, here
from sojourn.bench.three_arms import LABELS, SLOW, Learner
from sojourn.bench.world import BEGIN_S, World

CAP = 10.0  # on normalised weights
COMMAND = "sojourn bench duration-learning"


@dataclass(frozen=True)
class Case:
    """One rule of collection with one weight.

    clock_s, updates: where the policy is looked at; a course ends when both are reached.  step, entropy_cost: of the learner.
    """

    rule: str
    weight: str
    clock_s: tuple[float, ...]
    updates: tuple[int, ...]
    step: float = 0.3
    entropy_cost: float = 0.0

    @property
    def name(self) -> str:
        return f"{self.rule}, {self.weight}"


@dataclass(frozen=True)
class Course(Measured):
    """What came of a case at a seed: the policy's chance of the slow, better arm.

    by_clock, by_updates: when so many simulated seconds had passed, after so many updates.  late: mean over the second half of all
    updates.  slow_share: of the slow arm among what was consumed.
    """

    case: str
    seed: int
    seconds: float
    by_clock: Mapping[str, float]
    by_updates: Mapping[str, float]
    late: float
    slow_share: float
    updates: int


CLOCK_S, UPDATES = (3_000.0, 12_000.0), (100, 400)
CASES: dict[str, Case] = {
    case.name: case
    for case in (
        *(
            Case(rule, weight, CLOCK_S, UPDATES)
            for rule in ("queue", "drop", "restart")
            for weight in ("none", "linear", "inclusion")
        ),
        *(Case("first of many", weight, (300.0, 1_200.0), UPDATES) for weight in ("none", "linear")),
        *(Case("window", weight, (2_000.0, 10_000.0), (50, 250), 20.0, 0.02) for weight in ("none", "linear", "inclusion")),
    )
}


@dataclass
class _Looks:
    """The policy at the marks of a case."""

    case: Case
    by_clock: dict[str, float] = field(default_factory=dict)
    by_updates: dict[str, float] = field(default_factory=dict)

    def look(self, clock_s: float, updates: int, now: float, before: float) -> None:
        """now, before: the policy's chance after and before the newest update, which was made at `clock_s`."""
        for mark_s in self.case.clock_s:
            if clock_s >= mark_s:
                self.by_clock.setdefault(f"{mark_s:g}", before)
        if updates in self.case.updates:
            self.by_updates[str(updates)] = now

    @property
    def complete(self) -> bool:
        return (len(self.by_clock), len(self.by_updates)) == (len(self.case.clock_s), len(self.case.updates))


def follow(case: Case, seed: int) -> Course:
    """Run a course. Blocks; starts and ends a service."""
    began_s, rule = time.monotonic(), RULES[case.rule]
    learner, looks = Learner(np.random.default_rng([seed, 11]), case.step, case.entropy_cost), _Looks(case)
    table = {**rule.table, "duration": {**rule.duration, "weight": case.weight, "cap": CAP}}
    chances, consumed, slow = [float(learner.policy[SLOW])], 0, 0
    with World({TABLE: table}, labels=LABELS, seed=0) as world:
        for batches in rule.collect(world, learner):
            learner.learn(batches)
            chances.append(float(learner.policy[SLOW]))
            consumed += sum(map(len, batches))
            slow += sum(int((batch.columns["observation"][:, 0] == SLOW).sum()) for batch in batches)
            looks.look(world.clock.now_s - BEGIN_S, learner.version, chances[-1], chances[-2])
            if looks.complete:
                break
    return Course(
        case=case.name,
        seed=seed,
        seconds=round(time.monotonic() - began_s, 1),
        by_clock=looks.by_clock,
        by_updates=looks.by_updates,
        late=float(np.mean(chances[len(chances) // 2 :])),
        slow_share=slow / consumed,
        updates=learner.version,
        **here(COMMAND),
    )


def run(
    cases: Iterable[Case], seeds: Sequence[int], *, results: Path, again: bool, tell: Callable[[Course], None]
) -> list[Course]:
    """All courses, those of a seed together. What is in the results already is not run again, unless `again`."""
    known = {} if again else {(course.case, course.seed): course for course in read(results)}
    found, chosen = [], list(cases)
    for seed in seeds:
        for case in chosen:
            course = known.get((case.name, seed))
            if course is None:
                course = follow(case, seed)
                _append(results, course)
            tell(course)
            found.append(course)
    return found


def _append(results: Path, course: Course) -> None:
    results.parent.mkdir(parents=True, exist_ok=True)
    with results.open("a") as file:
        file.write(json.dumps(asdict(course)) + "\n")


def read(results: Path) -> list[Course]:
    """The latest course of each case and seed; none if there is no file."""
    if not results.exists():
        return []
    courses = [Course(**json.loads(line)) for line in results.read_text().splitlines()]
    return list({(course.case, course.seed): course for course in courses}.values())
