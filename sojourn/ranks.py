"""Several learners that make every update together: what an algorithm's parts ask of the others, and the answer of one that is alone.

Each rank has a batch of its own; gradients are averaged and running statistics added up over all of them, so parameters, moments and
statistics stay the same on every rank, bit by bit.
"""

from collections.abc import Sequence
from typing import Protocol

from torch import Tensor


class Ranks(Protocol):
    """What the ranks of a world do together. Every rank must call the same methods in the same order.

    rank: this one's number, from 0.  world: how many there are.
    """

    rank: int
    world: int

    def add(self, tensors: Sequence[Tensor]) -> None:
        """Replace each tensor by its sum over all ranks; all of one dtype."""

    def average(self, tensors: Sequence[Tensor]) -> None:
        """Replace each tensor by its mean over all ranks; all of one dtype."""


class Alone:
    """A world of one."""

    rank = 0
    world = 1

    def add(self, tensors: Sequence[Tensor]) -> None:
        return None

    def average(self, tensors: Sequence[Tensor]) -> None:
        return None


class Together:
    """Base of whatever learns from batches and has to come out the same on every rank: optimisers and running statistics."""

    ranks: Ranks = Alone()


def join(holders: Sequence[object], ranks: Ranks) -> None:
    """Have everything in these modules and optimisers that is `Together` learn over all ranks from now on."""
    for holder in holders:
        modules = getattr(holder, "modules", None)
        for part in modules() if modules is not None else (holder,):
            if isinstance(part, Together):
                part.ranks = ranks
