"""What came of one run: returns by environment steps and by the clock. Plain values and their file; no clock, no chance."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from sojourn.bench.measured import Measured

COMMAND = "sojourn bench learning"
EPISODES = 10  # of an evaluation, with the deterministic policy


@dataclass(frozen=True)
class Task:
    """What is learned. config: of ours, in configs/.  env_steps: of a run.  every: environment steps between evaluations."""

    config: str
    env_steps: int = 100_000
    every: int = 10_000

    @property
    def marks(self) -> tuple[int, ...]:
        """Environment steps at which courses are compared."""
        return tuple(range(self.every, self.env_steps + 1, self.every))


TASKS = {
    "HalfCheetah-v5": Task("configs/halfcheetah.yaml"),
    "Hopper-v5": Task("configs/hopper.yaml"),
    "Pendulum-v1": Task("configs/pendulum.yaml", env_steps=10_000, every=1_000),
}

SYSTEMS: dict[str, tuple[str, ...]] = {
    "sojourn": (),
    "sojourn, bfloat16": ("learners.precision=bfloat16",),
}
"""Ours, by name: what is added to the configuration."""

PEER = "stable-baselines3"


@dataclass(frozen=True)
class Look:
    """An evaluation. env_steps: that the policy had learned from.  elapsed_s: of learning until then, evaluations apart."""

    env_steps: int
    return_mean: float
    elapsed_s: float


@dataclass(frozen=True)
class Course(Measured):
    """One run. looks: in the order of env_steps."""

    system: str
    environment: str
    seed: int
    looks: tuple[Look, ...]

    def at(self, env_steps: int) -> Look:
        """The first look at or after so many steps, else the last one."""
        return next((look for look in self.looks if look.env_steps >= env_steps), self.looks[-1])


def append(results: Path, course: Course) -> None:
    """Add one line to the results."""
    results.parent.mkdir(parents=True, exist_ok=True)
    with results.open("a") as file:
        file.write(json.dumps(asdict(course)) + "\n")


def read(results: Path) -> list[Course]:
    """All courses, oldest first; none if there is no file."""
    return [_course(json.loads(line)) for line in results.read_text().splitlines()] if results.exists() else []


def _course(fields: dict[str, Any]) -> Course:
    return Course(**{**fields, "looks": tuple(Look(**look) for look in fields["looks"])})
