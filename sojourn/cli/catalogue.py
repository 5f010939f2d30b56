"""`sojourn list`: which names can a configuration use?"""

from collections.abc import Callable
from enum import StrEnum
from typing import Annotated

import typer

from sojourn.config.algorithms import KNOWN_ALGORITHMS

SAMPLER_NOTES = {
    "prioritised": "by priority ** priority_exponent, corrected by importance weights",
    "uniform": "each item alike",
    "fifo": "oldest first; with `consume: true` each item once",
}


WEIGHTING_NOTES = {
    "none": "no weight for durations",
    "linear": "times the duration, as published; right only where each action is given the same time",
    "inclusion": "one over the chance to be seen: exactly 1 where nothing is lost",
    "pool": "inclusion, and each pool of actors its wanted share",
}


class Concept(StrEnum):
    """What can be listed."""

    ENVS = "envs"
    ALGORITHMS = "algorithms"
    SAMPLERS = "samplers"
    WEIGHTINGS = "weightings"


def show_list(
    concept: Annotated[Concept, typer.Argument(help="What to list.")],
    word: Annotated[str, typer.Argument(metavar="WORD", help="Only names that contain it.")] = "",
) -> None:
    """List names that a configuration can use. One a line; each may also be package.module:attribute."""
    found = [(name, note) for name, note in _LISTS[concept]() if word.lower() in name.lower()]
    width = max((len(name) for name, _ in found), default=0)
    for name, note in found:
        typer.echo(f"{name:<{width}}  {note}".rstrip())


def _environments() -> list[tuple[str, str]]:
    import gymnasium

    from sojourn.environments import register

    register()
    return [(name, "") for name in sorted(gymnasium.registry)]


def _algorithms() -> list[tuple[str, str]]:
    return [(name, (model.__doc__ or "").splitlines()[0]) for name, model in KNOWN_ALGORITHMS.items()]


def _samplers() -> list[tuple[str, str]]:
    return list(SAMPLER_NOTES.items())


def _weightings() -> list[tuple[str, str]]:
    return list(WEIGHTING_NOTES.items())


_LISTS: dict[Concept, Callable[[], list[tuple[str, str]]]] = {
    Concept.ENVS: _environments,
    Concept.ALGORITHMS: _algorithms,
    Concept.SAMPLERS: _samplers,
    Concept.WEIGHTINGS: _weightings,
}
