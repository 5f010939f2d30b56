"""The items of one table as a set that keeps its books: begin, end, look up by key, count, page out. No policy, no I/O, no clock."""

import numpy as np

from replay.blocks import hold_windows
from replay.items import (
    GONE,
    LEASED,
    LIVE,
    begin_items,
    count_draws,
    end_items,
    first_drawable_s,
    make_items,
    set_priorities,
    window_seconds,
)
from replay.layout import START_WORD
from replay.rows import PAGE_ROWS
from replay.slab import Freed, Slab
from replay.snapshot import DirtyPages, page_body, pages_of_blocks
from replay.windows import ItemShape, initial_priorities

OLDEST_FOR_S = 1.0  # how long the oldest item's time is remembered; finding it reads the whole table


class ItemSet:
    """Items over a slab, each known by the position of its first row; its key is that row's number.

    Invariant: an item that is live or leased holds every block that its window touches.
    """

    def __init__(self, slab: Slab, shape: ItemShape) -> None:
        self.slab, self.shape = slab, shape
        self._shift = slab.blocks.shift
        self.arrays = make_items(slab.capacity_rows, len(slab.blocks.fill))
        self._count = 0
        self.leased_count = 0
        self._dirty = DirtyPages()
        self._looked_up_s, self._oldest_s = -np.inf, 0.0  # when the oldest item was looked up, and since when it was drawable

    def __len__(self) -> int:
        """Items, live or leased."""
        return self._count

    @property
    def blocks_in_use(self) -> int:
        """Blocks in which items start."""
        return int(np.count_nonzero(self.arrays.in_block))

    def find(self, positions: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Items that new rows at positions int64[N] complete: see `ItemShape.find`."""
        if self.keeps_chains:
            self.arrays.dirty[positions >> self._shift] = True
        return self.shape.find(self.slab.blocks, self.arrays.state, positions)

    def initial_priorities(self, starts: np.ndarray, lengths: np.ndarray, without: float) -> np.ndarray:
        """The largest finite priority that the actor gave in each window; `without` where it gave none. float32[N]."""
        priorities = np.empty(len(starts), np.float32)
        initial_priorities(self.slab.blocks, starts, lengths, without, priorities)
        return priorities

    @property
    def keeps_chains(self) -> bool:
        """Whether a snapshot must say where rows stand in their chain: starts are counted from its first row."""
        return self.shape.period > 1

    def begin(self, starts: np.ndarray, lengths: np.ndarray, priorities: np.ndarray, drawable_s: np.ndarray) -> None:
        """Make live items: starts, lengths int64[N], priorities float32[N], drawable_s float64[N]."""
        begin_items(self.slab.blocks, self.arrays, starts, lengths, priorities, drawable_s, self.shape.back)
        self._count += len(starts)

    def end(self, positions: np.ndarray) -> int:
        """Remove the items at positions int64[N] for good, where there are any; returns how many."""
        ended, leased = end_items(self.slab.blocks, self.arrays, positions, self.shape.back)
        self._count -= ended
        self.leased_count -= leased
        if self._count == 0:
            self.arrays.sums[:] = 0.0  # whatever rounding had left
        return int(ended)

    def never(self, positions: np.ndarray) -> None:
        """No item is to be made at positions int64[N]: it was removed in an earlier life."""
        self.arrays.state[positions] = GONE
        self.arrays.dirty[positions >> self._shift] = True

    def lease(self, positions: np.ndarray) -> None:
        """Distinct live items go on lease."""
        self.arrays.state[positions] = LEASED
        self.leased_count += len(positions)

    def unlease(self, positions: np.ndarray) -> None:
        """Distinct leased items come back."""
        self.arrays.state[positions] = LIVE
        self.leased_count -= len(positions)

    def is_live(self, positions: np.ndarray) -> np.ndarray:
        """bool[N]."""
        live: np.ndarray = self.arrays.state[positions] == LIVE
        return live

    def leased(self, keys: np.ndarray) -> np.ndarray:
        """Positions int64 of those keys uint64[N] whose items are on lease."""
        return self._in_state(keys, LEASED)

    def live(self, keys: np.ndarray) -> np.ndarray:
        """Positions int64 of those keys uint64[N] whose items are live."""
        return self._in_state(keys, LIVE)

    def _in_state(self, keys: np.ndarray, state: int) -> np.ndarray:
        positions = self.slab.index.find(keys.astype(np.int64))
        positions = positions[positions >= 0]
        found: np.ndarray = positions[self.arrays.state[positions] == state]
        return found

    def keys(self, positions: np.ndarray) -> np.ndarray:
        """Keys uint64[N]."""
        return self.slab.numbers(positions).astype(np.uint64)

    def started_s(self, positions: np.ndarray) -> np.ndarray:
        """When items' first actions began, on the service's clock. float64[N]."""
        started: np.ndarray = self.slab.blocks.reals[positions, START_WORD]
        return started

    def set_priorities(self, keys: np.ndarray, priorities: np.ndarray) -> np.ndarray:
        """Set float32[N] by key uint64[N]; returns the positions int64 of the items that there were."""
        positions = self.slab.index.find(keys.astype(np.int64))
        applied = np.empty(len(keys), np.int64)
        count = set_priorities(self._shift, self.arrays, positions, priorities, applied)
        return applied[:count]

    def count_draws(self, positions: np.ndarray, most: int = 0) -> np.ndarray:
        """Count a draw of each position int64[N]; times sampled uint32[N], 0 where it had been drawn `most` times before."""
        times = np.empty(len(positions), np.uint32)
        count_draws(self._shift, self.arrays, positions, most, times)
        return times

    def look_up(self, keys: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Of keys int64[N]: priority float32[N], NaN where no item is held, and times sampled uint32[N]."""
        positions = self.slab.index.find(keys)
        held = (positions >= 0) & np.isin(self.arrays.state[positions], (LIVE, LEASED))
        priority = np.where(held, self.arrays.priority[positions], np.float32(np.nan))
        return priority, np.where(held, self.arrays.times[positions], np.uint32(0))

    def lengths(self, positions: np.ndarray) -> np.ndarray:
        """Steps int64[N] of items."""
        steps: np.ndarray = self.arrays.length[positions].astype(np.int64)
        return steps

    def seconds(self, starts: np.ndarray, lengths: np.ndarray) -> np.ndarray:
        """Summed durations of windows, float64[N]."""
        duration_s = np.empty(len(starts))
        window_seconds(self.slab.blocks, starts, lengths, duration_s)
        return duration_s

    def mean_age_s(self, now_s: float) -> float:
        return now_s - self.arrays.sums[0] / self._count if self._count else 0.0

    def mean_duration_s(self) -> float:
        return float(self.arrays.sums[1] / self._count) if self._count else 0.0

    def oldest_s(self, now_s: float) -> float:
        """Age of the oldest item, looked up at most once a second."""
        if self._count == 0:
            return 0.0
        if abs(now_s - self._looked_up_s) >= OLDEST_FOR_S:
            self._looked_up_s, self._oldest_s = now_s, float(first_drawable_s(self._shift, self.arrays))
        return now_s - self._oldest_s

    def drawable_before(self, limit_s: float) -> np.ndarray:
        """Positions int64 of live items that could be drawn before this time of the service's clock. Reads all items."""
        positions: np.ndarray = np.flatnonzero((self.arrays.state == LIVE) & (self.arrays.drawable_s < limit_s))
        return positions

    def forget(self, freed: Freed) -> None:
        """Rows left the slab: their positions can hold other rows' items from now on."""
        by_block = (len(self.arrays.in_block), -1)
        self.arrays.state.reshape(by_block)[freed.blocks] = 0
        self.arrays.dirty[freed.blocks] = False
        self._dirty.add(freed.pages)

    def mark_all_dirty(self) -> None:
        self.arrays.dirty[:] = True

    @property
    def pages_left(self) -> int:
        """Pages of the current pass that were not taken yet."""
        return self._dirty.left

    def begin_pages(self) -> None:
        """Begin a pass over all pages that changed since the last one began."""
        self._dirty.add(pages_of_blocks(self.slab.blocks, self.arrays.dirty))
        self.arrays.dirty[:] = False
        self._dirty.begin_pass()

    def take_pages(self, most: int, next_row_number: int) -> list[tuple[int, bytes]]:
        """Numbers and bodies of the next pages of the pass; an empty body where no row of the page is needed."""
        return [(number, self._page(number, next_row_number)) for number in self._dirty.take(most)]

    def _page(self, number: int, next_row_number: int) -> bytes:
        numbers = np.arange(number * PAGE_ROWS, (number + 1) * PAGE_ROWS)
        positions = self.slab.index.find(numbers)
        if not (positions >= 0).any() and not self.slab.chunks.cover(number):
            return b""
        chain_index = self.slab.blocks.chain_index if self.keeps_chains else None
        return page_body(self.arrays, positions, numbers < next_row_number, chain_index)

    def check(self) -> None:
        """Counts agree with states, and holds of the slab are at least those of this table's items."""
        held = (self.arrays.state == LIVE) | (self.arrays.state == LEASED)
        assert np.count_nonzero(held) == self._count, "count of items"
        assert np.count_nonzero(self.arrays.state == LEASED) == self.leased_count, "count of leased items"
        by_block = held.reshape(len(self.arrays.in_block), -1).sum(1)
        assert (by_block == self.arrays.in_block).all(), "count of items by block"

    def holds(self) -> np.ndarray:
        """How often this table's items hold each block, reckoned anew. int64[blocks]."""
        anew = self.slab.blocks._replace(holds=np.zeros_like(self.slab.blocks.holds))
        held = np.flatnonzero((self.arrays.state == LIVE) | (self.arrays.state == LEASED))
        hold_windows(anew, held, self.lengths(held), self.shape.back, 1)
        return anew.holds.astype(np.int64)
