"""May these rows be stored? Every refusal is a sentence with the values. Pure: looks at rows and at where lanes stand, changes nothing."""

from collections.abc import Iterable

import numpy as np

from replay.lanes import MOST_LANES, LaneArrays
from replay.layout import RowLayout
from replay.rows import END_KIND_SHIFT, KIND_BITS, STEP, TERMINATED, TRUNCATED, RaggedColumn, Rows
from sojourn.errors import ValidationError
from sojourn.experience import EndKind

MOST_ROWS = 65_536  # of one message
LARGEST_VERSION = 1 << 53  # a larger one, once learnt, would make every other row look stale for ever
MOST_SECONDS = 1e9  # durations and ages above 30 years are no measurement


def check_rows(rows: Rows, layout: RowLayout) -> None:
    """Shapes and values of a message. Raises ValidationError."""
    if not 1 <= len(rows) <= MOST_ROWS:
        raise ValidationError(f"a message holds 1 to {MOST_ROWS} rows, got {len(rows)}")
    _check_shapes(rows, layout)
    _refuse(rows, rows.lane >= MOST_LANES, "lane", rows.lane, f"is not below {MOST_LANES}")
    _check_kinds(rows)
    _check_order(rows)
    steps = rows.kind & STEP != 0
    _refuse(rows, ~np.isfinite(rows.reward), "reward", rows.reward, "is not finite")
    _refuse(rows, steps & ~np.isfinite(rows.log_prob), "log_prob", rows.log_prob, "is not finite")
    for name, seconds in (("duration_s", rows.duration_s), ("start_age_s", rows.start_age_s)):
        _refuse(rows, ~((seconds >= 0.0) & (seconds <= MOST_SECONDS)), name, seconds, f"does not lie in [0, {MOST_SECONDS:g}]")
    impossible = (rows.policy_version < 0) | (rows.policy_version >= LARGEST_VERSION)
    _refuse(rows, impossible, "policy_version", rows.policy_version, f"does not lie in [0, {LARGEST_VERSION:g})")
    _refuse(rows, (rows.priority < 0.0) | np.isinf(rows.priority), "priority", rows.priority, "is negative or infinite")
    for name, values in rows.columns.items():
        if values.dtype.kind == "f":
            _check_finite(rows, name, values, steps)
    for name, lists in rows.ragged.items():
        if lists.values.dtype.kind == "f":
            _check_lists_finite(rows, name, lists)


def _check_finite(rows: Rows, name: str, values: np.ndarray, steps: np.ndarray) -> None:
    """Observations in every row; actions, extras and recurrent states where there is an action."""
    finite = np.isfinite(values)
    if finite.all():
        return
    bad = ~finite.reshape(len(rows), -1).all(1)
    if name.partition(".")[0] != "observation":
        bad &= steps
    for row in np.flatnonzero(bad)[:1]:
        worst = values[row][~finite[row]].flat[0]
        raise ValidationError(f"{_place(rows, row)}: {name} holds {worst}")


def _check_lists_finite(rows: Rows, name: str, lists: RaggedColumn) -> None:
    """Elements that no list holds (before the first, behind the last) are not stored and not looked at."""
    first, last = lists.offsets[0], lists.offsets[-1]
    for at in first + np.flatnonzero(~np.isfinite(lists.values[first:last]))[:1]:
        row = int(np.searchsorted(lists.offsets, at, side="right")) - 1
        raise ValidationError(f"{_place(rows, row)}: {name} holds {lists.values[at]}")


