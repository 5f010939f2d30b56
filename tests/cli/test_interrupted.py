"""A signal ends the program with one line and the shell's code, wherever it is; what runs natively on other threads cannot abort it."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from sojourn.errors import INTERRUPTED
from tests.waiting import DEADLINE_S

ENVIRONMENT = """
import threading
def make():
    print("being made", flush=True)
    threading.Event().wait(3600)
"""


def interrupted(process: subprocess.Popen[str], number: signal.Signals) -> str:
    """Its last words. Python does not notice a signal that comes just before it waits for a lock; a person would press again."""
    for _ in range(6):
        process.send_signal(number)
        try:
            return process.communicate(timeout=DEADLINE_S / 6)[0]
        except subprocess.TimeoutExpired:
            continue
    raise AssertionError(f"it does not hear {number.name}")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_before_the_run_begins_is_one_line(number: signal.Signals, tmp_path: Path) -> None:
    (tmp_path / "endless.py").write_text(ENVIRONMENT)
    command = [sys.executable, "-m", "sojourn.cli", "train", "endless:make"]
    path = os.pathsep.join(path for path in sys.path if path)
    with subprocess.Popen(
        command, cwd=tmp_path, env={**os.environ, "PYTHONPATH": path}, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "being made\n"
            said = interrupted(process, number)
        finally:
            process.kill()
    assert said.strip() == "sojourn: interrupted"
    assert process.returncode == INTERRUPTED
    assert not (tmp_path / "runs").exists()
