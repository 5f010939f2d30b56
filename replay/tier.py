"""Writing durably through outages: waits while the server is gone or full, finds out what had landed, appends again what was lost.

Network I/O on the service's event loop; a dead embedded server is started again in a worker thread. Only the waits between attempts
use the clock.
"""

import asyncio
import logging
import random
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace

from replay.answers import Stream
from replay.commit import Commit
from replay.embedded import EmbeddedServer
from replay.redis_store import RedisStore, TierFullError
from replay.tail import Tail
from sojourn.errors import UnavailableError
from sojourn.rpc import backoff_s

SHRINK_S = 5.0

LOG = logging.getLogger("sojourn.replay")


@dataclass(frozen=True)
class Standing:
    """What a server that came back without what it had must be told with it."""

    schema_json: bytes
    fences: Mapping[str, str]
    lives: Mapping[str, str]


StandingOf = Callable[[Mapping[Stream, int]], Standing]
"""Given the last message of each life that lies, or will lie, in the server's chunks."""


class DurableTier:
    """One shard's way to its server.

    status: "ok", "down: reason" or "full: reason".  losses: how often the server came back without what it had acknowledged.
    Invariant: `write` returns only when the commit is durable at the level asked for, whatever happened meanwhile.
    """

    def __init__(self, store: RedisStore, server: EmbeddedServer | None, standing: StandingOf) -> None:
        """server: None for one that others run.  standing: asked when the server has lost chunks that it had."""
        self.store = store
        self.status = "ok"
        self.reappended = 0
        self.losses = 0
        self.restarts = 0
        self._server = server
        self._standing = standing
        self._tail = Tail(time.monotonic)
        self._newest_row = 0
        self._recovering = asyncio.Lock()
        self._random = random.Random()

    async def write(self, commit: Commit) -> None:
        """Make a commit durable; waits as long as that takes. Raises NotOwnerError when another service has taken over."""
        waits_s = backoff_s(self._random)
        while True:
            try:
                await self.store.commit(commit, self._newest_row)
            except TierFullError as error:
                self._say(f"full: {error}")
                await asyncio.sleep(next(waits_s))
                await self._make_room(commit)
                commit = await self._rest_of(commit)  # it may be in memory and not in the file
            except UnavailableError as error:
                self._say(f"down: {error}")
                await asyncio.sleep(next(waits_s))
                await self.recover()
                commit = await self._rest_of(commit)
            else:
                self._say("ok")
                self._remember(commit)
                return

    async def _make_room(self, commit: Commit) -> None:
        """Deleting needs no room, and may make some."""
        with suppress(UnavailableError):  # the next attempt says what is wrong
            await self.store.commit(Commit(freed=commit.freed))

    async def try_write(self, commit: Commit) -> bool:
        """Try once; False if the server is gone or full. For what will be written again soon anyway."""
        try:
            await self.store.commit(commit, self._newest_row)
        except TierFullError as error:
            self._say(f"full: {error}")
            return False
        except UnavailableError as error:
            self._say(f"down: {error}")
            await self.recover()
            return False
        self._say("ok")
        return True

    async def recover(self) -> None:
        """Return once the server answers again and has everything it had."""
        async with self._recovering:
            for wait_s in backoff_s(self._random):
                try:
                    await self._revive()
                    await self.store.reclaim()
                    await self._append_again()
                except UnavailableError as error:
                    self._say(f"down: {error}")
                    await asyncio.sleep(wait_s)
                else:
                    self._say("ok")
                    return

    async def _revive(self) -> None:
        """Start a dead server of our own again, on the files it left."""
        if self._server is not None and not self._server.alive():
            await asyncio.to_thread(self._server.ensure_running)
            self.restarts += 1
            LOG.warning("the embedded Redis server had ended and was started again")
        await self.store.ping()

    async def _append_again(self) -> None:
        """Bring back what the server had acknowledged and lost (a fail-over to a replica that lagged, an emptied server)."""
        top = await self.store.last_row()
        if top >= self._newest_row:
            return
        lost = self._tail.behind(top)
        oldest = lost[0].first_row if lost else self._newest_row + 1
        LOG.error("the Redis server lost chunks behind row %d; %d chunks from row %d are appended again", top, len(lost), oldest)
        standing = self._standing(self._tail.newest_messages())
        if standing.schema_json:
            await self.store.set_schema(standing.schema_json)
        await self.store.set_clients(standing.lives)
        await self.store.commit(Commit(chunks=lost, fences=standing.fences))
        self.reappended += len(lost)
        self.losses += 1
        self._newest_row = lost[-1].first_row if lost else top  # what is gone for good is not asked for again

    async def _rest_of(self, commit: Commit) -> Commit:
        """After an unknown end: the commit without the chunks that had landed. It is sent again for its confirmation."""
        if not commit.chunks:
            return commit
        landed = await self._landed(commit.chunks[-1].first_row)
        if landed:
            self._remember(commit)
        return replace(commit, chunks=()) if landed else commit

    async def _landed(self, first_row: int) -> bool:
        while True:
            try:
                return await self.store.last_row() >= first_row
            except UnavailableError:
                await self.recover()

    def _remember(self, commit: Commit) -> None:
        for chunk in commit.chunks:
            self._tail.add(chunk)
            self._newest_row = max(self._newest_row, chunk.first_row)

    def _say(self, status: str) -> None:
        if status != self.status:
            LOG.log(logging.INFO if status == "ok" else logging.WARNING, "durable tier: %s", status)
        self.status = status

    async def learn_schema(self, schema_json: bytes, table_bytes: int) -> None:
        """Keep the schema, and size the append-only file's rewrites to the table; waits as long as that takes."""
        await self._persistently(lambda: self.store.set_schema(schema_json))
        if self._server is not None:
            await self._persistently(lambda: self.store.size_rewrites(table_bytes))

    async def learn_client(self, name: str, facts_json: str, fence: str) -> None:
        """Keep who a new life is; waits as long as that takes."""
        await self._persistently(lambda: self.store.set_client(name, facts_json, fence))

    async def _persistently(self, write: Callable[[], Awaitable[None]]) -> None:
        while True:
            try:
                return await write()
            except UnavailableError as error:
                self._say(f"down: {error}")
                await self.recover()

    async def shrink(self) -> None:
        """The shard is empty and leaves the run: let go of the room that it takes, if that is soon done."""
        let_go = self.store.rewrite_file() if self._server is not None else self.store.release_budget()
        with suppress(UnavailableError, TimeoutError):
            await asyncio.wait_for(let_go, SHRINK_S)

    async def close(self) -> None:
        """Leave the server as it is; a later life adopts it."""
        await self.store.close()

    async def stop_server(self) -> None:
        """End a server of our own; its files stay."""
        if self._server is not None:
            await asyncio.to_thread(self._server.stop)

    def start_behind(self, newest_row: int) -> None:
        """The newest row that the server had at start-up."""
        self._newest_row = newest_row
