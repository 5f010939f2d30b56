"""May these rows be stored? Every refusal is a sentence with the values. Pure: looks at rows and at where lanes stand, changes nothing."""

from collections.abc import Iterable

import numpy as np

from replay.arrow import SYSTEM_COLUMNS
from replay.kernels import kernel
from replay.lanes import MOST_LANES, LaneArrays
from replay.layout import RowLayout
from replay.rows import END_KIND_SHIFT, KIND_BITS, STEP, TERMINATED, TRUNCATED, RaggedColumn, Rows
from sojourn.durations import MOST_SECONDS
from sojourn.errors import ValidationError
from sojourn.experience import EndKind

MOST_ROWS = 65_536  # of one message
LARGEST_VERSION = 1 << 53  # a larger one, once learnt, would make every other row look stale for ever


LAST_END_KIND = int(EndKind.KILLED)
BAD_VERSION = f"does not lie in [0, {LARGEST_VERSION:g})"
BAD_SECONDS = f"does not lie in [0, {MOST_SECONDS:g}]"

# What may be wrong with a row: the value that a refusal names, and why it is refused. `first_fault` answers with the index.
FAULTS = (
    ("lane", f"is not below {MOST_LANES}"),
    ("kind", "has bits that mean nothing"),
    ("kind", "says how a step ended, but the row is no step"),
    ("end kind", "has no row: only completed and killed actions have one"),
    ("lane", "stands behind a higher one: rows are sorted by lane"),
    ("sequence", "does not follow the row before it"),
    ("episode", "begins before the one before it was closed"),
    ("episode", "is not above the one that was closed"),
    ("kind", "ends the episode, but its closing observation does not follow"),
    ("reward", "is not finite"),
    ("log_prob", "is not finite"),
    ("duration_s", BAD_SECONDS),
    ("start_age_s", BAD_SECONDS),
    ("policy_version", BAD_VERSION),
    ("priority", "is negative or infinite"),
)


def check_rows(rows: Rows, layout: RowLayout) -> None:
    """Shapes and values of a message. Raises ValidationError."""
    if not 1 <= len(rows) <= MOST_ROWS:
        raise ValidationError(f"a message holds 1 to {MOST_ROWS} rows, got {len(rows)}")
    _check_shapes(rows, layout)
    fault, row = first_fault(*(_read_only(getattr(rows, column.name)) for column in SYSTEM_COLUMNS))
    if fault >= 0:
        name, why = FAULTS[fault]
        value = rows.kind[row] >> END_KIND_SHIFT & 7 if name == "end kind" else getattr(rows, name)[row]
        raise ValidationError(f"{_place(rows, row)}: {name} {value} {why}")
    for name, values in rows.columns.items():
        if values.dtype.kind == "f":
            _check_finite(rows, name, values)
    for name, lists in rows.ragged.items():
        if lists.values.dtype.kind == "f":
            _check_lists_finite(rows, name, lists)


def _read_only(values: np.ndarray) -> np.ndarray:
    """As the views of a message are, so that kernels are compiled for these alone."""
    if not values.flags.writeable:
        return values
    view = values.view()
    view.flags.writeable = False
    return view


@kernel
def first_fault(
    lane: np.ndarray,
    sequence: np.ndarray,
    episode: np.ndarray,
    kind: np.ndarray,
    reward: np.ndarray,
    duration_s: np.ndarray,
    start_age_s: np.ndarray,
    log_prob: np.ndarray,
    policy_version: np.ndarray,
    priority: np.ndarray,
) -> tuple[int, int]:
    """Index in FAULTS and row of the first fault, (-1, -1) if there is none. Arrays [N] as in `Rows`.

    Lanes are sorted, sequences contiguous, episodes closed before the next one begins.
    """
    for i in range(len(lane)):
        is_step = kind[i] & STEP != 0
        if lane[i] >= MOST_LANES:
            return 0, i
        if kind[i] & ~KIND_BITS != 0:
            return 1, i
        if not is_step and kind[i] != 0:
            return 2, i
        if kind[i] >> END_KIND_SHIFT & 7 > LAST_END_KIND:
            return 3, i
        if i > 0 and lane[i] < lane[i - 1]:
            return 4, i
        if i > 0 and lane[i] == lane[i - 1]:
            if sequence[i] != sequence[i - 1] + 1:
                return 5, i
            if kind[i - 1] & STEP != 0:
                if episode[i] != episode[i - 1]:
                    return 6, i
            elif episode[i] <= episode[i - 1]:
                return 7, i
        closing_follows = i + 1 < len(lane) and lane[i + 1] == lane[i] and kind[i + 1] & STEP == 0
        if kind[i] & (TERMINATED | TRUNCATED) != 0 and not closing_follows:
            return 8, i
        if not np.isfinite(reward[i]):
            return 9, i
        if is_step and not np.isfinite(log_prob[i]):
            return 10, i
        if not 0.0 <= duration_s[i] <= MOST_SECONDS:
            return 11, i
        if not 0.0 <= start_age_s[i] <= MOST_SECONDS:
            return 12, i
        if not 0 <= policy_version[i] < LARGEST_VERSION:
            return 13, i
        if priority[i] < 0.0 or np.isinf(priority[i]):
            return 14, i
    return -1, -1


def _check_finite(rows: Rows, name: str, values: np.ndarray) -> None:
    """Observations in every row; actions, extras and recurrent states where there is an action."""
    finite = np.isfinite(values)
    if finite.all():
        return
    bad = ~finite.reshape(len(rows), -1).all(1)
    if name.partition(".")[0] != "observation":
        bad &= rows.kind & STEP != 0
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
