"""Where does each lane stand? The open lanes of all streams, and the placing of new rows behind their last ones.

A lane is (client, incarnation, slot of the actor). It keeps a hold on the blocks that its next rows may still need: those that hold its
last `reach` rows, and the one that it is filling. No I/O, no clock.
"""

from typing import NamedTuple

import numpy as np

from replay.answers import Stream
from replay.arena import ArenaBlocks, allot
from replay.blocks import FREE, Blocks, release_hold
from replay.kernels import kernel
from replay.layout import EPISODE_START, FLAGS_BYTE, KIND_BYTE
from replay.rows import STEP

MOST_LANES = 65_536  # slots of one actor


class LaneArrays(NamedTuple):
    """State of lane slots, each array [slots].

    tail int64: position of the last row, -1 for none.  sequence, episode int64: of the last row.
    closed bool: the chain has ended.  broken bool: the next chain does not begin at an episode's start.
    first_pin int32: oldest block that the lane holds, -1 for none.  pins int32: blocks from there to the tail.
    known bool: the lane has had a row.  last_number int64: number of the last row.
    """

    tail: np.ndarray
    sequence: np.ndarray
    episode: np.ndarray
    closed: np.ndarray
    broken: np.ndarray
    first_pin: np.ndarray
    pins: np.ndarray
    known: np.ndarray
    last_number: np.ndarray


def _fresh(slots: int) -> LaneArrays:
    return LaneArrays(
        tail=np.full(slots, -1, np.int64),
        sequence=np.full(slots, -1, np.int64),
        episode=np.full(slots, -1, np.int64),
        closed=np.ones(slots, np.bool_),
        broken=np.zeros(slots, np.bool_),
        first_pin=np.full(slots, -1, np.int32),
        pins=np.zeros(slots, np.int32),
        known=np.zeros(slots, np.bool_),
        last_number=np.zeros(slots, np.int64),
    )


class Lanes:
    """Slots of open lanes by stream and lane number.

    Invariant: a slot belongs to one lane or is free; a lane with a tail holds the blocks from `first_pin` to its tail's, each once.
    """

    def __init__(self) -> None:
        self.arrays = _fresh(64)
        self._free = list(range(63, -1, -1))
        self._slots: dict[Stream, np.ndarray] = {}  # by lane number, -1 for unknown
        self._spare: list[int] = []  # blocks that an ended lane left partly filled

    def find(self, stream: Stream, lanes: np.ndarray) -> np.ndarray:
        """Slots int64[N] of lane numbers, -1 for lanes that have had no row."""
        known = self._slots.get(stream)
        if known is not None and len(lanes) and lanes.max() < len(known):
            found: np.ndarray = known[lanes]
            return found
        slots = np.full(len(lanes), -1, np.int64)
        if known is not None:
            inside = lanes < len(known)
            slots[inside] = known[lanes[inside]]
        return slots

    def open(self, stream: Stream, lanes: np.ndarray, blocks: Blocks) -> np.ndarray:
        """Slots int64[N] of lane numbers; new lanes get one, and fill up a block that an ended lane left."""
        slots = self.find(stream, lanes)
        if len(slots) == 0 or slots.min() >= 0:
            return slots
        unknown = np.unique(lanes[slots < 0])
        self._grow(stream, int(unknown[-1]), len(unknown))
        self._slots[stream][unknown] = [self._take(blocks) for _ in unknown]
        return self.find(stream, lanes)

    def _grow(self, stream: Stream, highest_lane: int, new: int) -> None:
        by_lane = self._slots.get(stream, np.full(0, -1, np.int64))
        if highest_lane >= len(by_lane):
            longer = max(highest_lane + 1, 2 * len(by_lane)) - len(by_lane)
            self._slots[stream] = np.concatenate([by_lane, np.full(longer, -1, np.int64)])
        while len(self._free) < new:
            size = len(self.arrays.tail)
            self._free += range(2 * size - 1, size - 1, -1)
            both = zip(self.arrays, _fresh(size), strict=True)
            self.arrays = LaneArrays(*(np.concatenate([old, fresh]) for old, fresh in both))

    def _take(self, blocks: Blocks) -> int:
        slot = self._free.pop()
        for array, fresh in zip(self.arrays, _fresh(1), strict=True):
            array[slot] = fresh[0]
        while self._spare:
            block = self._spare.pop()
            if blocks.spare[block]:
                blocks.spare[block] = False
                self.arrays.tail[slot] = (block << blocks.shift) + blocks.fill[block] - 1
                self.arrays.first_pin[slot], self.arrays.pins[slot] = block, 1
                blocks.holds[block] += 1
                break
        return slot

    def of_stream(self, stream: Stream) -> np.ndarray:
        """Slots int64 of the stream's lanes."""
        known = self._slots.get(stream, np.zeros(0, np.int64))
        return known[known >= 0]

    def forget(self, stream: Stream, blocks: Blocks) -> None:
        """Let go of a stream's lanes and what they hold; their last blocks can be filled up by new lanes."""
        for slot in self.of_stream(stream):
            tail = int(self.arrays.tail[slot])
            self.release(int(slot), blocks)
            self._free.append(int(slot))
            self._offer(tail >> blocks.shift, blocks)
        self._slots.pop(stream, None)

    def _offer(self, block: int, blocks: Blocks) -> None:
        """Let a new lane fill up what an ended one left of a block that is still held."""
        if block < 0 or blocks.holds[block] == 0 or blocks.fill[block] == 1 << blocks.shift:
            return
        blocks.spare[block] = True
        self._spare.append(block)
        if len(self._spare) > 2 * len(blocks.fill):  # entries of blocks that were freed since
            self._spare = np.flatnonzero(blocks.spare).tolist()

    def release(self, slot: int, blocks: Blocks) -> None:
        """Drop the lane's holds and its tail: its next row begins a chain in another block."""
        release_pins(blocks, self.arrays, slot, 0)

    def oldest_pinned(self) -> int:
        """The slot holding blocks whose last row is oldest, -1 if none holds any."""
        holding = np.flatnonzero(self.arrays.pins > 0)
        return int(holding[self.arrays.last_number[holding].argmin()]) if len(holding) else -1

    @property
    def pinned_blocks(self) -> int:
        return int(self.arrays.pins.sum())

    @property
    def count(self) -> int:
        """Open lanes."""
        return len(self.arrays.tail) - len(self._free)

    def pinned(self, blocks: Blocks) -> np.ndarray:
        """Blocks that lanes hold, one entry a hold, for checks."""
        found: list[int] = []
        for slot in np.flatnonzero(self.arrays.pins):
            block = int(self.arrays.first_pin[slot])
            for _ in range(self.arrays.pins[slot]):
                found.append(block)
                block = int(blocks.next_block[block])
        return np.array(found, np.int64)


