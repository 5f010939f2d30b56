"""How does a table's state outlive the process? Pages of 4096 row numbers, packed, and what they say when items reappear. No I/O.

A page holds, for each row number, the priority of the item that starts there (NaN: no item yet, -1: it is gone) and its times sampled.
Stored chunks say which rows exist; appended again they make the same items with the same keys, and pages say what became of them.
"""

from collections.abc import Iterable

import numpy as np

from replay.answers import Page
from replay.blocks import Blocks
from replay.items import GONE, LEASED, LIVE, Items
from replay.kernels import kernel
from replay.layout import NUMBER_WORD
from replay.rows import PAGE_ROWS
from sojourn.errors import ValidationError

PAGE_BYTES = PAGE_ROWS * 8
ITEM_GONE = -1.0


class DirtyPages:
    """Pages of one table that changed since they were last taken."""

    def __init__(self) -> None:
        self._pages: set[int] = set()

    def __len__(self) -> int:
        return len(self._pages)

    def add(self, pages: Iterable[int]) -> None:
        self._pages.update(pages)

    def take(self, most: int | None) -> list[int]:
        """The lowest numbers first, at most `most`."""
        taken = sorted(self._pages)[:most]
        self._pages.difference_update(taken)
        return taken


def pages_of_blocks(blocks: Blocks, marked: np.ndarray) -> list[int]:
    """Pages of the rows in marked blocks, bool[blocks], some of them more than once."""
    found = np.empty(len(marked) << blocks.shift, np.int64)
    pages: list[int] = np.unique(found[: list_pages(blocks, marked, found)]).tolist()
    return pages


def page_body(items: Items, positions: np.ndarray, exists: np.ndarray) -> bytes:
    """Packed state of one page. positions int64[4096]: of its row numbers, -1 for none; exists bool[4096]: the number was given."""
    state = np.where(positions >= 0, items.state[positions], GONE)
    held = (state == LIVE) | (state == LEASED)
    gone = np.where(exists & (state == GONE), np.float32(ITEM_GONE), np.float32(np.nan))
    priority = np.where(held, items.priority[positions], gone).astype("<f4")
    times = np.where(held, items.times[positions], 0).astype("<u4")
    return priority.tobytes() + times.tobytes()


class RestoredPages:
    """What the pages of a snapshot say of one table's items, until all stored chunks have been appended again."""

    def __init__(self) -> None:
        self._pages: dict[int, tuple[np.ndarray, np.ndarray]] = {}

    def add(self, page: Page) -> None:
        """Raises ValidationError for a body of another size."""
        if len(page.body) != PAGE_BYTES:
            raise ValidationError(
                f"page {page.number} of table {page.table!r} has {len(page.body)} bytes instead of {PAGE_BYTES}"
            )
        priority = np.frombuffer(page.body, "<f4", PAGE_ROWS)
        self._pages[page.number] = priority, np.frombuffer(page.body, "<u4", PAGE_ROWS, 4 * PAGE_ROWS)

    def look_up(self, keys: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Priority float32[N] (NaN: not known, -1: gone) and times sampled uint32[N] of keys int64[N]."""
        priority, times = np.full(len(keys), np.nan, np.float32), np.zeros(len(keys), np.uint32)
        for number in np.unique(keys // PAGE_ROWS).tolist():
            if number in self._pages:
                here = np.flatnonzero(keys // PAGE_ROWS == number)
                stored_priority, stored_times = self._pages[number]
                priority[here] = stored_priority[keys[here] % PAGE_ROWS]
                times[here] = stored_times[keys[here] % PAGE_ROWS]
        return priority, times


@kernel
def list_pages(blocks: Blocks, marked: np.ndarray, found: np.ndarray) -> int:
    """Write the page of every row of marked blocks into found, leaving out repeats side by side; returns how many."""
    count = 0
    last = -1
    for block in range(len(marked)):
        if not marked[block]:
            continue
        for position in range(block << blocks.shift, (block << blocks.shift) + blocks.fill[block]):
            page = blocks.words[position, NUMBER_WORD] // PAGE_ROWS
            if page != last:
                found[count] = page
                count += 1
                last = page
    return count
