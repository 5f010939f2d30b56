"""The example environment trains as its page says, from the command line; where no video can be had, one line says so."""

import subprocess
import sys
from pathlib import Path

from learners.checkpoints import Checkpoints

ROOT = Path(__file__).parents[2]


def test_the_coffee_example_trains_with_its_extra_column(tmp_path):
    overrides = [
        "environment.kwargs.speed=100",
        "actors.environments=2",
        "run.target_return=-1000",
        "tables.replay.limiter.min_size=100",
    ]
    overrides += ["evaluation.video=true", "evaluation.video_every=1"]  # the first evaluation ends the run
    command = [sys.executable, "-m", "sojourn.cli", "train", "examples/coffee.yaml", "--serial", f"run.folder={tmp_path}"]
    run = subprocess.run([*command, *overrides], cwd=ROOT, capture_output=True, text=True, timeout=280, check=False)
    assert run.returncode == 0, run.stdout + run.stderr
    [folder] = tmp_path.iterdir()
    newest = Checkpoints(folder / "checkpoints", keep=1).newest()
    assert newest is not None
    assert [column.name for column in newest.schema.extras] == ["waited_s"]
    assert run.stdout.count("no video of Coffee: ") == 1
