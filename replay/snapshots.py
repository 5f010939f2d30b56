"""Snapshots: priorities, times sampled, limiters, counters and clients, packed and written about once a second.

Network I/O through the durable tier. After a crash they may be a second old; steps never are (replay/ingest.py).
"""

import asyncio
import json
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from replay.answers import Page
from replay.client_records import ClientRecords
from replay.commit import Commit
from replay.cuts import Cut, Cuts, check_label, dropped_labels
from replay.shard import Shard, ShardCounts
from replay.start_log_state import StartLogPages
from replay.store import Store
from sojourn.errors import UnavailableError

PAGES_AT_ONCE = 32  # about 0.1 ms each; between slices the loop serves others
COUNTERS = "counters"
CLIENTS = "clients"
PAGE = "page"


class Snapshots:
    """Writes what changed since the last snapshot.

    Invariant: a page that could not be written, or that the server lost, is written by a later snapshot, never forgotten.
    """

    def __init__(self, shard: Shard) -> None:
        self._shard = shard
        self._unsaved: dict[str, bytes] = {}
        self._clients_json = b""
        self._starts = StartLogPages(shard.starts, whole=shard.estimates)
        self._losses = 0  # of the tier, after which everything was gathered anew
        self._one_at_a_time = asyncio.Lock()

    async def run(self, every_s: float) -> None:
        """For ever."""
        while True:
            await asyncio.sleep(every_s)
            await self.save()

    async def save(self) -> bool:
        """Write what changed. False if the durable tier is gone or full; the next one writes it then."""
        async with self._one_at_a_time:
            if self._shard.tier is None or self._shard.store is None:
                return self._shard.tier is None
            began_s = self._shard.clock.now_s()
            self._begin_anew_behind_a_loss(self._shard.store)
            await self._collect(self._shard.store)
            saved = await self._write()
            self._shard.metrics.histogram("sojourn_replay_snapshot_seconds").observe(self._shard.clock.now_s() - began_s)
            return saved

    def _begin_anew_behind_a_loss(self, store: Store) -> None:
        """A server that came back without chunks came back without pages, or with older ones: what did not change is due again too."""
        assert self._shard.tier is not None
        if self._losses != self._shard.tier.losses:
            self._losses = self._shard.tier.losses
            store.mark_all_dirty()
            self._clients_json = b""
            self._starts = StartLogPages(self._shard.starts, whole=self._shard.estimates)

    async def _write(self) -> bool:
        """Write what was gathered, and delete chunks that are not needed. False if that is not possible now."""
        assert self._shard.tier is not None
        freed = self._shard.take_freed()
        saved = await self._shard.tier.try_write(Commit(pages=self._unsaved, freed=freed))
        if not saved:
            self._shard.holdings.put_back(freed)
        else:
            self._shard.metrics.counter("sojourn_replay_snapshot_bytes").inc(sum(map(len, self._unsaved.values())))
            self._unsaved = {}
        return saved

    async def cut(self, label: str, kept_label: str, learner_step: int, learned: tuple[str, tuple[int, ...]]) -> Cut:
        """Keep the state of all tables as it is at this call, under a label, and answer once it is durable.

        kept_label: see `dropped_labels`.  learned: a table, and its leases that the learner has learned from.
        What changed is gathered in one go, in which nobody else is served: 0.1 ms for 4,096 rows, 0.3 where a table is larger than the
        processor's cache.
        Raises ValidationError for an impossible label, UnavailableError if the durable tier is gone or full.
        """
        check_label(label)
        tier = self._shard.tier
        assert tier is not None
        if tier.status != "ok":  # a snapshot that waits for the server keeps others waiting
            raise UnavailableError(f"the durable tier is {tier.status}")
        async with self._one_at_a_time:
            store = self._shard.serving_store()
            began_s = self._shard.clock.now_s()
            cuts = await Cuts(tier.store).all()
            cut = self._described(store, label, learner_step, learned, 1 + max((cut.number for cut in cuts.values()), default=0))
            self._begin_anew_behind_a_loss(store)
            while pages := store.take_dirty_pages():
                self._keep(pages)
            self._collect_counters(store)
            if not await self._write():
                raise UnavailableError(f"the durable tier is {self._shard.tier_status()}")
            await Cuts(tier.store).make(cut, dropped_labels(cuts, label, kept_label))
            self._shard.metrics.histogram("sojourn_replay_cut_seconds").observe(self._shard.clock.now_s() - began_s)
            return cut

    def _described(self, store: Store, label: str, learner_step: int, learned: tuple[str, tuple[int, ...]], number: int) -> Cut:
        now_s = self._shard.clock.now_s()
        items = sum(store.facts(table, now_s).items for table in self._shard.config.tables)
        return Cut(label, store.next_row_number - 1, store.env_steps, items, learner_step, *learned, number)

    async def save_now(self) -> None:
        """Write what changed before answering somebody. Raises UnavailableError if that is not possible now."""
        if not await self.save():
            raise UnavailableError(f"the durable tier is {self._shard.tier_status()}")

    async def _collect(self, store: Store) -> None:
        """Gather changed pages slice by slice, then the counters, in one go with the last slice."""
        while pages := store.take_dirty_pages(PAGES_AT_ONCE):
            self._keep(pages)
            if len(pages) < PAGES_AT_ONCE:
                break
            await asyncio.sleep(0)
        self._collect_counters(store)

    def _keep(self, pages: Sequence[Page]) -> None:
        self._unsaved |= {f"{PAGE}:{page.table}:{page.number}": page.body for page in pages}

    def _collect_counters(self, store: Store) -> None:
        self._unsaved[COUNTERS] = json.dumps(
            {"store": store.counters(), "shard": asdict(self._shard.counts)}, separators=(",", ":")
        ).encode()
        clock = self._shard.clock
        self._shard.note_fates()
        self._unsaved |= self._starts.changed(store.versions, store.next_row_number, clock.now_s(), clock.unix_s())
        clients_json = self._shard.clients.to_json()
        if clients_json != self._clients_json:
            self._clients_json = self._unsaved[CLIENTS] = clients_json


def read_snapshot(pages: dict[str, bytes]) -> tuple[dict[str, Any], list[Page], ShardCounts, ClientRecords]:
    """What the durable tier's pages say: the store's counters and pages, and the shard's."""
    counters = json.loads(pages[COUNTERS]) if COUNTERS in pages else {"store": {}, "shard": {}}
    clients = ClientRecords.from_json(pages[CLIENTS]) if CLIENTS in pages else ClientRecords()
    found = [_page(name, body) for name, body in pages.items() if name.startswith(f"{PAGE}:")]
    return counters["store"], found, ShardCounts(**counters["shard"]), clients


def _page(name: str, body: bytes) -> Page:
    _, table, number = name.split(":")
    return Page(table, int(number), body)
