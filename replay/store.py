"""What does one shard hold, and what happens to it: the single door to slab, tables, samplers, removers and limiters.

No I/O and no clock (`now_s` is handed in); random numbers come from the generator seeded at construction. Not thread-safe: the service's
one event loop drives it, and no call waits.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from replay.answers import INITIAL, Appended, Draw, Drawn, Facts, Page, Stream
from replay.layout import RowLayout
from replay.limiter import Traffic
from replay.origin import Origin
from replay.page_pass import PagePass
from replay.room import evict_some, make_room
from replay.rows import STEP, Rows
from replay.rules import columns_of
from replay.sizing import slab_size
from replay.slab import Slab
from replay.snapshot import RestoredPages, restored_pages
from replay.stratum import Fate
from replay.table import Table
from replay.validation import check_lanes, check_rows
from replay.versions import Versions
from sojourn.columns import Schema
from sojourn.config.schema import TableSettings
from sojourn.errors import ValidationError
from sojourn.experience import Columns

__all__ = ["Appended", "Draw", "Drawn", "Facts", "Page", "Store", "Stream"]


class Store:
    """Rows of all lanes of a shard and the tables of items over them.

    next_row_number: number that the next row gets; the first row of a shard is 1.
    env_steps, episodes: ever accepted, also of rows that are long trimmed; an episode counts when it is closed.
    gaps: times that a lane went on behind missing rows; its chain is cut there and no item spans it.
    Invariant: a block of the slab is held exactly by the windows of all tables' items and by the lanes that may still need it.
    """

    def __init__(
        self,
        schema: Schema,
        tables: Mapping[str, TableSettings],
        *,
        seed: int,
        batch_size: int = 256,
        batches_per_message: int = 8,
    ) -> None:
        """batch_size, batches_per_message: what the limiters' default tolerance is reckoned from.

        Raises ConfigError when a table's capacity does not fit its bytes (see `slab_size`), or its limiter would deadlock.
        """
        columns = {name for settings in tables.values() for name in columns_of(settings)}
        layout = RowLayout.of(schema, episode_starts="episode_elapsed_s" in columns)
        traffic = Traffic(batch_size, batches_per_message)
        rng = np.random.default_rng(seed)
        self._layout = layout
        self._slab = Slab(layout, *slab_size(layout, tables))
        self.versions = Versions()
        self._tables = {
            name: Table(name, settings, schema, self._slab, rng, traffic, self.versions) for name, settings in tables.items()
        }
        self._reach = max(table.items.shape.reach for table in self._tables.values())
        self._freed_chunks: list[int] = []
        self._pages = PagePass({name: table.items for name, table in self._tables.items()})
        self._chains: RestoredPages | None = None
        self._counted_from = 0  # rows of lower numbers were counted in an earlier life
        self.next_row_number = 1
        self.env_steps = self.episodes = self.gaps = 0

    # Rows come in

    def validate(self, rows: Rows, stream: Stream) -> None:
        """Raise ValidationError, with the values, if the rows cannot be accepted. Changes nothing.

        Lanes must be contiguous inside the message and go on behind what the slab holds (a gap forward is accepted, and cut).
        """
        check_rows(rows, self._layout)
        firsts = rows.lane_starts
        slots = self._slab.find_lanes(stream, rows.lane[firsts])
        check_lanes(rows, slots, firsts, self._slab.lanes.arrays)

    def append(
        self,
        rows: Rows,
        stream: Stream,
        now_s: float,
        *,
        held_s: float = 0.0,
        first_row: int | None = None,
        beside: Columns | None = None,
    ) -> Appended:
        """Store validated rows; make the items that they complete; evict what is over capacity.

        held_s: time that the body was on its way; added to the rows' ages.
        first_row: number of the first row when a stored chunk is read back (rows counted in an earlier life are not counted again);
        `now_s` is then the time of its first arrival on this clock.
        beside: what the start log knows of the rows, `stratum` and `episode_start_s` [N], for tables whose rule needs it.
        """
        return self.append_from(rows, Origin((stream,), now_s, held_s), first_row, beside)

    def append_from(self, rows: Rows, origin: Origin, first_row: int | None = None, beside: Columns | None = None) -> Appended:
        """The same for rows of several lives and moments, as a pack holds them. Their numbers follow one another."""
        for version, came_s in origin.versions(rows.policy_version):
            self.versions.learn(version, came_s)
        first = self.next_row_number if first_row is None else first_row
        self._charge(origin.lives)
        new_items = self._cut_at_gaps(rows, origin, first)
        known_index = self._chains.chain_indices(first + np.arange(len(rows))) if self._chains is not None else None
        slots = origin.by_life(self._slab.open_lanes, rows.lane)
        incoming = self._slab.receive(rows, slots, first, origin.now_s - origin.held_s, known_index, beside)
        at = 0
        while at < len(rows):
            stop = self._slab.place(incoming, at)
            if stop > at:
                placed = slice(at, stop)
                _add(new_items, self._complete(incoming.positions[placed], incoming.slots[placed], origin.came_s(placed)))
            if stop < len(rows):
                make_room(self._slab, self._tables.values(), self._collect)
            at = stop
        self.next_row_number = max(self.next_row_number, first + len(rows))
        return self._answer(first, rows, new_items)

    def _charge(self, lives: Sequence[Stream]) -> None:
        """Whether limiters charge for what these lives complete: a run owes nothing for what it began with."""
        imported = all(client_id == INITIAL for client_id, _ in lives)
        for table in self._tables.values():
            table.limiter.inserts_are_imports = imported

    def put_together(self, first_row: int, rows: int) -> bool:
        """The chunks of this range of rows are let go together from now on, as the first of them. False if all have left."""
        return self._slab.put_together(first_row, rows)

    def _answer(self, first: int, rows: Rows, new_items: dict[str, int]) -> Appended:
        uncounted = min(max(0, self._counted_from - first), len(rows))
        steps = int(np.count_nonzero(rows.kind[uncounted:] & STEP)) if uncounted else rows.steps
        episodes = len(rows) - uncounted - steps
        self.env_steps += steps
        self.episodes += episodes
        return Appended(first, len(rows), steps, episodes, new_items, self.take_freed_chunks())

    def _complete(self, positions: np.ndarray, slots: np.ndarray, now_s: float | np.ndarray) -> dict[str, int]:
        """Make the items that rows just placed complete, and let go of what is no longer needed. Returns their counts by table."""
        made = {name: table.complete(positions, now_s, self._counted_from) for name, table in self._tables.items()}
        self._slab.unpin(slots, self._reach)
        for table in self._tables.values():
            table.make_way()
        self._collect()
        return made

    def _cut_at_gaps(self, rows: Rows, origin: Origin, first_row: int) -> dict[str, int]:
        """End the chains of lanes whose next row is not the one that was due."""
        firsts = origin.lane_firsts(rows)
        slots = origin.by_life(self._slab.find_lanes, rows.lane[firsts], firsts)
        lanes = self._slab.lanes.arrays
        gap = (slots >= 0) & (rows.sequence[firsts] != lanes.sequence[slots] + 1)
        if not gap.any():
            return dict.fromkeys(self._tables, 0)
        self.gaps += int(np.count_nonzero(gap & (first_row + firsts >= self._counted_from)))
        made = self._cut(slots[gap], origin.first_s)
        lanes.broken[slots[gap]] = rows.episode[firsts[gap]] == lanes.episode[slots[gap]]
        return made

    def _cut(self, slots: np.ndarray, now_s: float) -> dict[str, int]:
        return self._complete(self._slab.cut(slots), slots, now_s)

    def close_stream(self, stream: Stream, now_s: float) -> Appended:
        """A life ended, with or without `final`: its open lanes are cut as truncated at their last observation and forgotten."""
        self._charge((stream,))
        made = self._cut(self._slab.lanes.of_stream(stream), now_s)
        self._slab.lanes.forget(stream, self._slab.blocks)
        self._collect()
        return Appended(self.next_row_number, 0, 0, 0, made, self.take_freed_chunks())

    # Rows go out

    def shed(self) -> bool:
        """Evict a few items although the slab has room, so that chunks are let go: their durable copies are over their budget.

        False, and nothing is evicted, where nothing is held or a table consumes: what was not consumed must stay.
        """
        if self._slab.rows == 0 or any(table.settings.consume for table in self._tables.values()):
            return False
        evict_some(self._slab, self._tables.values())
        self._collect()
        return True

    def _collect(self) -> None:
        """Recycle what nothing holds any more, and tell the tables."""
        freed = self._slab.collect()
        if freed is not None:
            self._freed_chunks += freed.chunks
            for table in self._tables.values():
                table.items.forget(freed)

    def take_freed_chunks(self) -> list[int]:
        """First rows of chunks that were let go since the last answer (draws and `consume` let go too)."""
        freed, self._freed_chunks = self._freed_chunks, []
        return freed

    # Items

    def insert_blocked(self, ahead: int = 0) -> list[str]:
        """Tables whose limiter admits no insert once `ahead` more steps are in, or that consume and are full then."""
        return [name for name, table in self._tables.items() if table.insert_blocked(ahead)]

    def sample_blocked(self, table: str, size: int) -> bool:
        """Whether not even one batch of `size` could be drawn now."""
        return self._table(table).sample_blocked(size)

    def draw(self, table: str, batch_size: int, batches: int, now_s: float, *, all_or_none: bool = False) -> Drawn | None:
        """Draw up to `batches` batches, as many as the limiter and the items allow; None if not one.

        all_or_none: exactly `batches` or None (a round for several ranks).
        """
        if batch_size < 1 or batches < 1:
            raise ValidationError(f"a draw takes at least one batch of one item, got {batches} of {batch_size}")
        drawn = self._table(table).draw(batch_size, batches, now_s, all_or_none)
        self._collect()
        return drawn

    def update_priorities(self, table: str, keys: np.ndarray, priorities: np.ndarray) -> tuple[int, int]:
        """Set priorities float32[N] >= 0 by key uint64[N]; returns (applied, late). Raises ValidationError for other values."""
        if keys.shape != priorities.shape or keys.ndim != 1:
            raise ValidationError(f"{keys.shape} keys do not go with {priorities.shape} priorities")
        bad = ~(np.isfinite(priorities) & (priorities >= 0.0))
        for at in np.flatnonzero(bad)[:1]:
            raise ValidationError(f"priority {priorities[at]} of item {keys[at]} is not a finite number >= 0")
        return self._table(table).update_priorities(keys, priorities)

    def consume(self, table: str, draw_ids: Sequence[int]) -> tuple[int, int]:
        """End leases: their items leave the table. Returns (items removed, draw ids unknown)."""
        answer = self._table(table).consume(draw_ids)
        self._collect()
        return answer

    def release(self, table: str, draw_ids: Sequence[int]) -> None:
        """Hand leases back: their items are drawn next, flagged as redelivered. Unknown ids are ignored."""
        self._table(table).release(draw_ids)

    def leases(self, table: str) -> dict[int, np.ndarray]:
        """Keys uint64 of every leased draw, by draw id."""
        return self._table(table).leases.all()

    def count_others(self, table: str, inserted_items: int, sampled_items: int, imported_items: int) -> None:
        """What the run's other shards have counted in this table, for its limiter."""
        self._table(table).limiter.others(inserted_items, sampled_items, imported_items)

    def take_no_inserts(self, retired: bool) -> None:
        """Limiters let everything be drawn while no inserts are to come, and count on as before otherwise."""
        for table in self._tables.values():
            table.limiter.takes_no_inserts = retired

    def residence_s(self, table: str, now_s: float) -> float:
        """How old an item would become in the full table, as items have come so far."""
        return self._table(table).residence_s(now_s)

    def leave_after(self, table: str, residence_s: float, now_s: float) -> int:
        """Evict items that have been drawable for longer than `residence_s`; returns how many."""
        left = self._table(table).leave_after(residence_s, now_s)
        self._collect()
        return left

    def gather(self, table: str, keys: np.ndarray) -> Columns:
        """Columns [N, ...] of items uint64[N], as a draw gives them. Raises ValidationError naming one that is not held."""
        return self._table(table).gather(keys)

    def hold_starts_after(self, started_s: float) -> None:
        """Tables with `order: start` hand out no item that started after this (the oldest running action's start; inf: none runs)."""
        for table in self._tables.values():
            table.chooser.hold_starts_after_s = started_s

    def items(self, table: str) -> int:
        """Items that can be drawn, leased ones not counted."""
        held = self._table(table).items
        return len(held) - held.leased_count

    def look_up(self, table: str, keys: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Of keys int64[N]: priority float32[N], NaN where the table holds no such item, and times sampled uint32[N]."""
        return self._table(table).items.look_up(keys)

    def lost_items(self, table: str) -> int:
        """Items ever that left, or never entered, for another reason than a draw."""
        return self._table(table).lost_items

    def take_fates(self) -> dict[str, dict[int, Fate]]:
        """What became of items since the last call: by table, then by number of the stratum."""
        return {name: table.fates.take() for name, table in self._tables.items()}

    def facts(self, table: str, now_s: float) -> Facts:
        """What `TableFacts` and `TableInfo` report. Cheap enough for every reply."""
        return self._table(table).facts(now_s)

    def _table(self, name: str) -> Table:
        table = self._tables.get(name)
        if table is None:
            raise ValidationError(f"there is no table {name!r}; there are: {', '.join(self._tables)}")
        return table

    # Snapshots

    def counters(self) -> dict[str, Any]:
        """Everything of a snapshot but the pages, ready for JSON: counters, limiters, leases."""
        return {
            "next_row_number": self.next_row_number,
            "env_steps": self.env_steps,
            "episodes": self.episodes,
            "gaps": self.gaps,
            "tables": {name: table.state() for name, table in self._tables.items()},
        }

    def take_dirty_pages(self, most: int | None = None) -> list[Page]:
        """Pages that changed since they were last taken, at most `most` (each some 0.1 ms); fewer end a pass (see `PagePass`)."""
        return self._pages.take(most, self.next_row_number)

    def mark_all_dirty(self) -> None:
        """The next pages taken are a whole snapshot."""
        self._pages.mark_all()

    def restore(self, counters: Mapping[str, Any], pages: Iterable[Page]) -> None:
        """Before stored chunks are appended again: items get the priorities and times of the pages as they reappear.

        counters: what `counters` gave, or empty when there is no snapshot. Pages of tables that are gone are ignored.
        """
        restored = restored_pages(pages, self._tables)
        for name, table in self._tables.items():
            table.restore(counters.get("tables", {}).get(name), restored[name])
            if table.items.keeps_chains:
                self._chains = restored[name]
        self.next_row_number = self._counted_from = int(counters.get("next_row_number", 1))
        self.env_steps, self.episodes, self.gaps = (int(counters.get(name, 0)) for name in ("env_steps", "episodes", "gaps"))

    def finish_restore(self) -> None:
        """After the last stored chunk and the last `close_stream` of a dead life: forget what the pages said."""
        self._chains = None
        for table in self._tables.values():
            table.finish_restore()
        self._collect()

    # What it holds

    @property
    def slab_rows(self) -> int:
        """Rows held now."""
        return self._slab.rows

    @property
    def slab_bytes(self) -> int:
        """Memory set aside for rows and lists; what was never written takes none."""
        return self._slab.bytes

    def check(self) -> None:
        """Prove the invariants of slab and tables, or raise AssertionError. Slow: for tests."""
        self._slab.check()
        holds = np.zeros(len(self._slab.blocks.holds), np.int64)
        np.add.at(holds, self._slab.lanes.pinned(self._slab.blocks), 1)
        for table in self._tables.values():
            table.check()
            holds += table.items.holds()
        assert (holds == self._slab.blocks.holds).all(), "a block is held by nobody, or not by all who need it"


def _add(totals: dict[str, int], more: Mapping[str, int]) -> None:
    for name, count in more.items():
        totals[name] += count
