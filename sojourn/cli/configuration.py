"""`sojourn config`: what will a file and overrides mean?"""

from typing import Annotated

import typer

from sojourn.cli.arguments import Profile, complete_target, configured
from sojourn.config.load import shown_config


def show_config(
    arguments: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="FILE-OR-ENV-ID|KEY=VALUE", help="As for train; nothing: the defaults.", autocompletion=complete_target
        ),
    ] = None,
    profile: Profile = None,
) -> None:
    """Print the resolved configuration. Every key with its value as YAML, passwords starred; starts nothing."""
    given = list(arguments or [])
    target = given.pop(0) if given and "=" not in given[0] else None
    typer.echo(shown_config(configured(target, given, profile)), nl=False)
