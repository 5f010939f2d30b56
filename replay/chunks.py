"""Which stored chunks are still needed? Counts the rows of each that the slab holds. No I/O."""

import numpy as np

from replay.kernels import kernel
from replay.rows import PAGE_ROWS


class Chunks:
    """Ranges of row numbers, one per stored chunk, each in a slot of its own while any of its rows lies in the slab.

    Invariant: a slot is in use exactly while `rows_left` is above zero.
    """

    def __init__(self) -> None:
        self.first_row = np.zeros(256, np.int64)
        self.rows = np.zeros(256, np.int64)
        self.rows_left = np.zeros(256, np.int64)
        self._free = list(range(255, -1, -1))

    def open(self, first_row: int, rows: int) -> int:
        """A slot for a chunk of `rows` rows."""
        if not self._free:
            size = len(self.rows)
            for name in ("first_row", "rows", "rows_left"):
                setattr(self, name, np.concatenate([getattr(self, name), np.zeros(size, np.int64)]))
            self._free = list(range(2 * size - 1, size - 1, -1))
        slot = self._free.pop()
        self.first_row[slot], self.rows[slot], self.rows_left[slot] = first_row, rows, rows
        return slot

    def put_together(self, slots: np.ndarray, first_row: int, rows: int) -> int:
        """One slot for a range of rows, in the place of these: the chunks that it is made of."""
        rows_left = int(self.rows_left[slots].sum())
        self.rows_left[slots] = 0
        self._free += slots.tolist()
        slot = self.open(first_row, rows)
        self.rows_left[slot] = rows_left
        return slot

    def let_go(self, slots: np.ndarray) -> tuple[list[int], set[int]]:
        """Rows left the slab, given as the slot of each. Returns the first rows of chunks now unneeded, and the pages they spanned."""
        gone = np.empty(self.count, np.int64)
        gone = gone[: count_down(self.rows_left, slots, gone)]
        pages: set[int] = set()
        for slot in gone:
            first = int(self.first_row[slot])
            pages.update(range(first // PAGE_ROWS, (first + int(self.rows[slot]) - 1) // PAGE_ROWS + 1))
        self._free += gone.tolist()
        return self.first_row[gone].tolist(), pages

    def cover(self, page: int) -> bool:
        """Whether any chunk still needed has rows of the page."""
        last = self.first_row + self.rows - 1
        needed = (self.rows_left > 0) & (self.first_row < (page + 1) * PAGE_ROWS) & (last >= page * PAGE_ROWS)
        return bool(needed.any())

    @property
    def count(self) -> int:
        return len(self.rows) - len(self._free)


@kernel
def count_down(rows_left: np.ndarray, slots: np.ndarray, gone: np.ndarray) -> int:
    """Take one row off each of slots int32[N]; those that are left with none are listed in gone int64. Returns how many."""
    count = 0
    for slot in slots:
        rows_left[slot] -= 1
        if rows_left[slot] == 0:
            gone[count] = slot
            count += 1
    return count
