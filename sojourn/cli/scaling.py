"""`sojourn scale`: ask the launcher of a running run for another number of actors or replay shards."""

from typing import Annotated

import typer

from sojourn.cli.arguments import RunOption
from sojourn.config.yaml_text import read_override
from sojourn.errors import ConfigError
from sojourn.run_folder import find_run, is_driven, run_config


def scale_run(
    wanted: Annotated[
        list[str], typer.Argument(metavar="KEY=N", help="actors=16, actors.fleets.NAME=4 for a fleet, replay=4 for shards.")
    ],
    run: RunOption = None,
) -> None:
    """Change the number of actors or replay shards of a running run."""
    from sojourn.launcher import ask_to_scale

    replicas = dict(map(_replicas, wanted))
    path = find_run(run)
    if not is_driven(path):
        raise ConfigError(f"{path} is not running: `sojourn resume {path} {' '.join(wanted)}` starts it with that many")
    ask_to_scale(path, run_config(path), replicas)
    typer.echo(
        f"asked {path} for {', '.join(f'{key}={number}' for key, number in replicas.items())}; `sojourn top` shows them come"
    )


def _replicas(text: str) -> tuple[str, int]:
    """ "actors=16" and "actors.replicas=16" -> ("actors", 16). Raises ConfigError."""
    key, _, said = text.partition("=")
    value = read_override(text)
    number = next(iter(value.values.values()))
    for _ in key.strip().split(".")[1:]:
        number = next(iter(number.values()))
    if isinstance(number, bool) or not isinstance(number, int):
        raise ConfigError(f"{key.strip()} must be a whole number, got {said!r}")
    return key.strip().removesuffix(".replicas").removesuffix(".shards"), number