@kernel
def place_rows(
    blocks: Blocks,
    lanes: LaneArrays,
    arena: ArenaBlocks,
    slots: np.ndarray,
    sequence: np.ndarray,
    episode: np.ndarray,
    kind: np.ndarray,
    ragged_bytes: np.ndarray,
    known_index: np.ndarray,
    first_number: int,
    first: int,
    positions: np.ndarray,
    ragged_at: np.ndarray,
) -> int:
    """Give rows `first`... a position behind their lane's last row; returns the index of the first that found no room, or N.

    All arrays [N]. ragged_bytes: what the row's lists take.  known_index: of rows that are read back, -1 where the chain tells.
    positions, ragged_at int64[N] are filled: place in slab and arena.
    """
    mask = (1 << blocks.shift) - 1
    for i in range(first, len(slots)):
        lane = slots[i]
        tail = lanes.tail[lane]
        needs_block = tail < 0 or tail & mask == mask
        if needs_block and (blocks.counts[FREE] == 0 or (ragged_bytes[i] > 0 and arena.counts[0] == 0)):
            return i
        position = begin_block(blocks, lanes, lane) << blocks.shift if needs_block else tail + 1
        ragged_at[i] = allot(arena, position >> blocks.shift, ragged_bytes[i])
        if ragged_at[i] < 0:
            return i
        flags = 0
        index = 0
        if not lanes.closed[lane]:
            index = blocks.chain_index[tail] + 1
        elif not lanes.broken[lane]:
            flags = EPISODE_START
        if known_index[i] > index:
            index = known_index[i]
            flags = 0
        blocks.chain_index[position] = index
        blocks.bytes[position, FLAGS_BYTE] = flags
        blocks.fill[position >> blocks.shift] += 1
        lanes.tail[lane] = position
        lanes.sequence[lane] = sequence[i]
        lanes.episode[lane] = episode[i]
        lanes.closed[lane] = kind[i] & STEP == 0
        lanes.broken[lane] = False
        lanes.known[lane] = True
        lanes.last_number[lane] = first_number + i
        positions[i] = position
    return len(slots)


@kernel
def begin_block(blocks: Blocks, lanes: LaneArrays, lane: int) -> int:
    """Take a free block for the lane, hold it, and chain it behind the lane's last one if the chain goes on."""
    blocks.counts[FREE] -= 1
    block: int = blocks.free[blocks.counts[FREE]]
    blocks.holds[block] = 1
    tail = lanes.tail[lane]
    if tail >= 0:
        blocks.previous_block[block] = tail >> blocks.shift
        blocks.next_block[tail >> blocks.shift] = block
        lanes.pins[lane] += 1
    else:
        lanes.first_pin[lane] = block
        lanes.pins[lane] = 1
    return block


@kernel
def release_pins(blocks: Blocks, lanes: LaneArrays, lane: int, keep: int) -> None:
    """Drop the lane's oldest holds until it holds `keep` blocks; with none left it has no tail."""
    while lanes.pins[lane] > keep:
        block = lanes.first_pin[lane]
        lanes.first_pin[lane] = blocks.next_block[block]
        lanes.pins[lane] -= 1
        release_hold(blocks, block)
    if lanes.pins[lane] == 0:
        lanes.first_pin[lane] = -1
        lanes.tail[lane] = -1


@kernel
def advance_pins(blocks: Blocks, lanes: LaneArrays, slots: np.ndarray, reach: int) -> None:
    """Drop holds on blocks that lie more than `reach` rows back, or before the end of a closed chain."""
    mask = (1 << blocks.shift) - 1
    for lane in slots:
        if lanes.pins[lane] == 0:
            continue
        filled = (lanes.tail[lane] & mask) + 1
        needed = 0 if lanes.closed[lane] else reach
        keep = 1 + max(0, needed - filled + mask) // (mask + 1)
        if lanes.closed[lane] and filled == mask + 1:
            keep = 0
        release_pins(blocks, lanes, lane, keep)


@kernel
def close_tail(blocks: Blocks, lanes: LaneArrays, lane: int) -> bool:
    """Make an open lane's last row the closing observation of its chain, since its own result never came. False if it had none."""
    tail = lanes.tail[lane]
    cut = not lanes.closed[lane] and tail >= 0
    if cut:
        blocks.bytes[tail, KIND_BYTE] = 0
    lanes.closed[lane] = True
    return cut
