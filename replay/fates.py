"""What became of a table's items, by the class of actors that they came from? Counts of those that came and of those that were lost.

No I/O, no clock. An item is lost if it leaves, or never enters, for another reason than a draw: evicted for room, expired at its
horizon, too late. Classes are the strata of the start log, whose numbers stand in the rows.
"""

import numpy as np

from replay.item_set import ItemSet
from replay.items import count_by_stratum
from replay.stratum import MOST_STRATA, Fate


class Fates:
    """The items of one table, counted until they are taken note of."""

    def __init__(self, items: ItemSet) -> None:
        self._items = items
        self._counts = np.zeros((len(Fate._fields), MOST_STRATA), np.int64)
        self._came, self._lost, self._undrawn = self._counts

    def came(self, positions: np.ndarray) -> None:
        """New items begin at positions int64[N]."""
        count_by_stratum(self._items.slab.blocks.bytes, positions, self._came)

    def turned_away(self, positions: np.ndarray) -> None:
        """Items would have begun at positions int64[N] and came too late."""
        for counts in (self._came, self._lost, self._undrawn):
            count_by_stratum(self._items.slab.blocks.bytes, positions, counts)

    def lost(self, positions: np.ndarray) -> None:
        """The live items at positions int64[N] are about to leave."""
        rows, times = self._items.slab.blocks.bytes, self._items.arrays.times
        count_by_stratum(rows, positions, self._lost)
        count_by_stratum(rows, positions[times[positions] == 0], self._undrawn)

    def take(self) -> dict[int, Fate]:
        """By number of stratum, since they were last taken; strata of which no item came or left are not there."""
        numbers = np.flatnonzero(self._counts.any(axis=0))
        found = {number: Fate(*self._counts[:, number].tolist()) for number in numbers.tolist()}
        self._counts[:] = 0
        return found
