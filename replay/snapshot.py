"""How does a table's state outlive the process? Pages of 4096 row numbers, packed, and what they say when items reappear. No I/O.

A page holds, for each row number, the priority of the item that starts there (NaN: no item yet, -1: it is gone), its times sampled, and,
for sequences and segments, the row's place in its chain.
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
PAGE_BYTES_WITH_CHAINS = PAGE_ROWS * 12
ITEM_GONE = -1.0


class DirtyPages:
    """Pages of one table that changed, taken in passes: what changes during a pass is left for the next, so that each pass ends."""

    def __init__(self) -> None:
        self._changed: set[int] = set()
        self._pass: list[int] = []

    def add(self, pages: Iterable[int]) -> None:
        self._changed.update(pages)

    @property
    def left(self) -> int:
        """Pages of this pass that were not taken yet."""
        return len(self._pass)

    def begin_pass(self) -> None:
        self._pass = sorted(self._changed, reverse=True)
        self._changed = set()

    def take(self, most: int) -> list[int]:
        """The lowest of the pass that are left, at most `most`."""
        return [self._pass.pop() for _ in range(min(most, len(self._pass)))]


def pages_of_blocks(blocks: Blocks, marked: np.ndarray) -> list[int]:
    """Pages of the rows in marked blocks, bool[blocks], some of them more than once."""
    found = np.empty(len(marked) << blocks.shift, np.int64)
    pages: list[int] = np.unique(found[: list_pages(blocks, marked, found)]).tolist()
    return pages


def page_body(items: Items, positions: np.ndarray, exists: np.ndarray, chain_index: np.ndarray | None) -> bytes:
    """Packed state of one page. positions int64[4096]: of its row numbers, -1 for none; exists bool[4096]: the number was given.

    chain_index int32[P] where starts are counted from the chain's first row, which may be gone when rows are read back.
    """
    state = np.where(positions >= 0, items.state[positions], GONE)
    held = (state == LIVE) | (state == LEASED)
    gone = np.where(exists & (state == GONE), np.float32(ITEM_GONE), np.float32(np.nan))
    priority = np.where(held, items.priority[positions], gone).astype("<f4")
    times = np.where(held, items.times[positions], 0).astype("<u4")
    body = priority.tobytes() + times.tobytes()
    if chain_index is not None:
        body += np.where(positions >= 0, chain_index[positions], -1).astype("<i4").tobytes()
    return body


class RestoredPages:
    """What the pages of a snapshot say of one table's items, until all stored chunks have been appended again."""

    def __init__(self) -> None:
        self._pages: dict[int, list[np.ndarray]] = {}

    def add(self, page: Page) -> None:
        """Raises ValidationError for a body of another size."""
        if len(page.body) not in (PAGE_BYTES, PAGE_BYTES_WITH_CHAINS):
            raise ValidationError(
                f"page {page.number} of table {page.table!r} has {len(page.body)} bytes instead of {PAGE_BYTES}"
            )
        arrays = [np.frombuffer(page.body, dtype, PAGE_ROWS, at) for dtype, at in (("<f4", 0), ("<u4", 4 * PAGE_ROWS))]
        if len(page.body) == PAGE_BYTES_WITH_CHAINS:
            arrays.append(np.frombuffer(page.body, "<i4", PAGE_ROWS, PAGE_BYTES))
        self._pages[page.number] = arrays

    def look_up(self, keys: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Priority float32[N] (NaN: not known, -1: gone) and times sampled uint32[N] of keys int64[N]."""
        priority, times = np.full(len(keys), np.nan, np.float32), np.zeros(len(keys), np.uint32)
        self._read(0, keys, priority)
        self._read(1, keys, times)
        return priority, times

    def chain_indices(self, keys: np.ndarray) -> np.ndarray:
        """Rows of the chain before rows of numbers int64[N], -1 where the pages do not say. int32[N]."""
        index = np.full(len(keys), -1, np.int32)
        self._read(2, keys, index)
        return index

    def _read(self, which: int, keys: np.ndarray, values: np.ndarray) -> None:
        pages = keys // PAGE_ROWS
        for number in np.unique(pages).tolist():
            arrays = self._pages.get(number, [])
            if which < len(arrays):
                here = np.flatnonzero(pages == number)
                values[here] = arrays[which][keys[here] % PAGE_ROWS]


def restored_pages(pages: Iterable[Page], tables: Iterable[str]) -> dict[str, RestoredPages]:
    """Pages by table; those of other tables, and empty ones, are passed over."""
    restored = {name: RestoredPages() for name in tables}
    for page in pages:
        if page.table in restored and page.body:
            restored[page.table].add(page)
    return restored


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
