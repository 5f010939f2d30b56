"""How a running launcher is asked for something: files in RUN/control/, replaced atomically, taken once.

`scale.json` holds the wanted number of actors by fleet: {"actors": 8, "actors.fleets.slow": 2}.
"""

import json
import os
from collections.abc import Mapping
from pathlib import Path

from sojourn.config import Config
from sojourn.errors import ConfigError
from sojourn.launcher.wiring import fleets
from sojourn.run_folder import run_config, write_config

MOST_ACTORS = 100_000


def ask_to_scale(run_folder: Path, config: Config, replicas: Mapping[str, int]) -> None:
    """Ask the run's launcher for so many actors; a newer request replaces one that was not taken yet.

    replicas: by "actors" or "actors.fleets.NAME".  Raises ConfigError for an unknown fleet or an impossible number.
    """
    known = {_key(fleet) for fleet in fleets(config)}
    for key, number in replicas.items():
        if key not in known:
            raise ConfigError(f"cannot scale {key!r}: this run has {', '.join(sorted(known))}")
        if not 0 <= number <= MOST_ACTORS:
            raise ConfigError(f"{key} must lie in [0, {MOST_ACTORS}], got {number}")
    folder = run_folder / "control"
    folder.mkdir(exist_ok=True)
    temporary = folder / f".scale.{os.getpid()}"
    temporary.write_text(json.dumps(dict(replicas)))
    temporary.replace(folder / "scale.json")


def take_scale_request(run_folder: Path) -> dict[str, int]:
    """The wanted number of actors by fleet name ("" is the default one), and the request is gone; empty if there is none."""
    asked, taken = run_folder / "control" / "scale.json", run_folder / "control" / ".scale.taken"
    try:
        asked.replace(taken)
    except FileNotFoundError:
        return {}
    replicas = json.loads(taken.read_text())
    taken.unlink()
    return {_fleet(key): int(number) for key, number in replicas.items()}


def keep_scale(run_folder: Path, replicas: Mapping[str, int]) -> None:
    """Write the wanted numbers into the run's configuration, so that `sojourn resume` starts with them. A run without one keeps none.

    replicas: by fleet name.  0 is a pause of this start and not kept: a run that starts with no actor would never end.
    """
    kept = {f"{_key(fleet)}.replicas": number for fleet, number in replicas.items() if number > 0}
    if kept and (run_folder / "config.yaml").exists():
        write_config(run_folder, run_config(run_folder, [f"{key}={number}" for key, number in kept.items()]))


def _key(fleet: str) -> str:
    return f"actors.fleets.{fleet}" if fleet else "actors"


def _fleet(key: str) -> str:
    return key.removeprefix("actors").removeprefix(".fleets.")
