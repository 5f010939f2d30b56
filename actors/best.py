"""Which policy did best in an evaluation so far? Keeps results and the best policy in the run folder. File I/O only.

RUN/evaluations.jsonl                    one line per evaluation, appended
RUN/checkpoints/best                     link to the folder of the best policy, replaced atomically
RUN/checkpoints/best-<policy version>/   policy.safetensors, metadata.json
"""

import hashlib
import json
import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from actors.episodes import Evaluation
from sojourn.durable_files import put_in_place, replace_durably
from sojourn.experience import ParameterSnapshot


@dataclass(frozen=True)
class Record:
    """What earlier evaluations of the run came to. env_steps: of the latest one, -1 before the first."""

    evaluations: int = 0
    env_steps: int = -1
    policy_version: int = 0
    best: float = float("-inf")


def read_record(run_folder: Path) -> Record:
    """Results so far. A last line that a crash cut short is left out."""
    file = run_folder / "evaluations.jsonl"
    lines = file.read_bytes().split(b"\n")[:-1] if file.exists() else []
    results = [json.loads(line) for line in lines]
    if not results:
        return Record()
    last, best = results[-1], max(result["return_mean"] for result in results)
    return Record(len(results), last["env_steps"], last["policy_version"], best)


def append_result(run_folder: Path, snapshot: ParameterSnapshot, evaluation: Evaluation, *, seed: int, best: bool) -> None:
    """Add one line to RUN/evaluations.jsonl, over a line that a crash cut short."""
    line = json.dumps({**_standing(snapshot, evaluation), "seed": seed, "best": best, "returns": evaluation.returns})
    with open(run_folder / "evaluations.jsonl", "ab+") as file:
        file.seek(0)
        file.truncate(file.read().rfind(b"\n") + 1)
        file.write(line.encode() + b"\n")


def keep_best(run_folder: Path, run_id: str, snapshot: ParameterSnapshot, evaluation: Evaluation) -> None:
    """Make this policy RUN/checkpoints/best. A reader sees the old one or the new one, each whole."""
    checkpoints = run_folder / "checkpoints"
    folder = checkpoints / f"best-{snapshot.policy_version}"
    folder.mkdir(parents=True, exist_ok=True)
    metadata = {
        "run_id": run_id,
        "algorithm": snapshot.algorithm,
        "sha256": hashlib.sha256(snapshot.tensors).hexdigest(),
        **_standing(snapshot, evaluation),
    }
    replace_durably(folder / "policy.safetensors", snapshot.tensors)
    replace_durably(folder / "metadata.json", json.dumps(metadata, indent=2))
    link = checkpoints / f".best.{os.getpid()}"
    link.unlink(missing_ok=True)
    link.symlink_to(folder.name)
    put_in_place(link, checkpoints / "best")
    for older in checkpoints.glob("best-*"):
        if older != folder:
            shutil.rmtree(older, ignore_errors=True)


def _standing(snapshot: ParameterSnapshot, evaluation: Evaluation) -> dict[str, Any]:
    return {
        "policy_version": snapshot.policy_version,
        "learner_step": snapshot.learner_step,
        "env_steps": snapshot.env_steps,
        "return_mean": evaluation.return_mean,
        "return_std": evaluation.return_std,
        "episodes": len(evaluation.returns),
        "length_mean": evaluation.length_mean,
        "seconds": round(evaluation.seconds, 3),
    }
