"""Where does a peer run? In a virtual environment of its own under build/peers, with the packages that its file of requirements pins."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
ENVIRONMENTS = ROOT / "build" / "peers"
REQUIREMENTS = Path(__file__).parent / "requirements"
TORCH_INDEX = os.environ.get("TORCH_INDEX", "")
"""Where PyTorch's CPU builds are, as the Makefile knows; asked only if the configured package index has none."""


class NotInstallableError(Exception):
    """A peer's packages cannot be had here: pip's last words."""


def python_of(environment: str) -> Path:
    """The interpreter of an environment, which is made if it is not there as it is wanted; "" is ours. Raises NotInstallableError."""
    if not environment:
        return Path(sys.executable)
    folder, wanted = ENVIRONMENTS / environment, (REQUIREMENTS / f"{environment}.txt").read_text()
    stamp = folder / "made-of.txt"
    if not stamp.exists() or stamp.read_text() != wanted:
        print(f"making {folder.relative_to(ROOT)}", flush=True)
        _make(folder, wanted.split())
        stamp.write_text(wanted)
    return folder / "bin" / "python"


def _make(folder: Path, pins: list[str]) -> None:
    """Every package is pinned, so that none is asked for what it needs: a CUDA build of PyTorch is never fetched."""
    _run(sys.executable, "-m", "venv", str(folder))
    install = (str(folder / "bin" / "python"), "-m", "pip", "--disable-pip-version-check", "install", "--quiet", "--no-deps")
    for torch in [pin for pin in pins if pin.startswith("torch==")]:
        try:
            _run(*install, f"{torch}+cpu")
        except NotInstallableError:
            if not TORCH_INDEX:
                raise
            _run(*install, "--index-url", TORCH_INDEX, torch)
    _run(*install, "--only-binary", ":all:", *(pin for pin in pins if not pin.startswith("torch==")))


def _run(*command: str) -> None:
    ran = subprocess.run(command, capture_output=True, text=True, check=False)
    if ran.returncode:
        raise NotInstallableError((ran.stderr.strip() or ran.stdout.strip()).splitlines()[-1])
