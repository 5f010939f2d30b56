"""What does the durable tier of a shard hold that nobody serves? Reads an ended run's files through its own server; changes nothing.

Blocks and uses the network: an embedded server is started on the shard's folder and ended again, unless it runs already.
"""

import asyncio
import threading
from collections.abc import Coroutine, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from replay.arrow import decode_chunk
from replay.commit import StoredChunk
from replay.exported import ExportedRows
from replay.lineage import Lineage, lineage
from replay.open_tier import make_embedded
from replay.redis_store import RedisStore
from replay.snapshot import ITEM_GONE, RestoredPages, restored_pages
from replay.snapshots import read_snapshot
from sojourn.columns import Schema
from sojourn.config import Config
from sojourn.errors import ConfigError, ValidationError

NOBODY = 0  # owner of what is only read: its commits would be refused
T = TypeVar("T")


class OwnLoop:
    """An event loop on a thread of its own, for callers that block and may have a loop themselves."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="stored shard", daemon=True)
        self._thread.start()

    def wait_for(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()

    def close(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


class StoredShard:
    """One shard's chunks in its Redis-compatible server.

    schema_json: empty if no actor ever said hello.
    """

    def __init__(self, store: RedisStore, loop: OwnLoop) -> None:
        self._store, self._loop = store, loop
        loop.wait_for(store.until_loaded())
        self.schema_json = loop.wait_for(store.schema_json())

    def origins(self, schema: Schema, keys: Sequence[int]) -> list[Lineage]:
        """Where those items come from whose rows are kept."""
        return self._loop.wait_for(lineage(self._store, schema, keys))

    def rows(self, schema: Schema, table: str) -> Iterator[ExportedRows]:
        """Every chunk, in the order of row numbers; priorities as of the latest snapshot. Damaged ones are passed over.

        Memory holds the pages of the snapshot (12 bytes a row at most) and some 16 MiB of chunks.
        """
        _, pages, _, _ = read_snapshot(self._loop.wait_for(self._store.pages()))
        items = restored_pages(pages, [table])[table]
        chunks = self._store.chunks()

        async def next_chunk() -> Any:
            return await anext(chunks, None)

        try:
            while (chunk := self._loop.wait_for(next_chunk())) is not None:
                if isinstance(chunk, StoredChunk):
                    with suppress(ValidationError):
                        yield exported(chunk, schema, items)
        finally:
            self._loop.wait_for(chunks.aclose())  # type: ignore[attr-defined]  # an async generator, annotated as what it yields


def exported(chunk: StoredChunk, schema: Schema, items: RestoredPages) -> ExportedRows:
    """The chunk with what the snapshot's pages say of its items. Raises ValidationError if it is no chunk of this schema."""
    priority, times = items.look_up(np.arange(chunk.first_row, chunk.first_row + chunk.rows))
    priority[priority == ITEM_GONE] = np.nan
    return ExportedRows(
        first_row=chunk.first_row,
        rows=decode_chunk(schema, chunk.body),
        client_id=chunk.client_id,
        incarnation=chunk.incarnation,
        stored_unix_s=chunk.stored_unix_s,
        held_s=chunk.held_s,
        priority=priority,
        times_sampled=times,
    )


@contextmanager
def stored_shard(config: Config, run_folder: Path, run_id: str, shard: int) -> Iterator[StoredShard]:
    """A shard of a run that nobody drives. Raises ConfigError if nothing was kept, UnavailableError if its server does not come up."""
    with _server_url(config, run_folder, shard) as url:
        loop = OwnLoop()
        store = RedisStore(url, run_id=run_id, shard=shard, owner=NOBODY)
        try:
            yield StoredShard(store, loop)
        finally:
            loop.wait_for(store.close())
            loop.close()


@contextmanager
def _server_url(config: Config, run_folder: Path, shard: int) -> Iterator[str]:
    if config.replay.durability == "memory":
        raise ConfigError(f"{run_folder} has ended and kept no experience: replay.durability was memory")
    if config.replay.redis_url:
        yield config.replay.redis_url
        return
    if not (run_folder / "redis" / str(shard)).is_dir():
        raise ConfigError(f"{run_folder} has kept nothing of shard {shard}: there is no {run_folder}/redis/{shard}")
    server = make_embedded(config, run_folder, shard)
    started = not server.alive() and server.ensure_running()
    try:
        yield server.url
    finally:
        if started:
            server.stop()
