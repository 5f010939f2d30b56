"""How does a shard keep every row that it ever accepted? Hands stored chunks to a worker thread that writes them to the archive, in order.

On the service's event loop; the disk and Parquet are a thread's affair. A chunk is not deleted from the durable tier before it lies in a
finished file, so that what a killed service had not archived is archived by its next life. Bounded: where the disk is slower than the
inserts, or refuses, inserts wait.
"""

import asyncio
import logging
import random
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from replay.answers import Stream
from replay.archive import archive_files, write_archive
from replay.commit import StoredChunk
from replay.wakeups import Wakeups
from sojourn.columns import Schema
from sojourn.metrics import Metrics
from sojourn.rpc import backoff_s

FILE_BYTES = 8 << 20  # of chunks: then a file is written
FILE_AGE_S = 30.0  # a file is written so long after the last one, however little came
WAITING_BYTES = 64 << 20  # then inserts wait

LOG = logging.getLogger("sojourn.replay")

IdentityOf = Callable[[Stream], str]
"""Who a life of an actor said it is, as JSON."""


class Archiver:
    """The archive of one shard while it serves. `run` works for ever beside the service.

    status: "ok" or why nothing can be written now.
    Invariant: chunks are written in the order of their rows, so that everything up to `archived_row` lies in finished files.
    """

    def __init__(
        self, folder: Path, shard: int, identity_of: IdentityOf, metrics: Metrics, *, file_age_s: float = FILE_AGE_S
    ) -> None:
        self.status = "ok"
        self.archived_row = max((file.last_row for file in archive_files(folder, shard)), default=0)
        self._folder, self._shard = folder, shard
        self._identity_of = identity_of
        self._metrics = metrics
        self._file_age_s = file_age_s
        self._waiting: deque[StoredChunk] = deque()
        self._waiting_bytes = 0
        self._schema: Schema | None = None
        self._flushing = False
        self._offered, self._written = Wakeups(), Wakeups()

    def offer(self, chunks: Iterable[StoredChunk], schema: Schema) -> None:
        """Chunks that are durable, in the order of their rows; those that are archived are ignored."""
        self._schema = schema
        for chunk in chunks:
            if chunk.first_row + chunk.rows - 1 > self.archived_row:
                self._waiting.append(chunk)
                self._waiting_bytes += len(chunk.body)
        self._measure()
        self._offered.notify()

    async def until_room(self) -> None:
        """Wait while too much waits for the disk."""
        await self._written.until(lambda: self._waiting_bytes < WAITING_BYTES)

    def deletable(self, first_rows: Sequence[int]) -> tuple[list[int], list[int]]:
        """Chunks, by first row, that the durable tier may forget, and those that it must keep until they are archived."""
        first_waiting = self._waiting[0].first_row if self._waiting else None
        kept = [row for row in first_rows if first_waiting is not None and row >= first_waiting]
        return [row for row in first_rows if first_waiting is None or row < first_waiting], kept

    async def flush(self) -> None:
        """Return once everything offered is in finished files."""
        self._flushing = True
        self._offered.notify()
        await self._written.until(lambda: not self._waiting)
        self._flushing = False

    async def run(self) -> None:
        """Write file after file, for ever."""
        while True:
            await self._until_due()
            await self._write(self._next_file())
            self._written.notify()

    async def _until_due(self) -> None:
        await self._offered.until(lambda: bool(self._waiting))
        try:
            async with asyncio.timeout(self._file_age_s):
                await self._offered.until(lambda: self._flushing or self._waiting_bytes >= FILE_BYTES)
        except TimeoutError:
            return

    def _next_file(self) -> list[StoredChunk]:
        """The oldest chunks, as many as a file shall hold."""
        chosen: list[StoredChunk] = []
        chosen_bytes = 0
        for chunk in self._waiting:
            if chosen and chosen_bytes + len(chunk.body) > FILE_BYTES:
                break
            chosen.append(chunk)
            chosen_bytes += len(chunk.body)
        return chosen

    async def _write(self, chunks: list[StoredChunk]) -> None:
        """Persistently: what could not be written keeps waiting, and is said."""
        assert self._schema is not None
        identities = {stream: self._identity_of(stream) for stream in {chunk.stream for chunk in chunks}}
        waits_s = backoff_s(random.Random())
        while True:
            try:
                with self._metrics.histogram("sojourn_replay_archive_seconds").time():
                    file = await asyncio.to_thread(write_archive, self._folder, self._schema, self._shard, chunks, identities)
            except OSError as error:
                self._say(f"the archive in {self._folder} cannot be written: {error}")
                await asyncio.sleep(next(waits_s))
            else:
                break
        self._say("ok")
        self.archived_row = file.last_row
        for chunk in chunks:
            self._waiting.popleft()
            self._waiting_bytes -= len(chunk.body)
        self._metrics.counter("sojourn_replay_archived_rows").inc(sum(chunk.rows for chunk in chunks))
        self._measure()

    def _measure(self) -> None:
        self._metrics.gauge("sojourn_replay_archive_waiting_bytes").set(self._waiting_bytes)

    def _say(self, status: str) -> None:
        if status != self.status:
            LOG.log(logging.INFO if status == "ok" else logging.WARNING, "lineage: %s", status)
        self.status = status
