"""How does a message become bytes of the slab? What is known of it on its way in, and the compiled copies that write its rows.

No I/O, no clock. Positions are chosen before (`replay/lanes.py`); each row is written once.
"""

from dataclasses import dataclass

import numpy as np

from replay.arena import ArenaBlocks
from replay.blocks import Blocks
from replay.kernels import copy_bytes, kernel
from replay.layout import (
    DURATION_WORD,
    KIND_BYTE,
    LOG_PROB_FLOAT,
    NUMBER_WORD,
    PRIORITY_FLOAT,
    REWARD_FLOAT,
    START_WORD,
    STRATUM_BYTE,
    VERSION_WORD,
    RowLayout,
)
from replay.rows import Rows
from sojourn.experience import Columns


@dataclass(frozen=True)
class Incoming:
    """A message on its way into the slab, arrays [N].

    slots: lane slots.  start_s: of the actions, on the service's clock.  ragged_bytes: what a row's lists take in the arena.
    known_index: rows of the chain before this one, -1 unless rows are read back whose predecessors are gone.
    positions, ragged_at: where rows and lists were placed; filled as rows find room.
    beside: what the start log knows of the rows, `stratum` uint16 and `episode_start_s` float64.
    """

    rows: Rows
    first_row: int
    chunk: int
    slots: np.ndarray
    sequence: np.ndarray
    episode: np.ndarray
    kind: np.ndarray
    start_s: np.ndarray
    ragged_bytes: np.ndarray
    known_index: np.ndarray
    positions: np.ndarray
    ragged_at: np.ndarray
    beside: Columns


def nothing_beside(count: int) -> Columns:
    """Of so many rows that no start log knows: they are of the first stratum, and when their episodes began is not known."""
    return {"stratum": np.zeros(count, np.uint16), "episode_start_s": np.full(count, np.nan)}


def list_bytes(layout: RowLayout, rows: Rows) -> np.ndarray:
    """Arena bytes of each row's lists, every list rounded up to 8 bytes. int64[N]."""
    total = np.zeros(len(rows), np.int64)
    for place in layout.ragged:
        total += -(-np.diff(rows.ragged[place.column.name].offsets) * place.element_bytes // 8) * 8
    return total


def write_rows(layout: RowLayout, blocks: Blocks, arena: ArenaBlocks, incoming: Incoming, part: slice) -> None:
    """Write the rows of a part of a message, header and columns, where `incoming.positions` says."""
    rows, positions = incoming.rows, incoming.positions[part]
    numbers = np.arange(incoming.first_row + part.start, incoming.first_row + part.stop)
    sources = [
        (numbers, 8 * NUMBER_WORD),
        (rows.policy_version[part], 8 * VERSION_WORD),
        (rows.duration_s[part], 8 * DURATION_WORD),
        (incoming.start_s[part], 8 * START_WORD),
        (rows.reward[part], 4 * REWARD_FLOAT),
        (rows.log_prob[part], 4 * LOG_PROB_FLOAT),
        (rows.priority[part], 4 * PRIORITY_FLOAT),
        (rows.kind[part], KIND_BYTE),
        (incoming.beside["stratum"][part], STRATUM_BYTE),
        *((rows.columns[place.column.name][part], place.offset) for place in layout.fixed),
    ]
    if layout.episode_start_word:
        sources.append((incoming.beside["episode_start_s"][part], 8 * layout.episode_start_word))
    arrays = [np.ascontiguousarray(array) for array, _ in sources]
    plan = [
        (array.__array_interface__["data"][0], array.nbytes // len(array), offset)
        for array, (_, offset) in zip(arrays, sources, strict=True)
    ]
    write_fixed(blocks.bytes, positions, np.array(plan, np.int64))
    _write_lists(layout, blocks, arena, incoming, part)


def _write_lists(layout: RowLayout, blocks: Blocks, arena: ArenaBlocks, incoming: Incoming, part: slice) -> None:
    cursor = incoming.ragged_at[part].copy()
    for place in layout.ragged:
        column = incoming.rows.ragged[place.column.name]
        values = np.ascontiguousarray(column.values)
        address = values.__array_interface__["data"][0]
        offsets = np.array(column.offsets[part.start : part.stop + 1], np.int64)
        write_lists(
            blocks.words, arena.bytes, incoming.positions[part], place.offset // 8, address, offsets, place.element_bytes, cursor
        )


@kernel
def write_fixed(target: np.ndarray, positions: np.ndarray, sources: np.ndarray) -> None:
    """Copy N values of each source into the rows at positions. sources int64[C, 3]: address, bytes a value, offset in the row."""
    row_bytes = target.shape[1]
    for i in range(len(positions)):
        row = target.ctypes.data + positions[i] * row_bytes
        for c in range(len(sources)):
            width = sources[c, 1]
            copy_bytes(row + sources[c, 2], sources[c, 0] + i * width, width)


@kernel
def write_lists(
    words: np.ndarray,
    arena: np.ndarray,
    positions: np.ndarray,
    word: int,
    address: int,
    offsets: np.ndarray,
    element_bytes: int,
    cursor: np.ndarray,
) -> None:
    """Copy N lists into the arena at cursor int64[N], which moves on, and leave a handle (byte offset, elements) in each row."""
    for i in range(len(positions)):
        elements = offsets[i + 1] - offsets[i]
        size = elements * element_bytes
        words[positions[i], word] = cursor[i]
        words[positions[i], word + 1] = elements
        if size > 0:
            copy_bytes(arena.ctypes.data + cursor[i], address + offsets[i] * element_bytes, size)
        cursor[i] += (size + 7) // 8 * 8
