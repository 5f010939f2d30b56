"""What does one shard hold, and what happens to it: the single door to slab, tables, samplers, removers and limiters.

No I/O and no clock (`now_s` is handed in); random numbers come from the generator seeded at construction. Not thread-safe: the service's
one event loop drives it, and no call waits.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from replay.answers import Appended, Draw, Drawn, Facts, Page, Stream
from replay.rows import Rows
from sojourn.columns import Schema
from sojourn.config.schema import TableSettings

__all__ = ["Appended", "Draw", "Drawn", "Facts", "Page", "Store", "Stream"]


class Store:
    """Rows of all lanes of a shard and the tables of items over them.

    next_row_number: number that the next row gets; the first row of a shard is 1.
    env_steps, episodes: rows ever accepted, also of rows that are long trimmed.
    gaps: times that a lane went on behind missing rows; its chain is cut there and no item spans it.
    """

    next_row_number: int
    env_steps: int
    episodes: int
    gaps: int

    def __init__(
        self,
        schema: Schema,
        tables: Mapping[str, TableSettings],
        *,
        seed: int,
        batch_size: int = 256,
        batches_per_message: int = 8,
        message_rows: int = 64,
    ) -> None:
        """batch_size, batches_per_message, message_rows: what the limiters' default tolerance is reckoned from.

        Raises ConfigError when a table's capacity does not fit its bytes, or its limiter would deadlock.
        """

    def validate(self, rows: Rows, stream: Stream) -> None:
        """Raise ValidationError, with the values, if the rows cannot be accepted. Changes nothing.

        Lanes must be contiguous inside the message and go on behind what the slab holds (a gap forward is accepted and cut).
        """

    def append(self, rows: Rows, stream: Stream, now_s: float, *, held_s: float = 0.0, first_row: int | None = None) -> Appended:
        """Store validated rows; make the items that they complete; evict what is over capacity.

        held_s: time that the body was on its way; added to the rows' ages.
        first_row: number of the first row when a stored chunk is read back (numbers already passed are not counted again);
        `now_s` is then the time of its first arrival on this clock.
        """

    def close_stream(self, stream: Stream, now_s: float) -> Appended:
        """A life ended, with or without `final`: its open lanes are cut as truncated at their last observation and forgotten."""

    def take_freed_chunks(self) -> list[int]:
        """First rows of chunks that were let go since the last answer (draws and `consume` let go too)."""

    def insert_blocked(self) -> list[str]:
        """Tables whose limiter admits no insert now, or that consume and are full."""

    def sample_blocked(self, table: str, size: int) -> bool:
        """Whether not even one batch of `size` could be drawn now."""

    def draw(self, table: str, batch_size: int, batches: int, now_s: float, *, all_or_none: bool = False) -> Drawn | None:
        """Draw up to `batches` batches, as many as the limiter and the items allow; None if not one.

        all_or_none: exactly `batches` or None (a round for several ranks).
        """

    def update_priorities(self, table: str, keys: np.ndarray, priorities: np.ndarray) -> tuple[int, int]:
        """Set priorities float32[N] >= 0 by key uint64[N]; returns (applied, late). Raises ValidationError for other values."""

    def consume(self, table: str, draw_ids: Sequence[int]) -> tuple[int, int]:
        """End leases: their items leave the table. Returns (items removed, draw ids unknown)."""

    def release(self, table: str, draw_ids: Sequence[int]) -> None:
        """Hand leases back: their items are drawn next, flagged as redelivered. Unknown ids are ignored."""

    def leases(self, table: str) -> dict[int, np.ndarray]:
        """Keys uint64 of every leased draw, by draw id."""

    def hold_starts_after(self, started_s: float) -> None:
        """Tables with `order: start` hand out no item that started after this (the oldest running action's start; inf: none runs)."""

    def facts(self, table: str, now_s: float) -> Facts:
        """What `TableFacts` and `TableInfo` report. Cheap enough for every reply."""

    def counters(self) -> dict[str, Any]:
        """Everything of a snapshot but the pages, ready for JSON: counters, limiters, leases."""

    def take_dirty_pages(self, most: int | None = None) -> list[Page]:
        """Pages that changed since they were last taken, at most `most` (about 0.1 ms each); what is left comes next time."""

    def mark_all_dirty(self) -> None:
        """The next pages taken are a whole snapshot."""

    def restore(self, counters: Mapping[str, Any], pages: Iterable[Page]) -> None:
        """Before stored chunks are appended again: items get the priorities and times of the pages as they reappear."""

    def finish_restore(self) -> None:
        """After the last stored chunk and the last `close_stream` of a dead life: forget what the pages said."""

    @property
    def slab_rows(self) -> int:
        """Rows held now."""

    @property
    def slab_bytes(self) -> int:
        """Memory of the slab."""

    def check(self) -> None:
        """Prove the invariants of slab and tables, or raise AssertionError. Slow: for tests."""
