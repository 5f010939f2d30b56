"""What the store answers with: plain frozen records, no behaviour. NumPy only."""

from dataclasses import dataclass

import numpy as np

from replay.rules import Rule
from sojourn.experience import Columns

Stream = tuple[str, int]
"""(client id, incarnation): one life of an actor."""

INITIAL = "initial"
"""Client id under which comes what a run begins with (`replay.initial`): experience that the run did not collect."""


@dataclass(frozen=True)
class Appended:
    """What an append (or a close) did.

    first_row: row number of the first row.  rows, steps, episodes: of this call; episodes are rows that closed one.
    new_items: items made, by table.  freed_chunks: first rows of the chunks of which nothing is held any more, since the last answer.
    """

    first_row: int
    rows: int
    steps: int
    episodes: int
    new_items: dict[str, int]
    freed_chunks: list[int]


@dataclass(frozen=True)
class Draw:
    """One batch of a draw: `size` consecutive rows of `Drawn.columns`.

    draw_id: names the lease, 0 where the table does not consume.  redelivered: holds items that were leased before.
    """

    draw_id: int
    size: int
    redelivered: bool


@dataclass(frozen=True)
class Drawn:
    """One or more batches, ready to travel.

    columns: `info.*` columns and those of `sojourn.experience.Batch`, the draws' batches one after another.
    keys: item numbers uint64, the same as `columns["info.key"]`.
    """

    columns: Columns
    keys: np.ndarray
    draws: list[Draw]


@dataclass(frozen=True)
class Facts:
    """A table now.

    items: drawable.  capacity_items: how many it holds at most.  total_priority: sum of p_i ** priority_exponent.
    largest_priority: largest ever seen.  inserted_items, sampled_items: ever made, ever drawn.  imported_items: of the inserted ones, what the run began with.
    limiter_surplus: (inserts - min_size) x samples_per_insert - samples, in the limiter's unit.
    insert_blocked, sample_blocked: the latter for one batch of the store's batch size.
    oldest_s, mean_age_s: since items were drawable.  mean_duration_s: of items' windows.
    expired_items: left at the table's horizon.  late_items: were beyond it, or too stale, when they came.
    rule: how the table loses actions.
    """

    name: str
    items: int
    capacity_items: int
    total_priority: float
    largest_priority: float
    inserted_items: int
    imported_items: int
    sampled_items: int
    limiter_surplus: float
    insert_blocked: bool
    sample_blocked: bool
    oldest_s: float
    mean_age_s: float
    mean_duration_s: float
    late_updates: int
    evicted_items: int
    leased_items: int
    redelivered_items: int
    expired_items: int
    late_items: int
    rule: Rule


@dataclass(frozen=True)
class Page:
    """State of the items whose keys lie in [number * 4096, (number + 1) * 4096), for one table.

    body: 4096 little-endian float32 priorities (before the exponent; NaN no item yet, -1 the item is gone), then 4096 uint32 times
    sampled and, where windows are longer than a period of one row, 4096 int32 places in the chain; empty when nothing of the page is held any more and the stored one can be deleted.
    """

    table: str
    number: int
    body: bytes
