"""Start-up: read everything back from the durable tier, in order, so that the shard goes on where it was.

Network I/O; gives the loop away between chunks, so that health and Info are answered meanwhile. Chunks that are not what was stored are
named, left out and set aside; the rest is served.
"""

import asyncio
import logging
from collections.abc import Sequence
from contextlib import aclosing

from replay.answers import Stream
from replay.arrow import decode_chunk
from replay.client_records import Identity
from replay.commit import CorruptedChunk, StoredChunk
from replay.fences import Fences, field_of
from replay.going_back import go_back
from replay.pack_reading import append_pack
from replay.packing import Pack, unpacked
from replay.packs import chunks_and_packs
from replay.redis_store import TierFullError
from replay.shard import TOTALS, Shard, Totals, row_bytes, table_bytes
from replay.snapshots import read_snapshot
from replay.start_log_state import StoredStartLog
from replay.store import Store
from replay.tier import DurableTier
from sojourn.chosen_cut import ChosenCut
from sojourn.columns import Schema
from sojourn.errors import ValidationError

LOG = logging.getLogger("sojourn.replay")

Read = StoredChunk | CorruptedChunk | Pack


class Rebuild:
    """Fills a fresh shard from its durable tier. `run` once; `shard.recovering` says how far it is."""

    def __init__(self, shard: Shard, tier: DurableTier, chosen: ChosenCut | None = None) -> None:
        """chosen: the cut that the run goes on from, if there is one."""
        self._shard = shard
        self._tier = tier
        self._chosen = chosen

    async def run(self) -> None:
        """Raises UnavailableError if the server goes away meanwhile, ConfigError if the tables no longer fit."""
        began_s = self._shard.clock.now_s()
        self._shard.recovering = "reading back what the durable tier holds"
        await self._tier.store.take_over()
        if self._chosen is not None:
            await go_back(self._tier.store, self._chosen, self._shard.index)
        fences = await self._tier.store.fences()
        totals = fences.pop(TOTALS, "")
        self._shard.fences = Fences(fences)
        self._shard.lives = {name: said.decode() for name, said in (await self._tier.store.hash("clients")).items()}
        schema_json = await self._tier.store.schema_json()
        if schema_json:
            await self._read_back(Schema.from_json(schema_json), totals)
        self._tier.start_behind(await self._tier.store.last_row())
        self._shard.tier = self._tier
        self._shard.metrics.gauge("sojourn_replay_recovery_seconds").set(self._shard.clock.now_s() - began_s)

    async def _read_back(self, schema: Schema, totals: str) -> None:
        store = self._shard.make_store(schema)
        stored = await self._tier.store.pages()
        counters, pages, self._shard.counts, self._shard.clients = read_snapshot(stored)
        store.restore(counters, pages)
        known = StoredStartLog(stored)
        known.expect(store.versions, self._shard.clock.now_s(), self._shard.clock.unix_s())
        starts: StoredStartLog | None = known
        async with aclosing(chunks_and_packs(self._tier.store)) as found:
            async for one in found:
                for chunk in self._pieces(one, starts):
                    if starts is not None and chunk.first_row >= starts.next_row:
                        self._restore_starts(starts, store)
                        starts = None
                    await self._take(chunk, schema, store, held=chunk is one)
                    self._shard.recovering = f"read back to row {chunk.first_row}"
                    await asyncio.sleep(0)
                if isinstance(one, Pack):
                    self._hold_pack(one, store)
        if starts is not None:
            self._restore_starts(starts, store)
        for stream in self._shard.fences.closed_streams():
            self._shard.close_stream(store, stream, self._shard.clock.now_s())
        store.finish_restore()
        for table in self._shard.config.tables:
            store.release(table, sorted(store.leases(table)))  # the streams that they were lent on are gone
        if totals:
            set_totals(store, Totals.from_text(totals))
        self._shard.install(schema, store)
        await self._tier.learn_schema(schema.to_json(), table_bytes(self._shard.config, row_bytes(schema)))

    def _restore_starts(self, starts: StoredStartLog, store: Store) -> None:
        """All rows that the stored start log knows are read back: it goes on from there."""
        clock = self._shard.clock
        starts.restore(self._shard.starts, store.versions, clock.now_s(), clock.unix_s())

    def _learn_actor(self, stream: Stream) -> None:
        """Whose starts these are, for the start log."""
        if not self._shard.starts.knows(stream):
            identity = Identity.from_json(self._shard.lives.get(field_of(stream), "{}"))
            self._shard.starts.opened(stream, identity.pool, identity.speed_class, self._shard.clock.now_s())

    def _pieces(self, found: Read, starts: StoredStartLog | None) -> Sequence[Read]:
        """What to take at once: a pack in its parts where the stored start log ends inside it, each goes to the archive, or a table judges
        rows by the newest version when they came."""
        if not isinstance(found, Pack):
            return [found]
        ends_inside = starts is not None and found.first_row < starts.next_row < found.first_row + found.rows
        apart = ends_inside or self._judges_versions or self._shard.archiver is not None
        return unpacked(found) if apart else [found]

    @property
    def _judges_versions(self) -> bool:
        tables = self._shard.config.tables.values()
        return any(table.horizon_versions is not None or table.max_staleness is not None for table in tables)

    async def _take(self, chunk: Read, schema: Schema, store: Store, *, held: bool) -> None:
        """held: whether it is an entry of the durable tier, and not a part of one."""
        if isinstance(chunk, CorruptedChunk):
            return await self._leave_out(chunk, "its checksum is wrong")
        for stream in chunk.lives if isinstance(chunk, Pack) else [chunk.stream]:
            self._learn_actor(stream)
        if isinstance(chunk, Pack):
            return self._append_pack(chunk, schema, store)
        return await self._append(chunk, schema, store, held=held)

    def _append_pack(self, pack: Pack, schema: Schema, store: Store) -> None:
        """Its body was made by this service, of bodies that were read before."""
        appended = append_pack(self._shard, store, pack, decode_chunk(schema, pack.body))
        self._shard.holdings.free(appended.freed_chunks)

    def _hold_pack(self, pack: Pack, store: Store) -> None:
        """All parts are let go together."""
        self._shard.holdings.add_pack(pack.firsts.tolist(), len(pack.body))
        if not store.put_together(pack.first_row, pack.rows):
            self._shard.holdings.free([pack.first_row])

    async def _append(self, chunk: StoredChunk, schema: Schema, store: Store, *, held: bool) -> None:
        try:
            rows = decode_chunk(schema, chunk.body)
        except ValidationError as error:
            key = self._tier.store.entry_key(chunk.first_row)
            return await self._leave_out(CorruptedChunk(chunk.first_row, key, len(chunk.body)), str(error))
        age_s = max(0.0, self._shard.clock.unix_s() - chunk.stored_unix_s)
        now_s = self._shard.clock.now_s() - age_s  # at once: what took time in between would make rows younger
        appended = self._shard.append(store, rows, chunk.stream, now_s, chunk.held_s, chunk.first_row)
        if held:
            self._shard.holdings.add(chunk.first_row, len(chunk.body), chunk.rows)
        if self._shard.archiver is not None:
            self._shard.archiver.offer([chunk], schema)
            await self._shard.archiver.until_room()
        self._shard.holdings.free(appended.freed_chunks)
        return None

    async def _leave_out(self, chunk: CorruptedChunk, reason: str) -> None:
        damaged = self._tier.store.key("damaged")
        LOG.error("stored chunk %s (%d bytes) is left out and moved to %s: %s", chunk.key, chunk.stored_bytes, damaged, reason)
        self._shard.corrupted.append(chunk.key)
        try:
            await self._tier.store.set_aside(chunk.first_row, chunk.stream)
        except TierFullError as error:
            LOG.warning("it stays where it is until the server has room: %s", error)


def set_totals(store: Store, totals: Totals) -> None:
    """Counts as of the latest commit: chunks may have been deleted, or left out, since the latest snapshot."""
    store.next_row_number = max(store.next_row_number, totals.next_row)
    store.env_steps = max(store.env_steps, totals.env_steps)
    store.episodes = max(store.episodes, totals.episodes)
