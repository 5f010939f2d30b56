"""A course of this program: `sojourn train` with a shipped configuration, as a user starts it. Blocks for minutes.

The evaluator plays on the same cores while the run goes; its time is not taken off.
"""

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from sojourn.bench.curves.course import COMMAND, EPISODES, SYSTEMS, TASKS, Course, Look
from sojourn.bench.measured import here
from sojourn.errors import SojournError

DEADLINE_S = 3_600.0


def command_line(system: str, environment: str, seed: int) -> list[str]:
    """Arguments of `sojourn train`, but for the folder of the run."""
    task = TASKS[environment]
    return [
        task.config,
        f"run.seed={seed}",
        f"run.env_steps={task.env_steps}",
        "run.target_return=null",
        f"evaluation.every_env_steps={task.every}",
        f"evaluation.episodes={EPISODES}",
        *SYSTEMS[system],
    ]


def follow(system: str, environment: str, seed: int) -> Course:
    """Run a course. Raises SojournError if the run fails or takes an hour."""
    with tempfile.TemporaryDirectory(prefix="sojourn-learning-") as folder:
        arguments = [*command_line(system, environment, seed), f"run.folder={folder}", "run.name=run"]
        try:
            subprocess.run(
                [sys.executable, "-m", "sojourn.cli", "train", *arguments], check=True, capture_output=True, timeout=DEADLINE_S
            )
        except (subprocess.CalledProcessError, subprocess.TimeoutExpired) as error:
            raise SojournError(
                f"{system} on {environment}, seed {seed}: the run failed: {error}; {(error.stderr or b'')[-500:]!r}"
            ) from error
        looks = looks_of(lines(Path(folder) / "run" / "evaluations.jsonl"), lines(Path(folder) / "run" / "progress.jsonl"))
    return Course(system=system, environment=environment, seed=seed, looks=looks, **here(COMMAND))


def looks_of(evaluations: list[dict[str, Any]], progress: list[dict[str, Any]]) -> tuple[Look, ...]:
    """Evaluations with the time at which the run had so many environment steps, interpolated between the lines of its progress.

    The clock begins with the first line that counts a step, as a peer's begins with its first step.
    """
    steps = np.array([line["env_steps"] for line in progress], float)
    times = np.array([line["elapsed_s"] for line in progress], float)
    first = int(np.argmax(steps > 0))
    steps, times = steps[max(0, first - 1) :], times[max(0, first - 1) :] - times[max(0, first - 1)]
    return tuple(
        Look(
            env_steps=one["env_steps"],
            return_mean=one["return_mean"],
            elapsed_s=round(float(np.interp(one["env_steps"], steps, times)), 1),
        )
        for one in evaluations
        if one["learner_step"] > 0
    )


def lines(file: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in file.read_text().splitlines()]
