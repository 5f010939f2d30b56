"""Which items are drawn next? Prioritised, uniform and first-in-first-out, by row position. Randomness is handed in.

A sampler sees positions only; what an item is and when it may no longer be drawn is the table's affair. A sampler from outside is named
`package.module:attr` and called as `Sampler(capacity_rows, settings)`; tests/contracts checks any of them.
"""

from collections.abc import Callable
from typing import Protocol

import numpy as np

from replay.orders import ArrivalQueue, LeastTree
from replay.sum_tree import SumTree
from sojourn.config.schema import TableSettings


class Sampler(Protocol):
    """Items that can be drawn, each known by its row position, at most once.

    takes_out: a draw takes its items out, so that each is drawn once until it is added again; otherwise draws are with replacement.
    """

    takes_out: bool

    @property
    def total(self) -> float:
        """Sum of the leaves: what a leaf is divided by to give its probability."""

    def ready(self, started_before_s: float) -> int:
        """Items that a draw could return now."""

    def add(self, positions: np.ndarray, leaves: np.ndarray, started_s: np.ndarray) -> None:
        """New items int64[N]: leaves float64[N] = priority ** exponent, started_s float64[N] of their first actions."""

    def put_back(self, positions: np.ndarray, leaves: np.ndarray, started_s: np.ndarray) -> None:
        """Items that were taken out and handed back: drawn before all others, where there is an order."""

    def update(self, positions: np.ndarray, leaves: np.ndarray) -> None:
        """New leaves of items that are held."""

    def discard(self, positions: np.ndarray) -> None:
        """Forget positions int64[N]; those not held are ignored."""

    def draw(self, size: int, batches: int, started_before_s: float, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """As many whole batches as it can serve, at most `batches`: positions int64 and their probabilities float64 [k * size].

        started_before_s: only samplers in order of start heed it.
        """

    def check(self) -> None:
        """Prove the invariants, or raise AssertionError."""


class PrioritisedSampler:
    """Draws in proportion to the leaves, stratified: element i of a batch falls into the i-th of `size` equal parts of the total.

    Source: Schaul et al. 2016, appendix B.2.1. An item of priority zero is never drawn.
    """

    takes_out = False

    def __init__(self, capacity_rows: int, settings: TableSettings) -> None:
        self._tree = SumTree(capacity_rows)

    @property
    def total(self) -> float:
        return self._tree.total

    def ready(self, started_before_s: float) -> int:
        return self._tree.positive

    def add(self, positions: np.ndarray, leaves: np.ndarray, started_s: np.ndarray) -> None:
        self._tree.set(positions, leaves)

    def put_back(self, positions: np.ndarray, leaves: np.ndarray, started_s: np.ndarray) -> None:
        self.add(positions, leaves, started_s)

    def update(self, positions: np.ndarray, leaves: np.ndarray) -> None:
        self._tree.set(positions, leaves)

    def discard(self, positions: np.ndarray) -> None:
        self._tree.set(positions, np.zeros(len(positions)))

    def draw(self, size: int, batches: int, started_before_s: float, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        if self._tree.positive == 0:
            return np.empty(0, np.int64), np.empty(0)
        parts = np.arange(size) + rng.random((batches, size))
        return self._tree.draw(parts.ravel() / size)

    def check(self) -> None:
        self._tree.check()


class UniformSampler(PrioritisedSampler):
    """Every item alike: the same tree with leaves of one. Priorities are kept by the table, but not drawn by."""

    def add(self, positions: np.ndarray, leaves: np.ndarray, started_s: np.ndarray) -> None:
        super().add(positions, np.ones(len(positions)), started_s)

    def update(self, positions: np.ndarray, leaves: np.ndarray) -> None:
        return


class FifoSampler:
    """First in, first out: in order of completion (as items became drawable) or of start (when their first action began).

    Draws take items out. Handed-back items come first, in the order in which they were handed back. In order of start an item waits
    while an action that began before it is still running.
    """

    takes_out = True

    def __init__(self, capacity_rows: int, settings: TableSettings) -> None:
        self._by_start = settings.order == "start"
        self._returned = ArrivalQueue(capacity_rows)
        self._arrived = ArrivalQueue(capacity_rows)
        self._started = LeastTree(capacity_rows if self._by_start else 1)

    @property
    def total(self) -> float:
        return float(len(self._returned) + len(self._arrived))

    def ready(self, started_before_s: float) -> int:
        fresh = self._started.count(started_before_s) if self._by_start else len(self._arrived)
        return len(self._returned) + fresh

    def add(self, positions: np.ndarray, leaves: np.ndarray, started_s: np.ndarray) -> None:
        self._arrived.add(positions)
        if self._by_start:
            self._started.set(positions, started_s)

    def put_back(self, positions: np.ndarray, leaves: np.ndarray, started_s: np.ndarray) -> None:
        self._returned.add(positions)

    def update(self, positions: np.ndarray, leaves: np.ndarray) -> None:
        return

    def discard(self, positions: np.ndarray) -> None:
        self._returned.discard(positions)
        self._arrived.discard(positions)
        if self._by_start:
            self._started.discard(positions)

    def draw(self, size: int, batches: int, started_before_s: float, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        count = min(batches, self.ready(started_before_s) // size) * size
        probability = np.full(count, 1.0 / max(1.0, self.total))
        returned = self._returned.pop(count)
        return np.concatenate([returned, self._pop_fresh(count - len(returned))]), probability

    def _pop_fresh(self, count: int) -> np.ndarray:
        if not self._by_start:
            return self._arrived.pop(count)
        fresh = self._started.pop(count)
        self._arrived.discard(fresh)
        return fresh

    def check(self) -> None:
        self._returned.check()
        self._arrived.check()
        self._started.check()


SAMPLERS: dict[str, Callable[[int, TableSettings], Sampler]] = {
    "prioritised": PrioritisedSampler,
    "uniform": UniformSampler,
    "fifo": FifoSampler,
}
