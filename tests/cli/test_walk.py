"""Can a user train, look, evaluate, resume and report with nothing but the program? One small run, really started."""

import json
import os
import re
import signal
import subprocess
import sys
from contextlib import contextmanager

from sojourn.monitor import read_progress
from sojourn.run_folder import read_run
from tests.waiting import DEADLINE_S, eventually

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


@contextmanager
def begun(*arguments):
    """Start the installed program; it is gone afterwards."""
    path = os.path.join(os.path.dirname(sys.executable), "sojourn")
    with subprocess.Popen([path, *arguments], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def checkpoint_of(sojourn, run):
    """What `sojourn checkpoint` says of a running run that has learned since its start; "" before that."""
    assert run.poll() is None, run.communicate()
    code, said, _ = sojourn("checkpoint", "--within", str(DEADLINE_S))
    return said if code == 0 and "step_000000000300" not in said else ""


def newest_step(run):
    return max(int(path.name.removeprefix("step_")) for path in (run / "checkpoints").glob("step_*"))


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

    with begun("resume", "learners.steps=null", "--serial") as resumed:
        made = eventually(lambda: checkpoint_of(sojourn, resumed), 2 * DEADLINE_S)
        resumed.send_signal(signal.SIGINT)
        said, _ = resumed.communicate(timeout=2 * DEADLINE_S)
    assert "learner and replay tables go on from checkpoint step_000000000300" in said
    assert re.fullmatch(
        r"runs/walk/checkpoints/step_\d{12}\nreplay shard 0: [\d,]+ items up to row [\d,]+, [\d,]+ environment steps\n", made
    )
    assert resumed.returncode == 0
    code, _, refused = sojourn("checkpoint")
    assert (code, "runs/walk is not running: it ended with a checkpoint" in refused) == (2, True)
    assert read_run(here / "runs" / "walk").run_id == identity.run_id
    last = read_progress(here / "runs" / "walk")[-1]
    assert newest_step(here / "runs" / "walk") > 300
    assert last.env_steps >= first.env_steps
    evaluations = [json.loads(text) for text in (here / "runs" / "walk" / "evaluations.jsonl").read_text().splitlines()]
    versions = [one["policy_version"] for one in evaluations]
    assert versions == sorted(set(versions))
    assert sojourn("report") == (0, "runs/walk/report.html\n", "")
