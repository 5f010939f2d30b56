"""What does a table keep of an item, and how does an item begin and end? Arrays by row position, and the kernels that change them."""

from typing import NamedTuple

import numpy as np

from replay.blocks import Blocks, hold_windows, next_row
from replay.fetching import prefetch
from replay.kernels import kernel
from replay.layout import DURATION_WORD, STRATUM_BYTE

NONE, LIVE, LEASED, GONE = 0, 1, 2, 3  # states of the item that starts at a row
AHEAD = 16  # items whose counts are fetched before they are read


class Items(NamedTuple):
    """State of the item that starts at each row position, arrays [P] unless said otherwise.

    state uint8 (above).  length int32: steps.  times uint32: draws so far.  priority float32, before the exponent.
    drawable_s float64: when it could first be drawn, on the service's clock.  lag int32: versions that it was behind then.
    in_block int32[blocks]: items, live or leased, that start in the block.  dirty bool[blocks]: changed since the last snapshot.
    sums float64[2]: of drawable_s and of window durations, over live and leased items.
    """

    state: np.ndarray
    length: np.ndarray
    times: np.ndarray
    priority: np.ndarray
    drawable_s: np.ndarray
    lag: np.ndarray
    in_block: np.ndarray
    dirty: np.ndarray
    sums: np.ndarray


def make_items(rows: int, blocks: int) -> Items:
    """No items yet."""
    return Items(
        state=np.zeros(rows, np.uint8),
        length=np.zeros(rows, np.int32),
        times=np.zeros(rows, np.uint32),
        priority=np.zeros(rows, np.float32),
        drawable_s=np.zeros(rows, np.float64),
        lag=np.zeros(rows, np.int32),
        in_block=np.zeros(blocks, np.int32),
        dirty=np.zeros(blocks, np.bool_),
        sums=np.zeros(2, np.float64),
    )


@kernel
def window_seconds(blocks: Blocks, starts: np.ndarray, lengths: np.ndarray, duration_s: np.ndarray) -> None:
    """Summed durations of windows, float64[N]."""
    for i in range(len(starts)):
        duration_s[i] = 0.0
        position = starts[i]
        for step in range(lengths[i]):
            duration_s[i] += blocks.reals[position, DURATION_WORD]
            if step + 1 < lengths[i]:
                position = next_row(blocks.next_block, blocks.shift, position)


@kernel
def begin_items(
    blocks: Blocks,
    items: Items,
    starts: np.ndarray,
    lengths: np.ndarray,
    priorities: np.ndarray,
    drawable_s: np.ndarray,
    back: int,
) -> None:
    """Make items, times sampled 0, that hold their blocks: starts, lengths int64[N], priorities float32[N], drawable_s float64[N]."""
    shift = blocks.shift
    duration_s = np.empty(len(starts))
    window_seconds(blocks, starts, lengths, duration_s)
    for i in range(len(starts)):
        at = starts[i]
        items.state[at] = LIVE
        items.length[at] = lengths[i]
        items.times[at] = 0
        items.priority[at] = priorities[i]
        items.drawable_s[at] = drawable_s[i]
        items.in_block[at >> shift] += 1
        items.dirty[at >> shift] = True
        items.sums[0] += drawable_s[i]
        items.sums[1] += duration_s[i]
    hold_windows(blocks, starts, lengths, back, 1)


@kernel
def end_items(blocks: Blocks, items: Items, positions: np.ndarray, back: int) -> tuple[int, int]:
    """Remove the items at positions int64[N], where there are any, and let go of their blocks. Returns how many, and how many on lease."""
    shift = blocks.shift
    starts, lengths = np.empty(len(positions), np.int64), np.empty(len(positions), np.int64)
    count = leased = 0
    for at in positions:
        if items.state[at] == LIVE or items.state[at] == LEASED:
            leased += int(items.state[at] == LEASED)
            starts[count], lengths[count] = at, items.length[at]
            items.state[at] = GONE
            count += 1
    starts, lengths = starts[:count], lengths[:count]
    duration_s = np.empty(count)
    window_seconds(blocks, starts, lengths, duration_s)
    for i in range(count):
        at = starts[i]
        items.in_block[at >> shift] -= 1
        items.dirty[at >> shift] = True
        items.sums[0] -= items.drawable_s[at]
        items.sums[1] -= duration_s[i]
    hold_windows(blocks, starts, lengths, back, -1)
    return count, leased


@kernel
def first_drawable_s(shift: int, items: Items) -> float:
    """When the oldest item became drawable, +inf if there is none. Reads every block that holds items."""
    oldest = np.inf
    for block in range(len(items.in_block)):
        if items.in_block[block] > 0:
            for at in range(block << shift, (block + 1) << shift):
                if (items.state[at] == LIVE or items.state[at] == LEASED) and items.drawable_s[at] < oldest:
                    oldest = items.drawable_s[at]
    return oldest


@kernel
def count_draws(shift: int, items: Items, drawn: np.ndarray, most: int, times: np.ndarray) -> None:
    """Count one more draw of each of drawn int64[N] into times uint32[N]; 0 where it had been drawn `most` times already (0: no limit)."""
    for i in range(len(drawn)):
        if i + AHEAD < len(drawn):
            prefetch(items.times.ctypes.data + drawn[i + AHEAD] * items.times.itemsize)
        at = drawn[i]
        times[i] = 0
        if most == 0 or items.times[at] < most:
            items.times[at] += 1
            items.dirty[at >> shift] = True
            times[i] = items.times[at]


@kernel
def count_by_stratum(rows: np.ndarray, positions: np.ndarray, counts: np.ndarray) -> None:
    """Count the rows at positions int64[N] into counts int64[strata], by the stratum that stands in them. rows: uint8[P, row bytes]."""
    for i in range(len(positions)):
        counts[rows[positions[i], STRATUM_BYTE] + 256 * rows[positions[i], STRATUM_BYTE + 1]] += 1


@kernel
def set_priorities(shift: int, items: Items, positions: np.ndarray, priorities: np.ndarray, applied: np.ndarray) -> int:
    """Set float32[N] priorities of the positions int64[N] that hold an item; these are gathered in applied. Returns how many."""
    count = 0
    for i in range(len(positions)):
        if i + AHEAD < len(positions):
            prefetch(items.state.ctypes.data + positions[i + AHEAD] * items.state.itemsize)
            prefetch(items.priority.ctypes.data + positions[i + AHEAD] * items.priority.itemsize)
        at = positions[i]
        if at >= 0 and (items.state[at] == LIVE or items.state[at] == LEASED):
            items.priority[at] = priorities[i]
            items.dirty[at >> shift] = True
            applied[count] = at
            count += 1
    return count
