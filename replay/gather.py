"""How do windows of rows become the columns of a batch? Compiled copies straight into one allocation.

Output columns are views of that allocation, each starting on a 64-byte line, ready to be wrapped by Arrow without a copy. Column by
column over all items: a loop that only copies has no work between its cache misses, so they overlap.
"""

from typing import NamedTuple

import numpy as np

from replay.arena import ArenaBlocks
from replay.batch_columns import (
    AGE,
    DELAY,
    ELAPSED,
    END_KIND,
    ENDED_LAST,
    FIRST,
    FRAMES_ALL,
    FRAMES_LAST,
    LAG,
    LENGTHS_STEPS,
    LISTS_STEPS,
    MASK,
    START_AGE,
    STEP_COUNT,
    STEPS,
    batch_columns,
)
from replay.blocks import Blocks, next_row, walk_back
from replay.fetching import fetch_row, prefetch
from replay.items import Items
from replay.kernels import copy_bytes, fill_zeros, kernel
from replay.layout import DURATION_WORD, KIND_BYTE, START_WORD, RowLayout
from replay.rows import END_KIND_SHIFT, STEP, TERMINATED, TRUNCATED
from replay.windows import ItemShape
from sojourn.columns import Schema
from sojourn.config.schema import TableSettings
from sojourn.experience import Columns

GROUP_ITEMS = 64
AHEAD = 16  # items whose state is fetched before it is read


class Windows(NamedTuple):
    """Rows of N items: positions int64[N, back + length + 1], row 0 of an item in column `back`; steps int64[N] that count."""

    positions: np.ndarray
    steps: np.ndarray
    back: int
    length: int


class Memory(NamedTuple):
    """One allocation, seen as four kinds of elements."""

    bytes: np.ndarray
    int32s: np.ndarray
    words: np.ndarray
    float64s: np.ndarray


