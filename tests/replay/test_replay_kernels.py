"""Compiled code is there or comes by itself, also where the package cannot be written."""

import os
import subprocess
import sys
from pathlib import Path

import replay
from replay.kernels import cache_folder, compile_all

PROGRAM = """
import numpy as np
import replay.kernels as kernels
from replay.sum_tree import SumTree
tree = SumTree(4)
tree.set(np.array([2]), np.array([1.0]))
print(int(tree.draw(np.array([0.5]))[0][0]), kernels.cache_folder())
"""


def test_every_kernel_is_compiled_by_the_warm_up():
    compile_all()
    before = sorted(cache_folder().rglob("*.nbc"))
    assert before
    assert compile_all() < 60.0
    assert sorted(cache_folder().rglob("*.nbc")) == before


def test_a_package_that_cannot_be_written_keeps_its_compiled_code_in_the_temporary_folder(tmp_path):
    package = tmp_path / "site" / "replay"
    package.mkdir(parents=True)
    for name in ("kernels.py", "fetching.py", "sum_tree.py", "__init__.py"):
        source = Path(replay.__path__[0]) / name
        (package / name).write_bytes(source.read_bytes() if source.exists() else b"")
    (package / "__pycache__").write_text("no folder: nothing can be written here, whoever asks")
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    said = subprocess.run(
        [sys.executable, "-B", "-c", PROGRAM],
        cwd=tmp_path / "site",
        env={**os.environ, "TMPDIR": str(temporary), "PYTHONPATH": str(tmp_path / "site")},
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()
    assert said[0] == "2"
    assert Path(said[1]).parent == temporary
    assert list(temporary.rglob("*.nbc"))
