"""Where are the rows kept? One packed matrix of bytes in blocks, with what finds rows in it and counts what is still needed.

No I/O, no clock. Rows are written once and never moved; memory comes back block by block, when no item and no lane holds a block.
"""

from dataclasses import dataclass

import numpy as np

from replay.answers import Stream
from replay.arena import make_arena, release_segments, segment_bytes_for
from replay.blocks import FREE, FREED, Blocks, make_blocks, recycle
from replay.chunks import Chunks
from replay.kernels import copy_bytes, kernel
from replay.lanes import Lanes, advance_pins, close_tail, place_rows
from replay.layout import (
    DURATION_WORD,
    KIND_BYTE,
    LOG_PROB_FLOAT,
    NUMBER_WORD,
    PRIORITY_FLOAT,
    REWARD_FLOAT,
    START_WORD,
    VERSION_WORD,
    RowLayout,
)
from replay.row_index import RowIndex
from replay.rows import PAGE_ROWS, Rows
from sojourn.experience import Columns

NOT_KNOWN = {"stratum": 0, "episode_start_s": np.nan}
ROW_STATE_BYTES = 68  # a row beside its packed bytes: lane, sequence, episode, chunk, chain index, row index at half load


@dataclass(frozen=True)
class Incoming:
    """A message on its way into the slab, arrays [N].

    slots: lane slots.  start_s: of the actions, on the service's clock.  ragged_bytes: what a row's lists take in the arena.
    known_index: rows of the chain before this one, -1 unless rows are read back whose predecessors are gone.
    positions, ragged_at: where rows and lists were placed; filled as rows find room.
    beside: columns kept beside the rows, by name.
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
        self.beside: Columns = {}

    def keep_beside(self, names: set[str]) -> None:
        """Keep what tables need of the start log with each row: a stratum, the start of the episode (NaN: not known)."""
        if "stratum" in names:
            self.beside["stratum"] = np.zeros(self.capacity_rows, np.uint16)
        if "episode_elapsed_s" in names:
            self.beside["episode_start_s"] = np.full(self.capacity_rows, np.nan)

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

    def receive(
        self,
        rows: Rows,
        stream: Stream,
        first_row: int,
        arrived_s: float,
        known_index: np.ndarray | None = None,
        beside: Columns | None = None,
    ) -> Incoming:
        """Open the message's lanes and its chunk. arrived_s: now minus what the message was on its way."""
        lane_numbers = rows.lane.astype(np.int64)
        distinct, lane_of_row = np.unique(lane_numbers, return_inverse=True)
        slots = self.lanes.open(stream, distinct, self.blocks)
        return Incoming(
            rows=rows,
            first_row=first_row,
            chunk=self.chunks.open(first_row, len(rows)),
            slots=slots[lane_of_row],
            sequence=np.array(rows.sequence, np.int64),
            episode=np.array(rows.episode, np.int64),
            kind=np.array(rows.kind, np.uint8),
            start_s=arrived_s - rows.start_age_s,
            ragged_bytes=self._list_bytes(rows),
            known_index=np.full(len(rows), -1, np.int32) if known_index is None else known_index,
            positions=np.empty(len(rows), np.int64),
            ragged_at=np.empty(len(rows), np.int64),
            beside=beside or {},
        )

    def _list_bytes(self, rows: Rows) -> np.ndarray:
        """Arena bytes of each row's lists, every list rounded up to 8 bytes. int64[N]."""
        total = np.zeros(len(rows), np.int64)
        for place in self.layout.ragged:
            total += -(-np.diff(rows.ragged[place.column.name].offsets) * place.element_bytes // 8) * 8
        return total

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
            *((rows.columns[place.column.name][part], place.offset) for place in self.layout.fixed),
        ]
        arrays = [np.ascontiguousarray(array) for array, _ in sources]
        plan = [
            (array.__array_interface__["data"][0], array.nbytes // len(array), offset)
            for array, (_, offset) in zip(arrays, sources, strict=True)
        ]
        write_fixed(self.blocks.bytes, positions, np.array(plan, np.int64))
        self._write_lists(incoming, part)
        self.lane[positions] = rows.lane[part]
        self.sequence[positions] = incoming.sequence[part]
        self.episode[positions] = incoming.episode[part]
        self._chunk[positions] = incoming.chunk
        for name, kept in self.beside.items():
            kept[positions] = incoming.beside[name][part] if name in incoming.beside else NOT_KNOWN[name]
        self.index.insert(incoming.first_row + part.start, positions)

    def _write_lists(self, incoming: Incoming, part: slice) -> None:
        cursor = incoming.ragged_at[part].copy()
        for place in self.layout.ragged:
            column = incoming.rows.ragged[place.column.name]
            values = np.ascontiguousarray(column.values)
            address = values.__array_interface__["data"][0]
            offsets = np.array(column.offsets[part.start : part.stop + 1], np.int64)
            write_lists(
                self.blocks.words,
                self.arena.bytes,
                incoming.positions[part],
                place.offset // 8,
                address,
                offsets,
                place.element_bytes,
                cursor,
            )

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
        pages.update(np.unique(numbers // PAGE_ROWS).tolist())
        return Freed(freed, chunks, pages)

    def positions_of(self, blocks: np.ndarray) -> np.ndarray:
        """Positions int64 of all rows of the blocks."""
        offsets = np.arange(self.layout.block_rows)
        filled = offsets < self.blocks.fill[blocks][:, None]
        positions: np.ndarray = (blocks[:, None] * self.layout.block_rows + offsets)[filled]
        return positions

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