class GatherPlan:
    """The output columns of one table, and the operations that fill them."""

    def __init__(self, schema: Schema, layout: RowLayout, shape: ItemShape, settings: TableSettings) -> None:
        self._shape = shape
        self.outputs = batch_columns(schema, layout, shape.length, settings)
        fields = [(output.what, output.offset, output.width, output.detail, output.item_bytes) for output in self.outputs]
        self._operations = np.array(fields, np.int64)

    def gather(self, blocks: Blocks, arena: ArenaBlocks, items: Items, starts: np.ndarray, now_s: float) -> Columns:
        """Columns [N, ...] of the items that start at positions int64[N]."""
        count, shape = len(starts), self._shape
        sizes = self._operations[:, 4] * count
        padded = -(-sizes // 64) * 64
        begins = np.cumsum(padded) - padded
        raw = np.empty(int(padded.sum()) + 64, np.uint8)
        aligned = raw[-raw.ctypes.data % 64 :][: int(padded.sum())]
        memory = Memory(aligned, aligned.view(np.int32), aligned.view(np.int64), aligned.view(np.float64))
        positions, steps = np.empty((count, shape.back + shape.length + 1), np.int64), np.empty(count, np.int64)
        windows = Windows(positions, steps, shape.back, shape.length)
        gather_columns(blocks, arena, items, starts, windows, now_s, self._operations, begins, memory)
        return {
            output.name: aligned[begin : begin + size].view(output.dtype).reshape((count, *output.shape))
            for output, begin, size in zip(self.outputs, begins.tolist(), sizes.tolist(), strict=True)
        }


@kernel
def list_rows(blocks: Blocks, items: Items, starts: np.ndarray, windows: Windows) -> None:
    """Fill the windows of items: `back` rows before each, then rows 0 .. steps. Before the chain's first row that row is repeated.

    Everything is fetched a few items before it is read, and rows as soon as they are known.
    """
    positions, steps, back, _ = windows
    lengths, drawable_s, chain_index = items.length, items.drawable_s, blocks.chain_index
    previous_block, next_block, shift = blocks.previous_block, blocks.next_block, blocks.shift
    rows, row_bytes = blocks.bytes.ctypes.data, blocks.bytes.shape[1]
    for i in range(-AHEAD, len(starts)):
        if i + AHEAD < len(starts):
            start = starts[i + AHEAD]
            prefetch(lengths.ctypes.data + start * lengths.itemsize)
            prefetch(drawable_s.ctypes.data + start * drawable_s.itemsize)
            fetch_row(rows, row_bytes, start)
            if back > 0:
                prefetch(chain_index.ctypes.data + start * chain_index.itemsize)
        if i < 0:
            continue
        start = starts[i]
        steps[i] = lengths[start]
        behind = min(back, chain_index[start]) if back > 0 else 0
        position = walk_back(previous_block, shift, start, behind) if behind > 0 else start
        for j in range(back - behind + 1):
            positions[i, j] = position
        for j in range(back - behind + 1, back + steps[i] + 1):
            fetch_row(rows, row_bytes, position)
            position = next_row(next_block, shift, position)
            positions[i, j] = position
        fetch_row(rows, row_bytes, position)


@kernel
def gather_columns(
    blocks: Blocks,
    arena: ArenaBlocks,
    items: Items,
    starts: np.ndarray,
    windows: Windows,
    now_s: float,
    operations: np.ndarray,
    begins: np.ndarray,
    memory: Memory,
) -> None:
    """Fill windows and every output column. operations int64[C, 5], begins int64[C]: where each column starts in memory.

    A few items at a time: all their rows are fetched at once, and still in the caches when one column after the other reads them.
    """
    for first in range(0, len(starts), GROUP_ITEMS):
        end = min(first + GROUP_ITEMS, len(starts))
        group = Windows(windows.positions[first:end], windows.steps[first:end], windows.back, windows.length)
        list_rows(blocks, items, starts[first:end], group)
        for c in range(len(operations)):
            what, offset, width, detail, item_bytes = operations[c]
            at = begins[c] + first * item_bytes
            target = memory.bytes.ctypes.data + at
            if what == FIRST and width == 8 and offset % 8 == 0:
                copy_words(blocks.words, group, offset // 8, memory.words[at // 8 :])
            elif what == FIRST:
                copy_first(blocks.bytes, group, offset, width, target)
            elif what == STEPS:
                copy_steps(blocks.bytes, group, offset, width, target)
            elif what <= FRAMES_ALL:
                copy_frames(blocks.bytes, group, what, offset, width, target)
            elif what <= LISTS_STEPS:
                copy_lists(blocks.words, arena.bytes, group, what, offset // 8, width, detail, target)
            elif what <= STEP_COUNT:
                write_lengths(blocks.words, group, what, offset // 8, memory.int32s[at // 4 :])
            elif what <= ELAPSED:
                write_facts(blocks.reals, items.drawable_s, group, what, offset // 8, now_s, memory.float64s[at // 8 :])
            elif what == LAG:
                write_lags(items.lag, group, memory.words[at // 8 :])
            else:
                write_flags(blocks.bytes, group, what, detail, memory.bytes[at:])


@kernel
def copy_words(source: np.ndarray, windows: Windows, word: int, target: np.ndarray) -> None:
    """The value of row 0, eight bytes."""
    for i in range(len(windows.steps)):
        target[i] = source[windows.positions[i, windows.back], word]


@kernel
def copy_first(source: np.ndarray, windows: Windows, offset: int, width: int, target: int) -> None:
    """The value of row 0."""
    base, row_bytes = source.ctypes.data + offset, source.shape[1]
    for i in range(len(windows.steps)):
        copy_bytes(target + i * width, base + windows.positions[i, windows.back] * row_bytes, width)


@kernel
def copy_steps(source: np.ndarray, windows: Windows, offset: int, width: int, target: int) -> None:
    """One value a step, zeros behind the last."""
    base, row_bytes = source.ctypes.data + offset, source.shape[1]
    for i in range(len(windows.steps)):
        to = target + i * windows.length * width
        steps = windows.steps[i]
        for j in range(steps):
            copy_bytes(to + j * width, base + windows.positions[i, windows.back + j] * row_bytes, width)
        fill_zeros(to + steps * width, (windows.length - steps) * width)


@kernel
def copy_frames(source: np.ndarray, windows: Windows, what: int, offset: int, width: int, target: int) -> None:
    """Stacked observations, oldest frame first: of row 0, of row `steps`, or of rows 0 .. steps with zeros behind."""
    base, row_bytes = source.ctypes.data + offset, source.shape[1]
    frames = windows.back + 1
    slots = windows.length + 1 if what == FRAMES_ALL else 1
    for i in range(len(windows.steps)):
        first = windows.steps[i] if what == FRAMES_LAST else 0
        count = windows.steps[i] + 1 if what == FRAMES_ALL else 1
        to = target + i * slots * frames * width
        for j in range(count):
            for f in range(frames):
                row = windows.positions[i, first + j + f]
                copy_bytes(to + (j * frames + f) * width, base + row * row_bytes, width)
        fill_zeros(to + count * frames * width, (slots - count) * frames * width)


@kernel
def copy_lists(
    words: np.ndarray, arena: np.ndarray, windows: Windows, what: int, word: int, width: int, element_bytes: int, target: int
) -> None:
    """Lists of row 0 or of every step, padded with zeros to `width` bytes."""
    slots = windows.length if what == LISTS_STEPS else 1
    for i in range(len(windows.steps)):
        for j in range(slots):
            to = target + (i * slots + j) * width
            size = 0
            if j < windows.steps[i]:
                row = windows.positions[i, windows.back + j]
                size = words[row, word + 1] * element_bytes
                copy_bytes(to, arena.ctypes.data + words[row, word], size)
            fill_zeros(to + size, width - size)


@kernel
def write_lengths(words: np.ndarray, windows: Windows, what: int, word: int, lengths: np.ndarray) -> None:
    """Steps of the items, or elements of the lists of row 0 or of every step, 0 behind the last."""
    slots = windows.length if what == LENGTHS_STEPS else 1
    for i in range(len(windows.steps)):
        if what == STEP_COUNT:
            lengths[i] = windows.steps[i]
            continue
        for j in range(slots):
            held = j < windows.steps[i]
            lengths[i * slots + j] = words[windows.positions[i, windows.back + j], word + 1] if held else 0


@kernel
def write_flags(source: np.ndarray, windows: Windows, what: int, flag: int, flags: np.ndarray) -> None:
    """Masks, ends and end kinds as bytes; of step m - 1 for ENDED_LAST, of every step otherwise, 0 behind the last."""
    slots = 1 if what == ENDED_LAST else windows.length
    for i in range(len(windows.steps)):
        for j in range(slots):
            step = windows.steps[i] - 1 if what == ENDED_LAST else j
            value = 0
            if step < windows.steps[i]:
                at = windows.back + step
                row = windows.positions[i, at]
                if what == MASK:
                    value = 1
                elif what == END_KIND:
                    value = source[row, KIND_BYTE] >> END_KIND_SHIFT
                else:
                    value = ended(source[row, KIND_BYTE], source[windows.positions[i, at + 1], KIND_BYTE], flag)
            flags[i * slots + j] = value


@kernel
def ended(kind: int, kind_behind: int, flag: int) -> int:
    """Whether a step was terminated or truncated. A chain that ends without either was cut, which is a truncation."""
    cut = flag == TRUNCATED and kind & TERMINATED == 0 and kind_behind & STEP == 0
    return 1 if cut or kind & flag != 0 else 0


@kernel
def write_lags(lag: np.ndarray, windows: Windows, lags: np.ndarray) -> None:
    """Versions that each item was behind when it came."""
    for i in range(len(windows.steps)):
        lags[i] = lag[windows.positions[i, windows.back]]


@kernel
def write_facts(
    reals: np.ndarray, drawable_s: np.ndarray, windows: Windows, what: int, word: int, now_s: float, facts: np.ndarray
) -> None:
    """Seconds of each window: summed duration, delay from its last action's start until it was drawable, age since then, the same
    delay from its first action's start, or from the episode's start, which row 0 has in a word, to the end of its last action.
    """
    for i in range(len(windows.steps)):
        first = windows.positions[i, windows.back]
        last = windows.positions[i, windows.back + windows.steps[i] - 1]
        if what == DELAY:
            facts[i] = drawable_s[first] - reals[last, START_WORD]
        elif what == AGE:
            facts[i] = now_s - drawable_s[first]
        elif what == START_AGE:
            facts[i] = drawable_s[first] - reals[first, START_WORD]
        elif what == ELAPSED:
            facts[i] = reals[last, START_WORD] + reals[last, DURATION_WORD] - reals[first, word]
        else:
            facts[i] = 0.0
            for j in range(windows.steps[i]):
                facts[i] += reals[windows.positions[i, windows.back + j], DURATION_WORD]
