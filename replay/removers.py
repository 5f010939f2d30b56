"""Which items leave a full table? The oldest, or those of lowest priority, by row position. No randomness.

`max_times_sampled` is not here: the table itself removes an item that was drawn often enough. A remover from outside is named
`package.module:attr` and called as `Remover(capacity_rows)`.
"""

from collections.abc import Callable
from typing import Protocol

import numpy as np

from replay.items import LIVE, Items
from replay.orders import ArrivalQueue, LeastTree


class Remover(Protocol):
    """All items of a table, each known by its row position, in the order in which they are to leave."""

    def add(self, positions: np.ndarray, priorities: np.ndarray) -> None:
        """New items int64[N] and their priorities float64[N], before the exponent."""

    def update(self, positions: np.ndarray, priorities: np.ndarray) -> None:
        """New priorities of items that are held."""

    def discard(self, positions: np.ndarray) -> None:
        """Forget positions int64[N]; those not held are ignored."""

    def pop(self, count: int) -> np.ndarray:
        """Take out the next `count` items to leave (fewer if there are no more). int64[<= count]."""

    def pop_for_room(self, items: Items) -> np.ndarray:
        """Take out items whose leaving soon frees a block: the slab is full before the table is. int64[>= 1] unless empty."""

    def check(self) -> None:
        """Prove the invariants, or raise AssertionError."""


class FifoRemover:
    """The oldest first: every item stays for exactly `capacity` further ones, however long its action took."""

    def __init__(self, capacity_rows: int) -> None:
        self._queue = ArrivalQueue(capacity_rows)

    def add(self, positions: np.ndarray, priorities: np.ndarray) -> None:
        self._queue.add(positions)

    def update(self, positions: np.ndarray, priorities: np.ndarray) -> None:
        return

    def discard(self, positions: np.ndarray) -> None:
        self._queue.discard(positions)

    def pop(self, count: int) -> np.ndarray:
        return self._queue.pop(count)

    def pop_for_room(self, items: Items) -> np.ndarray:
        """A 64th of what it holds: strictly the oldest, so that no lane's items stay for longer than another's."""
        return self._queue.pop(1 + len(self._queue) // 64)

    def check(self) -> None:
        self._queue.check()


class LowestPriorityRemover:
    """The lowest priority first. What such a table holds cannot be weighted back (docs/duration.md)."""

    def __init__(self, capacity_rows: int) -> None:
        self._tree = LeastTree(capacity_rows)

    def add(self, positions: np.ndarray, priorities: np.ndarray) -> None:
        self._tree.set(positions, priorities)

    def update(self, positions: np.ndarray, priorities: np.ndarray) -> None:
        self._tree.set(positions, priorities)

    def discard(self, positions: np.ndarray) -> None:
        self._tree.discard(positions)

    def pop(self, count: int) -> np.ndarray:
        return self._tree.pop(count)

    def pop_for_room(self, items: Items) -> np.ndarray:
        """All items of the 64th of its blocks that are worth least: survivors scattered over many blocks hold whole ones each."""
        by_block = (len(items.in_block), -1)
        live = (items.state == LIVE).reshape(by_block)
        worth = np.where(live, items.priority.reshape(by_block), 0.0).sum(1)
        occupied = np.flatnonzero(live.any(1))
        cheapest = occupied[np.argsort(worth[occupied], kind="stable")[: 1 + len(occupied) // 64]]
        positions = np.flatnonzero(live[cheapest].ravel())
        rows = live.shape[1]
        victims: np.ndarray = cheapest[positions // rows] * rows + positions % rows
        self.discard(victims)
        return victims

    def check(self) -> None:
        self._tree.check()


class OldestStartRemover:
    """The least start first: for these the table gives when the first action began, or its policy version, instead of a priority.

    `pop_below` is how the table's horizon takes out what is too old, full or not.
    """

    def __init__(self, capacity_rows: int) -> None:
        self._tree = LeastTree(capacity_rows)

    def add(self, positions: np.ndarray, priorities: np.ndarray) -> None:
        self._tree.set(positions, priorities)

    def update(self, positions: np.ndarray, priorities: np.ndarray) -> None:
        return

    def discard(self, positions: np.ndarray) -> None:
        self._tree.discard(positions)

    def pop(self, count: int) -> np.ndarray:
        return self._tree.pop(count)

    def pop_below(self, start: float) -> np.ndarray:
        """Take out all items whose start lies below this. int64[N]."""
        return self._tree.pop_below(start)

    def pop_for_room(self, items: Items) -> np.ndarray:
        """A 64th of what it holds, the oldest."""
        return self._tree.pop(1 + self._tree.count(np.inf) // 64)

    def check(self) -> None:
        self._tree.check()


REMOVERS: dict[str, Callable[[int], Remover]] = {
    "fifo": FifoRemover,
    "lowest_priority": LowestPriorityRemover,
    "start_age": OldestStartRemover,
    "version_age": OldestStartRemover,
}
