"""How does a fresh shard take a pack? All its rows at once, each as it came from its own life at its own time. No I/O."""

from dataclasses import dataclass

import numpy as np

from replay.answers import Appended
from replay.origin import Origin
from replay.packing import Pack
from replay.row_writing import nothing_beside
from replay.rows import Rows
from replay.shard import Shard
from replay.store import Store


@dataclass(frozen=True)
class Arrivals:
    """Of N rows: life int64[N], index into the pack's lives; now_s, held_s float64[N], on the service's clock."""

    life: np.ndarray
    now_s: np.ndarray
    held_s: np.ndarray


def arrivals_of(pack: Pack, now_s: float, unix_s: float) -> Arrivals:
    """When each row came, on a clock that says `now_s` when the wall clock says `unix_s`."""
    age_s = np.maximum(0.0, unix_s - pack.parts["stored_unix_s"])
    counts = pack.parts["rows"]
    return Arrivals(
        np.repeat(pack.parts["life"], counts), np.repeat(now_s - age_s, counts), np.repeat(pack.parts["held_s"], counts)
    )


def append_pack(shard: Shard, store: Store, pack: Pack, rows: Rows) -> Appended:
    """Store the rows of a pack in their order, and log their starts, life by life."""
    came = arrivals_of(pack, shard.clock.now_s(), shard.clock.unix_s())
    beside = nothing_beside(len(rows))
    for number, stream in enumerate(pack.lives):
        at = np.flatnonzero(came.life == number)
        at = at[np.argsort(rows.lane[at], kind="stable")]
        mine = rows.without_lists(at)
        known = shard.starts.arrived(stream, mine, came.now_s[at] - came.held_s[at], came.now_s[at])
        for name, values in known.items():
            beside[name][at] = values
        shard.admission.inserted(stream, mine.steps)
    return store.append_from(rows, Origin(pack.lives, came.now_s, came.held_s, came.life), pack.first_row, beside)
