"""Where do lists of varying length lie? A byte arena in segments; a block of the slab fills its own segments one after another.

A block's segments go back together when the block does, so nothing fragments. A row's lists lie side by side in one segment.
"""

from typing import NamedTuple

import numpy as np

from replay.kernels import kernel


class ArenaBlocks(NamedTuple):
    """Arrays of an arena of S segments.

    bytes uint8[S * segment_bytes].  free int32[S]: stack of free segments; counts int64[1]: its length.
    head int32[blocks]: the segment that a block is filling, -1 for none; used int64[blocks]: bytes taken in it.
    behind int32[S]: the segment that the block filled before.
    """

    segment_bytes: int
    bytes: np.ndarray
    free: np.ndarray
    counts: np.ndarray
    head: np.ndarray
    used: np.ndarray
    behind: np.ndarray


def make_arena(segments: int, segment_bytes: int, blocks: int) -> ArenaBlocks:
    """An empty arena; `segments` 0 where no column is ragged."""
    return ArenaBlocks(
        segment_bytes=segment_bytes,
        bytes=np.zeros(segments * segment_bytes, np.uint8),
        free=np.arange(segments - 1, -1, -1, dtype=np.int32),
        counts=np.array([segments], np.int64),
        head=np.full(blocks, -1, np.int32),
        used=np.zeros(blocks, np.int64),
        behind=np.full(segments, -1, np.int32),
    )


def segment_bytes_for(row_bytes: int, block_rows: int) -> int:
    """Bytes of a segment: at least one row's lists, and as much of a block's as fits in 4 KiB."""
    return max(row_bytes, min(4096, row_bytes * block_rows))


@kernel
def allot(arena: ArenaBlocks, block: int, size: int) -> int:
    """Byte offset of `size` bytes for a row of the block, -1 if no segment is free. A row without lists gets 0."""
    if size == 0:
        return 0
    if arena.head[block] < 0 or arena.used[block] + size > arena.segment_bytes:
        if arena.counts[0] == 0:
            return -1
        arena.counts[0] -= 1
        segment = arena.free[arena.counts[0]]
        arena.behind[segment] = arena.head[block]
        arena.head[block] = segment
        arena.used[block] = 0
    offset: int = arena.head[block] * arena.segment_bytes + arena.used[block]
    arena.used[block] += size
    return offset


@kernel
def release_segments(arena: ArenaBlocks, blocks: np.ndarray) -> None:
    """Give back every segment of the blocks int64[N]."""
    for block in blocks:
        segment = arena.head[block]
        while segment >= 0:
            arena.free[arena.counts[0]] = segment
            arena.counts[0] += 1
            segment = arena.behind[segment]
        arena.head[block] = -1
        arena.used[block] = 0
