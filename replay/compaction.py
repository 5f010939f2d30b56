"""Small chunks are put together in the background, so that a restart reads them back in time. Network I/O on the service's event loop.

The bytes are put together on a thread of their own; the service rests nine times as long as the work took. In memory the chunks of a run
are let go together from just before the exchange on: whether that happened need not be known when the connection broke, since what is
let go is deleted under both names, and a kill at any moment leaves either the chunks or their pack.
"""

import asyncio
import logging
import time
from collections.abc import Sequence

from replay.commit import CorruptedChunk, StoredChunk
from replay.holdings import Holdings, Small
from replay.packing import FEWEST_CHUNKS, PACK_BYTES, Pack, packed
from replay.packs import chunks_of, exchange
from replay.shard import Shard, row_bytes
from sojourn.errors import UnavailableError

LOG = logging.getLogger("sojourn.replay")

LEAST_REST_S = 0.1
RESTS_FOR = 9.0  # times as long as it worked
IDLE_S = 1.0
MOST_CHUNKS = 2_048  # of one pack: the script that exchanges them holds the server up for some 5 ms


class Compaction:
    """Of one shard. `run` works for ever; there is nothing to do at level `memory`."""

    def __init__(self, shard: Shard) -> None:
        self._shard = shard

    async def run(self) -> None:
        """Raises NotOwnerError when another service has taken the shard over."""
        while True:
            began_s = time.monotonic()
            try:
                worked = await self.step()
            except UnavailableError as error:
                LOG.info("small chunks stay as they are for now: %s", error)
                worked = False
            took_s = time.monotonic() - began_s
            await asyncio.sleep(max(LEAST_REST_S, RESTS_FOR * took_s) if worked else IDLE_S)

    async def step(self) -> bool:
        """Put one run of small chunks together. False if there is none."""
        shard = self._shard
        if shard.tier is None or shard.schema is None:
            return False
        applied_before = shard.serving_store().next_row_number
        run = next_run(shard.holdings, PACK_BYTES // row_bytes(shard.schema), applied_before)
        if run is None:
            return False
        with shard.metrics.histogram("sojourn_replay_pack_seconds").time():
            await self._put_together(run)
        return True

    async def _put_together(self, run: Sequence[Small]) -> None:
        assert self._shard.tier is not None
        first_rows = [chunk.first_row for chunk in run]
        try:
            found = await chunks_of(self._shard.tier.store, first_rows)
        except UnavailableError:
            self._shard.holdings.small.extendleft(reversed(run))
            raise
        chunks = [chunk for chunk in found if isinstance(chunk, StoredChunk)]
        for chunk in found:
            if isinstance(chunk, CorruptedChunk):
                await self._name(chunk)
        if len(chunks) < len(run):
            there = {chunk.first_row for chunk in chunks}
            return self._shard.holdings.small.extendleft(chunk for chunk in reversed(run) if chunk.first_row in there)
        pack = await asyncio.to_thread(packed, chunks)
        if pack is not None:
            await self._exchange(pack, first_rows)
        return None

    async def _exchange(self, pack: Pack, first_rows: Sequence[int]) -> None:
        """Nothing else runs between the look whether all are still needed and their being one."""
        shard, holdings = self._shard, self._shard.holdings
        assert shard.tier is not None
        if not all(first_row in holdings for first_row in first_rows):
            return
        holdings.put_together(first_rows)
        shard.serving_store().put_together(pack.first_row, pack.rows)
        if await exchange(shard.tier.store, pack):
            holdings.resize(pack.first_row, len(pack.body))
            shard.metrics.counter("sojourn_replay_packed_chunks").inc(len(first_rows))

    async def _name(self, chunk: CorruptedChunk) -> None:
        """As at a start: its rows are served until this life of the service ends, and are not read back by the next."""
        assert self._shard.tier is not None
        damaged = self._shard.tier.store.key("damaged")
        LOG.error("stored chunk %s (%d bytes) is moved to %s: its checksum is wrong", chunk.key, chunk.stored_bytes, damaged)
        self._shard.corrupted.append(chunk.key)
        await self._shard.tier.store.set_aside(chunk.first_row, chunk.stream)


def next_run(holdings: Holdings, most_rows: int, applied_before: int) -> list[Small] | None:
    """Small chunks that follow one another and fill a pack, or that nothing will follow any more; None if there are none.

    applied_before: rows from this number on are durable at most, and not in the slab yet.
    What was looked at is taken from `holdings.small`, but for what still waits for its successors.
    """
    small = holdings.small
    while small and _end(small[0]) <= applied_before:
        run: list[Small] = []
        rows = 0
        while small and rows < most_rows and len(run) < MOST_CHUNKS and _goes_on(run, small[0], holdings, applied_before):
            run.append(small.popleft())
            rows += run[-1].rows
        full = rows >= most_rows or len(run) == MOST_CHUNKS
        if run and not full and _may_go_on(run[-1], small, holdings, applied_before):
            small.extendleft(reversed(run))
            return None
        if len(run) >= FEWEST_CHUNKS:
            return run
        if not run:
            small.popleft()
    return None


def _goes_on(run: Sequence[Small], chunk: Small, holdings: Holdings, applied_before: int) -> bool:
    follows = not run or _end(run[-1]) == chunk.first_row
    return follows and _end(chunk) <= applied_before and chunk.first_row in holdings


def _may_go_on(last: Small, small: Sequence[Small], holdings: Holdings, applied_before: int) -> bool:
    """Whether the chunk behind is still to come, or to be applied."""
    if not small:
        return _end(last) not in holdings
    return small[0].first_row == _end(last) and _end(small[0]) > applied_before


def _end(chunk: Small) -> int:
    return chunk.first_row + chunk.rows
