"""The durable tier of a shard: what is kept under which key of a Redis-compatible server.

Network I/O on the caller's event loop; no clock, no retries (replay/ingest.py decides when to try again). All keys of a shard
carry one hash tag, `{sojourn:<run_id>:<shard>}`, so that they live on one node of a cluster:

    <tag>:owner     string   incarnation of the service that may write
    <tag>:schema    string   the experience schema, JSON
    <tag>:chunks    stream   id `<first row number>-0`; fields: h header JSON, b Arrow body, k CRC-32 of both
    <tag>:fences    hash     `<client>/<incarnation>` -> `<last message number> <live | closed>`
    <tag>:clients   hash     `<client>/<incarnation>` -> JSON: host, environment, seed (lineage)
    <tag>:pages     hash     page name -> packed bytes of the latest snapshot
    <tag>:packs     stream   small chunks put together (replay/packs.py)
    <tag>:initial   string   JSON of the record of what the run began with, where the shard itself sends it (replay/initial_record.py)
    <tag>:budget    string   bytes that the shard's chunks may take, for others who use the same server
    <tag>:damaged   hash     `<first row number>-0 <h | b | k>` -> bytes of an entry that was not what had been stored

and those of cuts (replay/cuts.py).
"""

import asyncio
import json
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import replace
from typing import Any

import redis.asyncio
from redis.asyncio.client import Pipeline
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import BusyLoadingError, NoScriptError, RedisError, ResponseError

from replay.commit import COMMIT, SET_ASIDE, Commit, CorruptedChunk, StoredChunk, checksum
from replay.durability import Confirmation, Durability, ServerSettings, check_server, confirmation
from replay.packing import Pack, unpacked
from replay.packs import PACKS, Entry, chunks_and_packs, oldest_packed_row, packed_chunk_of, row_of
from replay.redis_errors import NotOwnerError, TierFullError, translated, without_password
from sojourn.errors import ConfigError, UnavailableError

__all__ = ["NotOwnerError", "RedisStore", "TierFullError"]

CONNECT_TIMEOUT_S = 1.0
ANSWER_TIMEOUT_S = 10.0
CONFIRM_TIMEOUT_MS = 5_000
LOADING_LOOK_S = 0.05
SCANNED_AT_ONCE = 1_000


