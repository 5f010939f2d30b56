"""Where are the rows kept? One packed matrix of bytes in blocks, with what finds rows in it and counts what is still needed.

No I/O, no clock. Rows are written once and never moved; memory comes back block by block, when no item and no lane holds a block.
"""

from dataclasses import dataclass

import numpy as np

from replay.answers import Stream
from replay.arena import make_arena, release_segments, segment_bytes_for
from replay.blocks import FREE, FREED, Blocks, filled_positions, make_blocks, recycle
from replay.chunks import Chunks
from replay.lanes import Lanes, advance_pins, close_tail, place_rows
from replay.layout import NUMBER_WORD, RowLayout
from replay.row_index import RowIndex
from replay.row_writing import Incoming, list_bytes, nothing_beside, write_rows
from replay.rows import PAGE_ROWS, Rows, run_starts
from sojourn.experience import Columns

ROW_STATE_BYTES = 68  # a row beside its packed bytes: lane, sequence, episode, chunk, chain index, row index at half load


@dataclass(frozen=True)
class Freed:
    """What left the slab: block numbers int64, first rows of chunks no longer needed, and the snapshot pages that changed by it."""

    blocks: np.ndarray
    chunks: list[int]
    pages: set[int]


class Slab:
    """All rows of a shard.

    Invariant: a block is free, or held by at least one item or lane; every row of a held block is found by its number.
    """

    def __init__(self, layout: RowLayout, blocks: int, arena_bytes: int) -> None:
        self.layout = layout
        self.blocks: Blocks = make_blocks(layout, blocks)
        segment_bytes = segment_bytes_for(layout.ragged_row_bytes, layout.block_rows)
        self.arena = make_arena(arena_bytes // segment_bytes if segment_bytes else 0, segment_bytes, blocks)
        self.lanes = Lanes()
        self.chunks = Chunks()
        capacity = blocks * layout.block_rows
        self.index = RowIndex(capacity)
        self.lane = np.zeros(capacity, np.uint32)
        self.sequence = np.zeros(capacity, np.int64)
        self.episode = np.zeros(capacity, np.int64)
        self._chunk = np.zeros(capacity, np.int32)

    @property
    def capacity_rows(self) -> int:
        return len(self.blocks.bytes)

    @property
    def rows(self) -> int:
        """Rows held now."""
        return int(self.blocks.fill.sum())

    @property
    def bytes(self) -> int:
        """Memory set aside for rows and lists."""
        return self.blocks.bytes.nbytes + self.arena.bytes.nbytes + ROW_STATE_BYTES * self.capacity_rows

    @property
    def has_room(self) -> bool:
        """Whether at least one row more can be placed, whatever its lists."""
        return self.free_blocks > 0 and (self.arena.segment_bytes == 0 or self.arena.counts[0] > 0)

    @property
    def free_blocks(self) -> int:
        return int(self.blocks.counts[FREE])

    def find_lanes(self, stream: Stream, lanes: np.ndarray) -> np.ndarray:
        """Slots int64[N] of the lanes of a life, uint32[N]; -1 of those that are not open."""
        return self.lanes.find(stream, lanes.astype(np.int64))

    def open_lanes(self, stream: Stream, lanes: np.ndarray) -> np.ndarray:
        """Slots int64[N] of the lanes of a life, given by row, uint32[N]; those that are new are opened."""
        return self.lanes.open(stream, lanes.astype(np.int64), self.blocks)

    def receive(
        self,
        rows: Rows,
        slots: np.ndarray,
        first_row: int,
        arrived_s: float | np.ndarray,
        known_index: np.ndarray | None = None,
        beside: Columns | None = None,
    ) -> Incoming:
        """Open the message's chunk. slots: `open_lanes`.  arrived_s: now minus what the message was on its way; float64[N] of a pack."""
        return Incoming(
            rows=rows,
            first_row=first_row,
            chunk=self.chunks.open(first_row, len(rows)),
            slots=slots,
            sequence=np.array(rows.sequence, np.int64),
            episode=np.array(rows.episode, np.int64),
            kind=np.array(rows.kind, np.uint8),
            start_s=arrived_s - rows.start_age_s,
            ragged_bytes=list_bytes(self.layout, rows),
            known_index=np.full(len(rows), -1, np.int32) if known_index is None else known_index,
            positions=np.empty(len(rows), np.int64),
            ragged_at=np.empty(len(rows), np.int64),
            beside=beside or nothing_beside(len(rows)),
        )

    def place(self, incoming: Incoming, first: int) -> int:
        """Write rows `first`... until one finds no room; returns its index, or N. `lanes` go on behind what was written."""
        stop = int(
            place_rows(
                self.blocks,
                self.lanes.arrays,
                self.arena,
                incoming.slots,
                incoming.sequence,
                incoming.episode,
                incoming.kind,
                incoming.ragged_bytes,
                incoming.known_index,
                incoming.first_row,
                first,
                incoming.positions,
                incoming.ragged_at,
            )
        )
        if stop > first:
            self._write(incoming, slice(first, stop))
        return stop

    def _write(self, incoming: Incoming, part: slice) -> None:
        positions = incoming.positions[part]
        write_rows(self.layout, self.blocks, self.arena, incoming, part)
        self.lane[positions] = incoming.rows.lane[part]
        self.sequence[positions] = incoming.sequence[part]
        self.episode[positions] = incoming.episode[part]
        self._chunk[positions] = incoming.chunk
        self.index.insert(incoming.first_row + part.start, positions)

    def unpin(self, slots: np.ndarray, reach: int) -> None:
        """Let lanes go of the blocks that lie more than `reach` rows back."""
        advance_pins(self.blocks, self.lanes.arrays, slots, reach)

    def cut(self, slots: np.ndarray) -> np.ndarray:
        """End the chains of lanes at their last rows. Returns these rows' positions int64, of the lanes that were open."""
        lanes = self.lanes.arrays
        return np.array([lanes.tail[slot] for slot in slots if close_tail(self.blocks, lanes, int(slot))], np.int64)

    def drop_oldest_lane(self) -> None:
        """Break the chain of the lane that was silent for longest and let go of its rows; its next row begins a new chain."""
        slot = self.lanes.oldest_pinned()
        self.lanes.release(slot, self.blocks)
        self.lanes.arrays.broken[slot] |= not self.lanes.arrays.closed[slot]
        self.lanes.arrays.closed[slot] = True

    def put_together(self, first_row: int, rows: int) -> bool:
        """The chunks of a range of rows are one from now on: needed as long as any row of it is here. False if none is."""
        positions = self.index.find(np.arange(first_row, first_row + rows))
        positions = positions[positions >= 0]
        if len(positions):
            slots = np.unique(self._chunk[positions]).astype(np.int64)
            self._chunk[positions] = self.chunks.put_together(slots, first_row, rows)
        return len(positions) > 0

    def numbers(self, positions: np.ndarray) -> np.ndarray:
        """Row numbers int64[N]."""
        found: np.ndarray = self.blocks.words[positions, NUMBER_WORD]
        return found

    def collect(self) -> Freed | None:
        """Recycle the blocks that nothing holds any more; None if there are none."""
        count = int(self.blocks.counts[FREED])
        if count == 0:
            return None
        freed = self.blocks.freed[:count].astype(np.int64)
        positions = self.positions_of(freed)
        numbers = self.numbers(positions)
        self.index.delete(numbers)
        chunks, pages = self.chunks.let_go(self._chunk[positions])
        release_segments(self.arena, freed)
        recycle(self.blocks)
        of_rows = numbers // PAGE_ROWS
        pages.update(of_rows[run_starts(of_rows)].tolist())
        return Freed(freed, chunks, pages)

    def positions_of(self, blocks: np.ndarray) -> np.ndarray:
        """Positions int64 of all rows of the blocks int64[N]."""
        positions = np.empty(len(blocks) << self.blocks.shift, np.int64)
        return positions[: filled_positions(self.blocks.shift, self.blocks.fill, blocks, positions)]

    def check(self) -> None:
        """Free and held blocks add up, and every row is found by its number."""
        self.index.check()
        blocks = self.blocks
        free = blocks.free[: self.free_blocks]
        assert (blocks.holds[free] == 0).all(), "a free block is held"
        held = np.setdiff1d(np.arange(len(blocks.fill)), free)
        assert (blocks.holds[held] > 0).all() or blocks.counts[FREED], "a block is lost"
        assert not blocks.fill[free].any(), "a free block has rows"
        positions = self.positions_of(held)
        assert (self.index.find(self.numbers(positions)) == positions).all(), "a row is not found by its number"
        assert len(self.index) == len(positions), "the index holds rows that are gone"
        used, counts = np.unique(self._chunk[positions], return_counts=True)
        assert (self.chunks.rows_left[used] == counts).all(), "a chunk's rows are miscounted"
        assert self.chunks.count == len(used), "a chunk without rows is kept"
