"""Where in the slab is the row of a given number? An open-addressing hash of row number -> position.

Rows come in runs of consecutive numbers, so eight consecutive numbers share a home cache line; the lines are scattered by Fibonacci
hashing. Deletion shifts followers back, so no tombstones pile up. No I/O, no randomness.
"""

import numpy as np

from replay.fetching import prefetch
from replay.kernels import kernel

AHEAD = 16  # row numbers whose home lines are fetched before they are looked at
GROUP_BITS = 3  # eight row numbers share a cache line
GOLDEN = -7046029254386353131  # 2 ** 64 / golden ratio, as int64 (Knuth, The Art of Computer Programming, volume 3, section 6.4)


class RowIndex:
    """Positions int64 of row numbers >= 1, at most `capacity` at a time; at most half full.

    Invariant: between a number's home slot and the slot it lies in no slot is empty.
    """

    def __init__(self, capacity: int) -> None:
        slots = max(64, 1 << (2 * capacity - 1).bit_length())
        self._numbers = np.zeros(slots, np.int64)  # 0: empty
        self._positions = np.zeros(slots, np.int32)

    def insert(self, first_number: int, positions: np.ndarray) -> None:
        """Consecutive row numbers, absent so far, at positions int64[N]."""
        insert_rows(self._numbers, self._positions, first_number, positions)

    def find(self, numbers: np.ndarray) -> np.ndarray:
        """Positions int64[N] of row numbers int64[N], -1 where absent."""
        found = np.empty(len(numbers), np.int64)
        find_rows(self._numbers, self._positions, numbers, found)
        return found

    def delete(self, numbers: np.ndarray) -> None:
        """Forget row numbers int64[N]; absent ones are ignored."""
        delete_rows(self._numbers, self._positions, numbers)

    def __len__(self) -> int:
        return int(np.count_nonzero(self._numbers))

    def check(self) -> None:
        """Every number is found where it lies, and the table is at most half full."""
        numbers = self._numbers[self._numbers != 0]
        assert len(numbers) <= len(self._numbers) // 2, f"{len(numbers)} rows in {len(self._numbers)} slots"
        assert len(np.unique(numbers)) == len(numbers), "a row number lies in two slots"
        assert (self.find(numbers) == self._positions[self._numbers != 0]).all(), "a row number cannot be found"


@kernel
def home_slot(number: int, mask: int) -> int:
    scattered = ((number >> GROUP_BITS) * GOLDEN) >> 20
    return ((scattered << GROUP_BITS) | (number & ((1 << GROUP_BITS) - 1))) & mask


@kernel
def slot_of(numbers: np.ndarray, number: int) -> int:
    """The slot that holds the number, or the empty one where it belongs."""
    mask = len(numbers) - 1
    slot = home_slot(number, mask)
    while numbers[slot] != 0 and numbers[slot] != number:
        slot = (slot + 1) & mask
    return slot


@kernel
def insert_rows(numbers: np.ndarray, positions: np.ndarray, first_number: int, new_positions: np.ndarray) -> None:
    for i in range(len(new_positions)):
        slot = slot_of(numbers, first_number + i)
        numbers[slot] = first_number + i
        positions[slot] = new_positions[i]


@kernel
def find_rows(numbers: np.ndarray, positions: np.ndarray, wanted: np.ndarray, found: np.ndarray) -> None:
    mask = len(numbers) - 1
    for i in range(-AHEAD, len(wanted)):
        if i + AHEAD < len(wanted):
            home = home_slot(wanted[i + AHEAD], mask)
            prefetch(numbers.ctypes.data + home * numbers.itemsize)
            prefetch(positions.ctypes.data + home * positions.itemsize)
        if i < 0:
            continue
        slot = slot_of(numbers, wanted[i])
        found[i] = positions[slot] if wanted[i] != 0 and numbers[slot] == wanted[i] else -1


@kernel
def delete_rows(numbers: np.ndarray, positions: np.ndarray, unwanted: np.ndarray) -> None:
    for i in range(len(unwanted)):
        slot = slot_of(numbers, unwanted[i])
        if unwanted[i] != 0 and numbers[slot] != 0:
            close_gap(numbers, positions, slot)


@kernel
def close_gap(numbers: np.ndarray, positions: np.ndarray, hole: int) -> None:
    """Empty a slot; move back each follower that could not be reached over the hole (Knuth's algorithm R)."""
    mask = len(numbers) - 1
    slot = hole
    while True:
        slot = (slot + 1) & mask
        if numbers[slot] == 0:
            break
        distance = (slot - home_slot(numbers[slot], mask)) & mask
        if distance >= ((slot - hole) & mask):
            numbers[hole] = numbers[slot]
            positions[hole] = positions[slot]
            hole = slot
    numbers[hole] = 0
