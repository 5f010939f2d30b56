"""A course of Stable-Baselines3: its SAC with its defaults, in its own virtual environment. Blocks for minutes."""

import json
import subprocess
from pathlib import Path

from sojourn.bench.curves.course import COMMAND, EPISODES, PEER, TASKS, Course, Look
from sojourn.bench.measured import here
from sojourn.errors import SojournError

PYTHON = Path("build/peers/sb3/bin/python")
PROGRAM = Path("benchmarks/peers/programs/learning_with_sb3.py")
DEADLINE_S = 7_200.0


def follow(environment: str, seed: int, python: Path = PYTHON, program: Path = PROGRAM) -> Course:
    """Run a course. Raises SojournError if Stable-Baselines3 is not there, or its run fails."""
    if not (python.exists() and program.exists()):
        raise SojournError(f"{python} is not there: `make bench-peers` sets it up; call this from the root of the repository")
    task = TASKS[environment]
    arguments = [environment, str(seed), str(task.env_steps), str(task.every), str(EPISODES)]
    try:
        ended = subprocess.run([str(python), str(program), *arguments], check=True, capture_output=True, timeout=DEADLINE_S)
    except (subprocess.CalledProcessError, subprocess.TimeoutExpired) as error:
        raise SojournError(f"{PEER} on {environment}, seed {seed}: {error}; {(error.stderr or b'')[-500:]!r}") from error
    told = json.loads(ended.stdout.splitlines()[-1])
    looks = tuple(Look(**look) for look in told["looks"])
    where = {**here(COMMAND), "version": told["version"]}
    return Course(system=PEER, environment=environment, seed=seed, looks=looks, **where)
