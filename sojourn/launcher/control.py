"""How a running launcher is asked for something: files in RUN/control/, replaced atomically, taken once.

`scale.json` holds wanted numbers of actors by fleet, and of replay shards: {"actors": 8, "actors.fleets.slow": 2, "replay": 4}.
"""

import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from sojourn.config import Config
from sojourn.durable_files import replace_durably
from sojourn.errors import ConfigError
from sojourn.launcher.wiring import fleets
from sojourn.run_folder import run_config, write_config

MOST_ACTORS = 100_000
MOST_SHARDS = 256
REPLAY = "replay"

LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class Asked:
    """actors: wanted number by fleet name, "" is the default one.  shards: wanted number that take inserts, None: as it is."""

    actors: dict[str, int] = field(default_factory=dict)
    shards: int | None = None

    def __bool__(self) -> bool:
        return bool(self.actors) or self.shards is not None


def ask_to_scale(run_folder: Path, config: Config, replicas: Mapping[str, int]) -> None:
    """Ask the run's launcher for so many actors or replay shards; a newer request replaces one that was not taken yet.

    replicas: by "actors", "actors.fleets.NAME" or "replay".  Raises ConfigError for an unknown key or an impossible number.
    """
    known = {_key(fleet) for fleet in fleets(config)} | (set() if config.replay.addresses else {REPLAY})
    for key, number in replicas.items():
        if key not in known:
            raise ConfigError(f"cannot scale {key!r}: this run has {', '.join(sorted(known))}")
        least, most = (1, MOST_SHARDS) if key == REPLAY else (0, MOST_ACTORS)
        if not least <= number <= most:
            raise ConfigError(f"{key} must lie in [{least}, {most}], got {number}")
    folder = run_folder / "control"
    folder.mkdir(exist_ok=True)
    replace_durably(folder / "scale.json", json.dumps(dict(replicas)))


def take_scale_request(run_folder: Path) -> Asked:
    """What is wanted, and the request is gone; nothing if there is none."""
    asked, taken = run_folder / "control" / "scale.json", run_folder / "control" / ".scale.taken"
    try:
        asked.replace(taken)
    except FileNotFoundError:
        return Asked()
    replicas = json.loads(taken.read_text())
    taken.unlink()
    shards = replicas.pop(REPLAY, None)
    return Asked({_fleet(key): int(number) for key, number in replicas.items()}, shards)


def keep_scale(run_folder: Path, asked: Asked) -> None:
    """Write the wanted numbers into the run's configuration, so that `sojourn resume` starts with them. A run without one keeps none.

    0 actors is a pause of this start and not kept: a run that starts with no actor would never end. A full disk ends no run either.
    """
    kept = {f"{_key(fleet)}.replicas": number for fleet, number in asked.actors.items() if number > 0}
    if asked.shards is not None:
        kept["replay.shards"] = asked.shards
    if kept and (run_folder / "config.yaml").exists():
        try:
            write_config(run_folder, run_config(run_folder, [f"{key}={number}" for key, number in kept.items()]))
        except OSError as error:
            LOG.warning("`sojourn resume` will not know of %s: %s", ", ".join(kept), error)


def _key(fleet: str) -> str:
    return f"actors.fleets.{fleet}" if fleet else "actors"


def _fleet(key: str) -> str:
    return key.removeprefix("actors").removeprefix(".fleets.")
