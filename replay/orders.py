"""Which position comes first? A queue in order of arrival, and a tree of least values. Both forget any position at any time.

Positions are row positions 0 .. capacity - 1, each held at most once. No randomness.
"""

import numpy as np

from replay.kernels import kernel
from replay.sum_tree import FAN_OUT, aligned, level_offsets

POPPED_AT_ONCE = 1_024


class ArrivalQueue:
    """Positions in the order in which they were added.

    Invariant: `_slot[p]` is where p lies in the ring, -1 if it is not held; other places between head and tail hold -1.
    """

    def __init__(self, capacity: int) -> None:
        self._ring = np.full(2 * capacity, -1, np.int32)
        self._slot = np.full(capacity, -1, np.int32)
        self._ends = np.zeros(3, np.int64)  # head, tail (both count on for ever), positions held

    def __len__(self) -> int:
        return int(self._ends[2])

    def add(self, positions: np.ndarray) -> None:
        """Put positions int64[N], none of them held, at the end."""
        if self._ends[1] + len(positions) - self._ends[0] > len(self._ring):
            close_ranks(self._ring, self._slot, self._ends)
        add_last(self._ring, self._slot, self._ends, positions)

    def discard(self, positions: np.ndarray) -> None:
        """Forget positions int64[N]; those not held are ignored."""
        discard_queued(self._ring, self._slot, self._ends, positions)

    def pop(self, count: int) -> np.ndarray:
        """Take the first positions out, at most `count`. int64[<= count]."""
        taken = np.empty(min(count, len(self)), np.int64)
        pop_first(self._ring, self._slot, self._ends, taken)
        return taken

    def check(self) -> None:
        """Ring and slots agree."""
        head, tail, held = (int(end) for end in self._ends)
        inside = self._ring[np.arange(head, tail) % len(self._ring)]
        assert np.count_nonzero(inside >= 0) == held == np.count_nonzero(self._slot >= 0), "count of held positions"
        here = np.flatnonzero(self._slot >= 0)
        assert (self._ring[self._slot[here]] == here).all(), "a slot points elsewhere"


class LeastTree:
    """Values of positions, and the least of them. A position that is not held counts as +inf.

    Invariant: every inner node is the least of its children.
    """

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self._offsets = level_offsets(capacity)
        self._nodes = aligned(int(self._offsets[-1]), np.inf)

    def set(self, positions: np.ndarray, values: np.ndarray) -> None:
        """Set values float64[N] < inf of positions int64[N]; of a position given twice the last stays."""
        set_least(self._nodes, self._offsets, positions, values)

    def discard(self, positions: np.ndarray) -> None:
        """Forget positions int64[N]."""
        set_least(self._nodes, self._offsets, positions, np.full(len(positions), np.inf))

    @property
    def least(self) -> float:
        """The least value held, +inf if there is none."""
        return float(self._nodes[self._offsets[-2]])

    def count(self, below: float) -> int:
        """Positions held with a value < below. Reads all leaves."""
        return int(np.count_nonzero(self._nodes[: self.capacity] < below))

    def pop(self, count: int) -> np.ndarray:
        """Take positions out, least value first, at most `count`. int64[<= count]."""
        taken = np.empty(count, np.int64)
        return taken[: pop_least(self._nodes, self._offsets, taken, np.inf)]

    def pop_below(self, value: float) -> np.ndarray:
        """Take all positions out whose value lies below this, least first. int64[N]."""
        parts = []
        while self.least < value:
            taken = np.empty(POPPED_AT_ONCE, np.int64)
            parts.append(taken[: pop_least(self._nodes, self._offsets, taken, value)])
        return np.concatenate(parts) if parts else np.empty(0, np.int64)

    def check(self) -> None:
        """Every inner node is the least of its children."""
        for level in range(len(self._offsets) - 2):
            below = self._nodes[self._offsets[level] : self._offsets[level + 1]].reshape(-1, FAN_OUT)
            assert (below.min(1) == self._nodes[self._offsets[level + 1] :][: len(below)]).all(), f"level {level}"


@kernel
def add_last(ring: np.ndarray, slot: np.ndarray, ends: np.ndarray, positions: np.ndarray) -> None:
    for position in positions:
        place = ends[1] % len(ring)
        ring[place] = position
        slot[position] = place
        ends[1] += 1
    ends[2] += len(positions)


@kernel
def discard_queued(ring: np.ndarray, slot: np.ndarray, ends: np.ndarray, positions: np.ndarray) -> None:
    for position in positions:
        if slot[position] >= 0:
            ring[slot[position]] = -1
            slot[position] = -1
            ends[2] -= 1


@kernel
def pop_first(ring: np.ndarray, slot: np.ndarray, ends: np.ndarray, taken: np.ndarray) -> None:
    count = 0
    while count < len(taken):
        place = ends[0] % len(ring)
        if ring[place] >= 0:
            taken[count] = ring[place]
            slot[ring[place]] = -1
            ring[place] = -1
            count += 1
        ends[0] += 1
    ends[2] -= len(taken)


@kernel
def close_ranks(ring: np.ndarray, slot: np.ndarray, ends: np.ndarray) -> None:
    """Move the held positions together behind the head; the ring holds twice what can be held, so this is rare."""
    kept = ends[0]
    for at in range(ends[0], ends[1]):
        position = ring[at % len(ring)]
        if position >= 0:
            ring[at % len(ring)] = -1
            ring[kept % len(ring)] = position
            slot[position] = kept % len(ring)
            kept += 1
    ends[1] = kept


@kernel
def set_least(nodes: np.ndarray, offsets: np.ndarray, positions: np.ndarray, values: np.ndarray) -> None:
    """Write leaves and recompute the path above each, only as far as it changes."""
    for i in range(len(positions)):
        node = positions[i]
        nodes[node] = values[i]
        for level in range(len(offsets) - 2):
            node //= FAN_OUT
            first = offsets[level] + node * FAN_OUT
            least = nodes[first]
            for j in range(first + 1, first + FAN_OUT):
                least = min(least, nodes[j])
            if nodes[offsets[level + 1] + node] == least:
                break
            nodes[offsets[level + 1] + node] = least


@kernel
def pop_least(nodes: np.ndarray, offsets: np.ndarray, taken: np.ndarray, below: float) -> int:
    """Take positions out, least value first, while there is one below `below` and room in taken. Returns how many."""
    root = len(offsets) - 2
    emptied = np.full(1, np.inf)
    for count in range(len(taken)):
        if not nodes[offsets[root]] < below:
            return count
        node = 0
        for level in range(root - 1, -1, -1):
            least = nodes[offsets[level + 1] + node]
            node *= FAN_OUT
            while nodes[offsets[level] + node] != least:
                node += 1
        taken[count] = node
        set_least(nodes, offsets, taken[count : count + 1], emptied)
    return len(taken)