class RedisStore:
    """A shard's keys in one server. Every method raises UnavailableError when the server cannot be reached.

    Invariant: a commit is there whole or not at all, and only while this service owns the shard.
    """

    def __init__(self, url: str, *, run_id: str, shard: int, owner: int) -> None:
        self.url = without_password(url)
        self.tag = f"{{sojourn:{run_id}:{shard}}}"
        self.owner = owner
        self.confirm = Confirmation()
        self._client: Any = redis.asyncio.Redis.from_url(  # Any: its annotations allow str where this client gives bytes
            url,
            socket_connect_timeout=CONNECT_TIMEOUT_S,
            socket_timeout=ANSWER_TIMEOUT_S,
            retry=Retry(NoBackoff(), 0),  # a commit that is sent twice by itself would look like another writer
            redis_connect_func=self._greet,
        )
        self._required: tuple[Durability, int] | None = None
        self._connections = self._checked = 0  # made, and of these those behind which the server's settings were looked at
        self._sha = ""

    async def _greet(self, connection: Any) -> None:
        """The client library connects by itself, also to a server that came back with other settings: count it."""
        self._connections += 1
        await connection.on_connect()

    def require(self, level: Durability, memory_bytes: int, settings: ServerSettings) -> None:
        """From now on nothing counts as durable behind a new connection before its server was found to give this level.

        settings: of the server, which gives it now.
        """
        self._required, self.confirm = (level, memory_bytes), confirmation(level, settings)
        self._checked = self._connections

    async def _check_again(self) -> None:
        """Raise UnavailableError with each setting with which the server behind a new connection cannot give the level."""
        if self._required is None or self._checked == self._connections:
            return
        (level, memory_bytes), connections = self._required, self._connections
        settings = await self.settings()
        try:
            check_server(level, replace(settings, replicas=max(1, settings.replicas)), memory_bytes)  # WAIT counts them each time
        except ConfigError as error:
            raise UnavailableError(f"{error}; it came back with other settings") from error
        self._checked, before = connections, self.confirm
        self.confirm = confirmation(level, settings)
        if self.confirm != before:
            raise UnavailableError(
                "the Redis server came back with other settings, under which a commit is confirmed in another way"
            )

    def key(self, name: str) -> str:
        return f"{self.tag}:{name}"

    async def ping(self) -> None:
        with translated(self.url):
            await self._client.ping()

    async def until_loaded(self) -> None:
        """Return once the server answers and has read its files back."""
        while True:
            try:
                return await self.ping()
            except UnavailableError as error:
                if not isinstance(error.__cause__, BusyLoadingError):
                    raise
            await asyncio.sleep(LOADING_LOOK_S)

    async def size_rewrites(self, table_bytes: int) -> None:
        """Tell a server of our own how large its append-only file gets before a rewrite is worth it."""
        with translated(self.url):
            await self._client.config_set("auto-aof-rewrite-min-size", 2 * table_bytes)

    async def initial_json(self) -> bytes:
        """What `set_initial` kept."""
        with translated(self.url):
            return bytes(await self._client.get(self.key("initial")) or b"")

    async def set_initial(self, record_json: str) -> None:
        """Keep who sends what the run begins with."""
        with translated(self.url):
            await self._client.set(self.key("initial"), record_json)

    async def claim_budget(self, memory_bytes: int) -> dict[str, int]:
        """Say how many bytes this shard may take. Returns what every shard on this server has said, by the tag of its keys."""
        said = {}
        with translated(self.url):
            await self._client.set(self.key("budget"), memory_bytes)
            async for name in self._client.scan_iter(match="{sojourn:*}:budget", count=SCANNED_AT_ONCE):
                said[name.decode().removesuffix(":budget")] = int(await self._client.get(name) or 0)
        return said

    async def release_budget(self) -> None:
        """This shard takes nothing here."""
        with translated(self.url):
            await self._client.unlink(self.key("budget"))

    async def rewrite_file(self) -> None:
        """Have a server of our own write its append-only file anew, without what was deleted, and wait for it."""
        with translated(self.url):
            await self._client.bgrewriteaof()
            about = await self._client.info("persistence")
            while about["aof_rewrite_in_progress"] or about["aof_rewrite_scheduled"]:
                await asyncio.sleep(LOADING_LOOK_S)
                about = await self._client.info("persistence")

    async def settings(self) -> ServerSettings:
        """What durability depends on. ConfigError if the server does not tell."""
        with translated(self.url):
            try:
                config = await self._client.config_get("appendonly", "appendfsync", "maxmemory", "maxmemory-policy")
                about = await self._client.info("server", "replication")
            except ResponseError as error:
                raise ConfigError(f"the Redis server does not tell its settings (CONFIG GET, INFO): {error}") from error
        version = tuple(int(part) for part in about["redis_version"].split(".")[:2])
        return ServerSettings(
            appendonly=config["appendonly"],
            appendfsync=config["appendfsync"],
            maxmemory_bytes=int(config["maxmemory"]),
            maxmemory_policy=config["maxmemory-policy"],
            replicas=int(about.get("connected_slaves", 0)),
            has_waitaof=version >= (7, 2),
        )

    async def take_over(self) -> None:
        """From now on only this service may commit."""
        with translated(self.url):
            await self._client.set(self.key("owner"), self.owner)

    async def reclaim(self) -> None:
        """After a reconnect: own the shard again if nobody else does (an emptied server has forgotten us).

        Raises NotOwnerError when another service has taken over.
        """
        with translated(self.url):
            await self._client.set(self.key("owner"), self.owner, nx=True)
            if self._required is not None:
                await self._client.set(self.key("budget"), self._required[1])
            owner = int(await self._client.get(self.key("owner")))
        await self._check_again()
        if owner != self.owner:
            raise NotOwnerError(f"another replay service, {owner}, has taken over this shard")

    async def commit(self, commit: Commit, newest_row: int = 0) -> None:
        """Make it durable, and wait for the copies that the level needs.

        newest_row: first row of the newest chunk that was acknowledged; a server that has lost it is unavailable (`reclaim`).
        Raises TierFullError, NotOwnerError, or UnavailableError, after which it may or may not have landed (`last_row`).
        """
        with translated(self.url):
            try:
                answers = await self._send(commit, newest_row)
            except NoScriptError:
                self._sha = await self._client.script_load(COMMIT)
                answers = await self._send(commit, newest_row)
        await self._until_copied(answers)

    async def _until_copied(self, answers: Sequence[Any]) -> None:
        """Raise UnavailableError, or TierFullError, unless what was written is where the level needs it. answers: of `_executed`."""
        self._check_copies(answers)
        if self.confirm.written:
            await self._until_written()
        await self._check_again()

    async def _until_written(self) -> None:
        """Raise TierFullError if the server could not write to its append-only file what it has just answered.

        With `appendfsync no` it writes between executing and answering, and answers OK also where that write failed; only the next
        command that writes is refused. This one writes nothing: 26 microseconds.
        """
        with translated(self.url):
            await self._client.unlink(self.key("nothing"))

    async def _send(self, commit: Commit, newest_row: int) -> list[Any]:
        keys = [self.key(name) for name in ("owner", "chunks", "fences", "pages", PACKS)]
        pipe = self._client.pipeline(transaction=False)
        pipe.evalsha(self._sha, len(keys), *keys, *commit.arguments(self.owner, newest_row))
        return await self._executed(pipe)

    async def _executed(self, pipe: Pipeline) -> list[Any]:
        """What the pipe writes, and, on the same connection, the wait for its copies: another one's would be over at once."""
        if self.confirm.local_syncs:
            pipe.execute_command("WAITAOF", self.confirm.local_syncs, 0, CONFIRM_TIMEOUT_MS)
        if self.confirm.replicas:
            pipe.execute_command("WAIT", self.confirm.replicas, CONFIRM_TIMEOUT_MS)
        answers = await pipe.execute(raise_on_error=False)  # its own error would quote the whole body
        if isinstance(answers[0], RedisError):
            raise answers[0]
        return list(answers)

    def _check_copies(self, answers: Sequence[Any]) -> None:
        if self.confirm.local_syncs and answers[1][0] < self.confirm.local_syncs:
            raise UnavailableError(f"the Redis server did not sync its append-only file within {CONFIRM_TIMEOUT_MS} ms")
        if self.confirm.replicas and answers[-1] < self.confirm.replicas:
            raise UnavailableError(f"{answers[-1]} replicas of {self.confirm.replicas} confirmed within {CONFIRM_TIMEOUT_MS} ms")

    async def last_row(self) -> int:
        """First row of the newest chunk ever committed, also if it was deleted since; 0 if none."""
        with translated(self.url):
            if not await self._client.exists(self.key("chunks")):
                return 0
            return row_of((await self._client.xinfo_stream(self.key("chunks")))["last-generated-id"])

    async def chunks(self, first_row: int = 0) -> AsyncIterator[StoredChunk | CorruptedChunk]:
        """Every chunk that begins at `first_row` or later, in order; the next ones are read while the caller uses these."""
        async with aclosing(chunks_and_packs(self, first_row)) as found:
            async for one in found:
                for chunk in unpacked(one) if isinstance(one, Pack) else (one,):
                    yield chunk

    async def entries(self, name: str, first: str, last: str, count: int, *, newest_first: bool = False) -> list[Entry]:
        """Entries of a stream, at most so many, whose ids lie between these two ("(" before an id: without it; "-", "+": no bound)."""
        with translated(self.url):
            if newest_first:
                return list(await self._client.xrevrange(self.key(name), max=last, min=first, count=count))
            return list(await self._client.xrange(self.key(name), min=first, max=last, count=count))

    def checked(self, entry: Entry) -> StoredChunk | CorruptedChunk:
        """The chunk that was stored as this entry, if it is what was stored."""
        entry_id, fields = entry
        header, body = fields.get(b"h", b""), fields.get(b"b", b"")
        if fields.get(b"k") == str(checksum(header, body)).encode():
            return StoredChunk(**json.loads(header), body=body)
        first_row = row_of(entry_id)
        return CorruptedChunk(first_row, self.entry_key(first_row), len(header) + len(body))

    def entry_key(self, first_row: int) -> str:
        """How a chunk is named to people: key and entry id."""
        return f"{self.key('chunks')} {first_row}-0"

    async def set_aside(self, first_row: int, stream: str = "chunks") -> None:
        """Move a damaged entry to `damaged`, so that it is met once and kept for people."""
        await self.script(SET_ASIDE, ("owner", stream, "damaged"), (self.owner, f"{first_row}-0"))

    async def chunk_of(self, row: int) -> StoredChunk | None:
        """The chunk that holds a row, or None if it is not kept (any more)."""
        entries = await self.entries("chunks", "-", f"{row}-0", 1, newest_first=True)
        found = self.checked(entries[0]) if entries else None
        if isinstance(found, StoredChunk) and row < found.first_row + found.rows:
            return found
        return await packed_chunk_of(self, row)

    async def oldest_row(self) -> int:
        """First row of the oldest chunk that is kept; 0 if none is."""
        entries = await self.entries("chunks", "-", "+", 1)
        kept = [row_of(entries[0][0]) if entries else 0, await oldest_packed_row(self)]
        return min(filter(None, kept), default=0)

    async def hash(self, name: str, *fields: str) -> dict[str, bytes]:
        """A hash of the shard's keys, or only these fields of it; those that are not there are left out."""
        with translated(self.url):
            if not fields:
                return {key.decode(): value for key, value in (await self._client.hgetall(self.key(name))).items()}
            values = await self._client.hmget(self.key(name), fields)
        return {field: value for field, value in zip(fields, values, strict=True) if value is not None}

    async def script(self, source: str, names: Sequence[str], arguments: Sequence[str | bytes | int]) -> bytes:
        """Run a script on keys of the shard. Raises NotOwnerError, TierFullError or UnavailableError for what it refuses."""
        with translated(self.url):
            answer: bytes = await self._client.eval(source, len(names), *map(self.key, names), *arguments)
        return answer

    async def durable_script(self, source: str, names: Sequence[str], arguments: Sequence[str | bytes | int]) -> bytes:
        """The same, and wait for the copies that the level needs of what it has written."""
        with translated(self.url):
            pipe = self._client.pipeline(transaction=False)
            pipe.eval(source, len(names), *map(self.key, names), *arguments)
            answers = await self._executed(pipe)
        await self._until_copied(answers)
        return bytes(answers[0])

    async def fences(self) -> dict[str, str]:
        return {key: value.decode() for key, value in (await self.hash("fences")).items()}

    async def client(self, name: str) -> str:
        """What `set_client` kept."""
        with translated(self.url):
            return bytes(await self._client.hget(self.key("clients"), name) or b"{}").decode()

    async def pages(self) -> dict[str, bytes]:
        return await self.hash("pages")

    async def schema_json(self) -> bytes:
        """Empty until the first actor has said hello."""
        with translated(self.url):
            return bytes(await self._client.get(self.key("schema")) or b"")

    async def set_schema(self, schema_json: bytes) -> None:
        with translated(self.url):
            await self._client.set(self.key("schema"), schema_json)

    async def set_client(self, name: str, facts_json: str, fence: str) -> None:
        """Keep who a new life is, and that its incarnation is taken."""
        with translated(self.url):
            pipe = self._client.pipeline(transaction=True)
            pipe.hset(self.key("clients"), name, facts_json)
            pipe.hset(self.key("fences"), name, fence)
            await pipe.execute()

    async def set_clients(self, facts_json: Mapping[str, str]) -> None:
        """Keep who these lives are, by name."""
        if facts_json:
            with translated(self.url):
                await self._client.hset(self.key("clients"), mapping=facts_json)

    async def close(self) -> None:
        await self._client.aclose()
