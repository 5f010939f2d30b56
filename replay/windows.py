"""Which rows make an item? N-step windows, sequences and whole segments over the rows of a chain. No I/O, no randomness.

A window of m steps starts at row s and needs rows s .. s + m: the observation of row s + m is what its last step led to. It is complete
when that row arrives. Where a chain ends (episode, truncation, cut), rows that still wait for their full length become shorter items.
"""

from dataclasses import dataclass

import numpy as np

from replay.blocks import Blocks, next_row, walk_back
from replay.kernels import kernel
from replay.layout import EPISODE_START, FLAGS_BYTE, KIND_BYTE, PRIORITY_FLOAT
from replay.rows import STEP
from sojourn.config.schema import TableSettings


@dataclass(frozen=True)
class ItemShape:
    """Which windows a table makes.

    length: steps of a full item.  period: steps between starts, counted from the chain's first row.
    burn_in: first steps that only warm a recurrent state; an item has more steps than that.
    overlapping: every start becomes an item at the chain's end; otherwise only one that adds a step to the item before it.
    back: rows before the start that belong to it, for stacked frames.
    """

    length: int
    period: int = 1
    burn_in: int = 0
    overlapping: bool = True
    back: int = 0

    @classmethod
    def of(cls, settings: TableSettings, frame_stack: int) -> "ItemShape":
        """Transitions start at every row; segments are sequences laid end to end."""
        back = frame_stack - 1
        match settings.item:
            case "transition":
                return cls(settings.n_step, back=back)
            case "sequence":
                return cls(settings.length, settings.period, settings.burn_in, False, back)
            case "segment":
                return cls(settings.length, settings.length, 0, False, back)

    @property
    def reach(self) -> int:
        """The newest rows of a chain that items may still need, so many of them."""
        return self.length + self.back

    @property
    def stride(self) -> int:
        """Steps that an item takes of a table's capacity."""
        return min(self.period, self.length)

    def find(self, blocks: Blocks, taken: np.ndarray, positions: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Items that new rows at positions int64[N] complete: start positions, lengths and completing rows' indices, int64 each.

        taken uint8[P]: not 0 where an item was made or removed before.
        """
        most = len(positions) + chain_ends(blocks.bytes, positions) * (self.length // self.period + 1)
        found = np.empty((3, most), np.int64)
        rule = np.array([self.length, self.period, self.burn_in, self.overlapping, self.back], np.int64)
        count = find_births(blocks, taken, positions, rule, found)
        return found[0, :count], found[1, :count], found[2, :count]


@kernel
def chain_ends(rows: np.ndarray, positions: np.ndarray) -> int:
    """Rows at positions int64[N] that close a chain."""
    count = 0
    for position in positions:
        count += int(rows[position, KIND_BYTE] & STEP == 0)
    return count


@kernel
def find_births(blocks: Blocks, taken: np.ndarray, positions: np.ndarray, rule: np.ndarray, found: np.ndarray) -> int:
    """Write start, length and index of the completing row of each new item into found int64[3, most]; returns how many there are.

    rule int64[5]: length, period, burn_in, overlapping, back.
    """
    length, period, burn_in, overlapping, back = rule
    count = 0
    for i in range(len(positions)):
        index = blocks.chain_index[positions[i]]
        if index >= length and (index - length) % period == 0:
            found[1, count], found[2, count] = length, i
            count += 1
        if blocks.bytes[positions[i], KIND_BYTE] & STEP != 0:
            continue
        first = max(0, (index - length) // period * period + period)
        for begin in range(first, index - burn_in, period):
            if overlapping or begin == 0 or index > begin - period + length:
                found[1, count], found[2, count] = index - begin, i
                count += 1
    kept = 0
    for i in range(count):
        start = walk_back(blocks.previous_block, blocks.shift, positions[found[2, i]], found[1, i])
        if start < 0 or taken[start] != 0:
            continue
        if back == 0 or frames_complete(blocks.bytes, blocks.chain_index, blocks.previous_block, blocks.shift, start, back):
            found[0, kept], found[1, kept], found[2, kept] = start, found[1, i], found[2, i]
            kept += 1
    return kept


@kernel
def frames_complete(
    rows: np.ndarray, chain_index: np.ndarray, previous_block: np.ndarray, shift: int, position: int, back: int
) -> bool:
    """Whether the `back` rows before a row are there, or the episode began less than so many rows ago."""
    behind = chain_index[position]
    first = walk_back(previous_block, shift, position, min(back, behind))
    return first >= 0 and (behind >= back or rows[first, FLAGS_BYTE] & EPISODE_START != 0)


@kernel
def initial_priorities(blocks: Blocks, starts: np.ndarray, lengths: np.ndarray, without: float, priorities: np.ndarray) -> None:
    """The largest finite priority that the actor gave any step of each window; `without` where it gave none. float32[N]."""
    for i in range(len(starts)):
        largest = np.float32(np.nan)
        position = starts[i]
        for step in range(lengths[i]):
            given = blocks.floats[position, PRIORITY_FLOAT]
            if np.isfinite(given) and not given <= largest:
                largest = given
            if step + 1 < lengths[i]:
                position = next_row(blocks.next_block, blocks.shift, position)
        priorities[i] = largest if np.isfinite(largest) else without
