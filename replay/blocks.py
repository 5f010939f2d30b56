"""How do rows of a lane hang together in the slab? Blocks of rows, chained, with reference counts; compiled walks over them.

A position is `block << shift | offset`. Rows of a chain (one episode of one lane, up to where it is cut) follow one another inside a
block and go on at the start of its `next_block`; only the last block of a lane is partly filled. A block is held by the items whose
windows touch it, over all tables, and by the lane that may still need it; when the last hold goes it is listed in `freed`.
"""

from typing import NamedTuple

import numpy as np

from replay.kernels import kernel
from replay.layout import RowLayout


class Blocks(NamedTuple):
    """Arrays of a slab of P positions in blocks of R rows, W bytes a row.

    bytes uint8[P, W]; words int64, reals float64 [P, W / 8] and floats float32 [P, W / 4] are views of it.
    chain_index int32[P]: rows of the chain before this one.
    next_block, previous_block int32[P / R], -1 for none.  fill int32: rows written.  holds int32: references.
    spare bool[P / R]: partly filled, and its lane has ended.
    freed int32[P / R]: blocks whose last hold went; free int32[P / R]: stack of blocks to use.  counts int64[2]: lengths of these two.
    """

    shift: int
    bytes: np.ndarray
    words: np.ndarray
    reals: np.ndarray
    floats: np.ndarray
    chain_index: np.ndarray
    next_block: np.ndarray
    previous_block: np.ndarray
    fill: np.ndarray
    holds: np.ndarray
    spare: np.ndarray
    freed: np.ndarray
    free: np.ndarray
    counts: np.ndarray


FREED, FREE = 0, 1  # indices of Blocks.counts


def make_blocks(layout: RowLayout, blocks: int) -> Blocks:
    """Empty blocks, all of them free. The rows' memory is touched only as it is written."""
    rows = blocks * layout.block_rows
    memory = np.zeros(rows * layout.row_bytes + 64, np.uint8)
    skip = -memory.ctypes.data % 64
    packed = memory[skip : skip + rows * layout.row_bytes].reshape(rows, layout.row_bytes)
    none = np.full(blocks, -1, np.int32)
    return Blocks(
        shift=layout.block_rows.bit_length() - 1,
        bytes=packed,
        words=packed.view(np.int64),
        reals=packed.view(np.float64),
        floats=packed.view(np.float32),
        chain_index=np.zeros(rows, np.int32),
        next_block=none.copy(),
        previous_block=none.copy(),
        fill=np.zeros(blocks, np.int32),
        holds=np.zeros(blocks, np.int32),
        spare=np.zeros(blocks, np.bool_),
        freed=none.copy(),
        free=np.arange(blocks - 1, -1, -1, dtype=np.int32),
        counts=np.array([0, blocks], np.int64),
    )


@kernel
def walk_back(previous_block: np.ndarray, shift: int, position: int, rows: int) -> int:
    """The position so many rows earlier in the chain, -1 if its block is gone.

    Like the other walks it takes the arrays it needs: handing on all of `Blocks` costs more than the walk.
    """
    mask = (1 << shift) - 1
    while rows > position & mask:
        rows -= (position & mask) + 1
        before = previous_block[position >> shift]
        if before < 0:
            return -1
        position = (before << shift) | mask  # all but the last block of a lane are full
    return position - rows


@kernel
def next_row(next_block: np.ndarray, shift: int, position: int) -> int:
    """The position of the row behind, which must exist."""
    mask = (1 << shift) - 1
    return position + 1 if position & mask != mask else next_block[position >> shift] << shift


@kernel
def hold_windows(blocks: Blocks, starts: np.ndarray, lengths: np.ndarray, back: int, change: int) -> None:
    """Add `change` to the holds of every block that a window touches, for windows of lengths[i] steps from starts[i].

    A window reaches from `back` rows before its start (as far as its chain does) to the row behind its last step. Blocks that are left
    without a hold are listed as freed.
    """
    size = 1 << blocks.shift
    for i in range(len(starts)):
        before = min(back, blocks.chain_index[starts[i]])
        first = walk_back(blocks.previous_block, blocks.shift, starts[i], before)
        rows = (first & (size - 1)) + before + lengths[i] + 1  # counted from the first row of the first block
        block = first >> blocks.shift
        while rows > 0:
            blocks.holds[block] += change
            if blocks.holds[block] == 0:
                blocks.freed[blocks.counts[FREED]] = block
                blocks.counts[FREED] += 1
            block = blocks.next_block[block]
            rows -= size


@kernel
def release_hold(blocks: Blocks, block: int) -> None:
    """Take one hold off a block."""
    blocks.holds[block] -= 1
    if blocks.holds[block] == 0:
        blocks.freed[blocks.counts[FREED]] = block
        blocks.counts[FREED] += 1


@kernel
def filled_positions(shift: int, fill: np.ndarray, blocks: np.ndarray, positions: np.ndarray) -> int:
    """Write the positions of all rows of blocks int64[N] into int64[N << shift]; returns how many there are."""
    count = 0
    for block in blocks:
        for at in range(fill[block]):
            positions[count] = (block << shift) + at
            count += 1
    return count


@kernel
def recycle(blocks: Blocks) -> None:
    """Unlink the freed blocks and put them on the free stack."""
    for i in range(blocks.counts[FREED]):
        block = blocks.freed[i]
        before, behind = blocks.previous_block[block], blocks.next_block[block]
        if before >= 0:
            blocks.next_block[before] = -1
        if behind >= 0:
            blocks.previous_block[behind] = -1
        blocks.previous_block[block] = blocks.next_block[block] = -1
        blocks.fill[block] = 0
        blocks.spare[block] = False
        blocks.free[blocks.counts[FREE]] = block
        blocks.counts[FREE] += 1
    blocks.counts[FREED] = 0
