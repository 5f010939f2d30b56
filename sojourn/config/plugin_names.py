"""Which short names of plug-ins are there? Stated here too, so that a wrong one is refused before its room is imported.

The callables are with their owners; a test compares the names. Pure.
"""

import difflib
import re
from typing import Annotated

from pydantic import AfterValidator

NETWORKS = ("mlp", "simba")
SAMPLERS = ("prioritised", "uniform", "fifo")
REMOVERS = ("fifo", "lowest_priority", "start_age", "version_age")
WEIGHTS = ("none", "linear", "inclusion", "pool")


def plugin_name(concept: str, known: tuple[str, ...]) -> AfterValidator:
    """Accept a short name or `package.module:attribute`."""

    def check(name: str) -> str:
        if name in known or re.fullmatch(r"[\w.]+:[\w.]+", name):
            return name
        near = difflib.get_close_matches(name, known, n=1)
        meant = f"did you mean {near[0]}?" if near else f"known: {', '.join(known)}; or give package.module:attribute"
        raise ValueError(f"unknown {concept} {name!r}; {meant}")

    return AfterValidator(check)


Network = Annotated[str, plugin_name("network", NETWORKS)]
Sampler = Annotated[str, plugin_name("sampler", SAMPLERS)]
Remover = Annotated[str, plugin_name("remover", REMOVERS)]
Weight = Annotated[str, plugin_name("duration weight", WEIGHTS)]