def _check_shapes(rows: Rows, layout: RowLayout) -> None:
    fixed = {place.column.name: place.column for place in layout.fixed}
    ragged = {place.column.name: place.column for place in layout.ragged}
    if rows.columns.keys() != fixed.keys() or rows.ragged.keys() != ragged.keys():
        found, wanted = sorted([*rows.columns, *rows.ragged]), sorted([*fixed, *ragged])
        raise ValidationError(f"columns are {found}, the schema says {wanted}")
    for name, column in fixed.items():
        values = rows.columns[name]
        if values.dtype != column.dtype or values.shape != (len(rows), *column.shape):
            raise ValidationError(
                f"column {name!r} is {values.dtype} of shape {values.shape}, the schema says {column.dtype} of {(len(rows), *column.shape)}"
            )
    for name, column in ragged.items():
        lengths = np.diff(rows.ragged[name].offsets)
        _refuse(rows, lengths > column.ragged_max, f"length of {name}", lengths, f"is above ragged_max {column.ragged_max}")


def _check_kinds(rows: Rows) -> None:
    steps = rows.kind & STEP != 0
    ends = rows.kind >> END_KIND_SHIFT & 7
    _refuse(rows, rows.kind & ~np.uint8(KIND_BITS) != 0, "kind", rows.kind, "has bits that mean nothing")
    _refuse(rows, ~steps & (rows.kind != 0), "kind", rows.kind, "says how a step ended, but the row is no step")
    _refuse(rows, ends > EndKind.KILLED, "end kind", ends, "has no row: only completed and killed actions have one")


def _check_order(rows: Rows) -> None:
    """Lanes sorted, sequences contiguous, episodes closed before the next one begins."""
    lane, steps = rows.lane.astype(np.int64), rows.kind & STEP != 0
    ended = rows.kind & (TERMINATED | TRUNCATED) != 0
    same = lane[1:] == lane[:-1]
    follows = np.append(False, same)
    _refuse(
        rows, np.append(False, lane[1:] < lane[:-1]), "lane", rows.lane, "stands behind a higher one: rows are sorted by lane"
    )
    expected = np.append(0, rows.sequence[:-1] + 1)
    _refuse(rows, follows & (rows.sequence != expected), "sequence", rows.sequence, "does not follow the row before it")
    episode_step = np.append(0, np.diff(rows.episode))
    goes_on = follows & np.append(False, steps[:-1])
    _refuse(rows, goes_on & (episode_step != 0), "episode", rows.episode, "begins before the one before it was closed")
    begins = follows & np.append(False, ~steps[:-1])
    _refuse(rows, begins & (episode_step <= 0), "episode", rows.episode, "is not above the one that was closed")
    unclosed = ended & ~np.append(same & ~steps[1:], False)
    _refuse(rows, unclosed, "kind", rows.kind, "ends the episode, but its closing observation does not follow")


def check_lanes(rows: Rows, slots: np.ndarray, firsts: np.ndarray, lanes: LaneArrays) -> None:
    """Rows go on behind what the slab holds. slots: of the message's lanes, -1 unknown; firsts: their first rows in the message."""
    known = slots >= 0
    first, slot = firsts[known], slots[known]
    last, episode = lanes.sequence[slot], lanes.episode[slot]
    closed = lanes.closed[slot] & ~lanes.broken[slot]  # a chain that we broke for want of room goes on in its episode
    _refuse_at(rows, first[rows.sequence[first] <= last], "sequence", rows.sequence, "was stored before")
    next_one = rows.sequence[first] == last + 1
    other = next_one & ~closed & (rows.episode[first] != episode)
    _refuse_at(rows, first[other], "episode", rows.episode, "begins before the lane's last one was closed")
    past = (closed & next_one & (rows.episode[first] <= episode)) | (rows.episode[first] < episode)
    _refuse_at(rows, first[past], "episode", rows.episode, "is not above the lane's last one")


def _refuse(rows: Rows, bad: np.ndarray, name: str, values: np.ndarray, why: str) -> None:
    if bad.any():
        _refuse_at(rows, np.flatnonzero(bad), name, values, why)


def _refuse_at(rows: Rows, bad: Iterable[int], name: str, values: np.ndarray, why: str) -> None:
    for row in bad:
        raise ValidationError(f"{_place(rows, row)}: {name} {values[row]} {why}")


def _place(rows: Rows, row: int) -> str:
    return f"row {row} (lane {rows.lane[row]}, sequence {rows.sequence[row]})"
