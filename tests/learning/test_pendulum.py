"""The shipped Pendulum configuration learns, through separate processes under Ray, as a user starts it."""

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_pendulum_reaches_minus_200_as_a_mean_of_ten_episodes(tmp_path):
    command = [sys.executable, "-m", "sojourn.cli", "train", "configs/pendulum.yaml", f"run.folder={tmp_path}", "run.seed=1"]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=280, check=False)
    assert run.returncode == 0, run.stdout + run.stderr
    assert "run.target_return=-200" in run.stdout
    [file] = tmp_path.glob("*/evaluations.jsonl")
    evaluations = [json.loads(line) for line in file.read_text().splitlines()]
    best = max(evaluations, key=lambda evaluation: evaluation["return_mean"])
    assert best["return_mean"] >= -200.0
    assert len(best["returns"]) == 10
