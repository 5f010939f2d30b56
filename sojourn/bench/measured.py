"""When, on what machine and with which version was something measured? Every result of a benchmark says so."""

import os
import platform
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

import sojourn


@dataclass(frozen=True, kw_only=True)
class Measured:
    """Where a result comes from. command: what makes it again."""

    date: str = ""
    machine: str = ""
    version: str = ""
    command: str = ""


def here(command: str) -> dict[str, str]:
    """The fields of `Measured` for what was measured just now, on this machine."""
    return {"date": today(), "machine": machine(), "version": version(), "command": command}


def today() -> str:
    return time.strftime("%Y-%m-%d")


def machine() -> str:
    """Processor and cores, as far as the system says."""
    return f"{platform.machine()} {platform.system()}, {os.cpu_count()} cores"


def version() -> str:
    """Of Sojourn and its commit, of Python and NumPy."""
    try:
        shown = subprocess.run(
            ["git", "describe", "--always", "--dirty"], capture_output=True, text=True, check=True, cwd=Path(__file__).parent
        )
        commit = f" ({shown.stdout.strip()})"
    except (OSError, subprocess.CalledProcessError):
        commit = ""
    return f"sojourn {sojourn.__version__}{commit}, Python {platform.python_version()}, NumPy {np.__version__}"
