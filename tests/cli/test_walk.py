"""Can a user train, look, evaluate, resume and report with nothing but the program? One small run, really started."""

import json
import os
import subprocess
import sys

from sojourn.monitor import read_progress
from sojourn.run_folder import read_run
from tests.waiting import DEADLINE_S

SMALL = (
    "run.name=walk",
    "learners.batch_size=16",
    "tables.replay.limiter.samples_per_insert=null",
    "tables.replay.limiter.min_size=50",
    "tables.replay.capacity_steps=5000",
    "network.hidden=[16]",
    "evaluation.episodes=2",
    "run.minutes=10",
)


def program(*arguments):
    """Run the installed program; returns its standard output, which must be all it says."""
    path = os.path.join(os.path.dirname(sys.executable), "sojourn")
    ended = subprocess.run([path, *arguments], capture_output=True, text=True, timeout=2 * DEADLINE_S, check=False)
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


def test_train_status_eval_resume_and_report_of_one_run(here, sojourn):
    said = program("train", "sojourn/Match-v0", "--serial", "learners.steps=300", *SMALL)
    assert said.startswith("runs/walk  sojourn/Match-v0  sac  Ctrl-C stops with a checkpoint")
    assert "the run is over: " in said
    assert "report    runs/walk/report.html" in said
    identity = read_run(here / "runs" / "walk")
    first = read_progress(here / "runs" / "walk")[-1]
    assert (here / "runs" / "walk" / "checkpoints" / "step_000000000300").is_dir()

    assert "runs/walk  stopped  sojourn/Match-v0 sac" in sojourn("status")[1]
    assert "episode 1  return " in sojourn("eval", "--checkpoint", "latest", "--episodes", "2")[1]

    program("resume", "learners.steps=400", "--serial")
    assert read_run(here / "runs" / "walk").run_id == identity.run_id
    last = read_progress(here / "runs" / "walk")[-1]
    assert (here / "runs" / "walk" / "checkpoints" / "step_000000000400").is_dir()
    assert last.env_steps >= first.env_steps
    evaluations = [json.loads(text) for text in (here / "runs" / "walk" / "evaluations.jsonl").read_text().splitlines()]
    versions = [one["policy_version"] for one in evaluations]
    assert versions == sorted(set(versions))
    assert sojourn("report") == (0, "runs/walk/report.html\n", "")
