"""What is learned where durations are real? Whole runs with sleeping environments: actors, services and V-trace, on the wall clock.

Every course is a `sojourn train --serial` of its own in a temporary folder, and its result one appended line of JSON. Durations are those
of the machine: what else it does makes short actions longer.
"""

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import yaml

from sojourn.bench.measured import Measured, here
from sojourn.bench.real_scenes import SCENES, SLOTS, WEIGHTS
from sojourn.errors import SojournError

COMMAND = "sojourn bench duration-real-time"
DEADLINE_S = 170.0
WITHIN_S = 4.0  # of the looks: mean cycles are over so many seconds
CASES = {
    f"{'' if scene == 'arms' else scene + ', '}{rule}, {weight}": (scene, rule, weight)
    for scene in SCENES
    for rule in SCENES[scene].rules
    for weight in WEIGHTS[rule]
}


@dataclass(frozen=True)
class RealCourse(Measured):
    """What came of a case at a seed.

    returns: mean reward of the latest hundred episodes, by updates.  cycles_s: mean seconds from an action's start to the slot's next.
    """

    case: str
    seed: int
    seconds: float
    returns: dict[str, float]
    cycles_s: dict[str, float]


def configuration(case: str, seed: int) -> dict[str, Any]:
    """Of a run, as its file says it."""
    scene, rule, weight = CASES[case]
    return SCENES[scene].configuration(rule, weight, seed)


def follow(case: str, seed: int) -> RealCourse:
    """Run a course. Blocks for about half a minute. Raises SojournError if the run fails or takes too long."""
    began_s, looks = time.monotonic(), SCENES[CASES[case][0]].looks
    with tempfile.TemporaryDirectory(prefix="sojourn-real-") as folder:
        file = Path(folder) / "run.yaml"
        file.write_text(yaml.safe_dump(configuration(case, seed)))
        command = [sys.executable, "-m", "sojourn.cli", "train", str(file), "--serial", f"run.folder={folder}", "run.name=run"]
        try:
            subprocess.run(command, check=True, capture_output=True, timeout=DEADLINE_S)
        except (subprocess.CalledProcessError, subprocess.TimeoutExpired) as error:
            raise SojournError(f"{case}, seed {seed}: the run failed: {error}; {(error.stderr or b'')[-500:]!r}") from error
        records = [json.loads(line) for line in (Path(folder) / "run" / "progress.jsonl").read_text().splitlines()]
    return RealCourse(
        case=case,
        seed=seed,
        seconds=round(time.monotonic() - began_s, 1),
        returns={str(look): _at(records, look)["training_return"] for look in looks},
        cycles_s={str(look): cycle_s(records, look) for look in looks},
        **here(COMMAND),
    )


def _at(records: Sequence[dict[str, Any]], updates: int) -> dict[str, Any]:
    """The first record with so many updates in which actors spoke, else the last in which they did."""
    spoken = [record for record in records if record["training_return"] is not None]
    return next((record for record in spoken if record["learner_step"] >= updates), spoken[-1])


def cycle_s(records: Sequence[dict[str, Any]], updates: int) -> float:
    """Seconds of all slots over the actions that ended in the time before a look at so many updates."""
    end = _at(records, updates)
    begin = next(record for record in records if record["elapsed_s"] >= end["elapsed_s"] - WITHIN_S)
    return float(SLOTS * (end["elapsed_s"] - begin["elapsed_s"]) / max(1, end["env_steps"] - begin["env_steps"]))


def run(cases: Iterable[str], seeds: Sequence[int], *, results: Path, tell: Callable[[RealCourse], None]) -> list[RealCourse]:
    """All courses, those of a seed together; what is in the results is not run again."""
    known, chosen, found = {(course.case, course.seed): course for course in read(results)}, list(cases), []
    for seed in seeds:
        for case in chosen:
            course = known.get((case, seed))
            if course is None:
                course = follow(case, seed)
                results.parent.mkdir(parents=True, exist_ok=True)
                with results.open("a") as file:
                    file.write(json.dumps(asdict(course)) + "\n")
            tell(course)
            found.append(course)
    return found


def read(results: Path) -> list[RealCourse]:
    """All courses, oldest first; none if there is no file."""
    return [RealCourse(**json.loads(line)) for line in results.read_text().splitlines()] if results.exists() else []
