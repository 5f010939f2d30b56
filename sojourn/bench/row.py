"""What is a row of the benchmark? A definition, the numbers that it claims, and how one replicate measures them."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from sojourn.bench.verdict import Claim


@dataclass(frozen=True)
class Size:
    """Full size, or the reduced one of the tests."""

    quick: bool = False

    def of(self, full: int, quick: int) -> int:
        return quick if self.quick else full


Replicate = Callable[[Size, np.random.Generator], Mapping[str, float]]
"""Measures once, with chance of its own: the numbers by the claims' names. Blocks; starts and ends what it needs."""


@dataclass(frozen=True)
class Row:
    """name: for `--row`.  definition: one line for the table."""

    name: str
    definition: str
    claims: tuple[Claim, ...]
    replicate: Replicate
