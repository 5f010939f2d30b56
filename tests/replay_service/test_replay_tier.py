"""The durable tier against a real Valkey: what a commit keeps, what an outage costs, who may write."""

import asyncio
import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import psutil
import pytest

from replay.commit import Commit, CorruptedChunk, StoredChunk
from replay.durability import Confirmation, ServerSettings, check_server, confirmation, embedded_appendfsync
from replay.embedded import EmbeddedServer
from replay.fences import Fences
from replay.redis_store import NotOwnerError, RedisStore, TierFullError
from replay.tier import DurableTier, Standing
from sojourn.errors import ConfigError, UnavailableError
from tests.waiting import DEADLINE_S, eventually_async

SETTINGS = ServerSettings("yes", "no", 0, "noeviction", 0, True)


def make_chunk(first_row: int, body: bytes = b"rows") -> StoredChunk:
    return StoredChunk(first_row, 10, "actor-0", 7, first_row, 1.0, 0.5, body)


def make_store(server: EmbeddedServer, owner: int = 1) -> RedisStore:
    return RedisStore(server.url, run_id="run", shard=0, owner=owner)


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[EmbeddedServer]:
    server = EmbeddedServer(tmp_path, 0, appendfsync="no", memory_bytes=1 << 28, rewrite_min_bytes=1 << 28)
    server.ensure_running()
    yield server
    server.stop()


@pytest.fixture
async def store(server: EmbeddedServer) -> AsyncIterator[RedisStore]:
    store = make_store(server)
    await store.take_over()
    yield store
    await store.close()


def make_tier(store: RedisStore, server: EmbeddedServer | None) -> DurableTier:
    return DurableTier(store, server, lambda _: Standing(b"{}", {"actor-0/7": "1 live"}, {}))


def kill(server: EmbeddedServer) -> None:
    life = server.life()
    assert life is not None
    process = psutil.Process(life.pid)
    process.kill()
    process.wait(DEADLINE_S)


async def rows_of(store: RedisStore) -> list[int]:
    return [chunk.first_row async for chunk in store.chunks()]


async def test_a_commit_comes_back_as_it_was_written(store: RedisStore) -> None:
    chunk = make_chunk(1, b"\x00\xffbody")
    await store.commit(Commit([chunk], {"actor-0/7": "1 live"}, {"page:replay:0": b"\x01"}))
    assert [found async for found in store.chunks()] == [chunk]
    assert await store.fences() == {"actor-0/7": "1 live"}
    assert await store.pages() == {"page:replay:0": b"\x01"}


async def test_freed_chunks_and_empty_pages_are_deleted_and_the_top_row_is_remembered(store: RedisStore) -> None:
    await store.commit(Commit([make_chunk(1), make_chunk(11)], {}, {"page": b"x"}))
    await store.commit(Commit(pages={"page": b""}, freed=[1, 11]))
    assert await rows_of(store) == []
    assert await store.pages() == {}
    assert await store.last_row() == 11


async def test_chunks_are_read_in_order_over_many_reads(store: RedisStore) -> None:
    await store.commit(Commit([make_chunk(row) for row in range(1, 1000, 10)]))
    assert await rows_of(store) == list(range(1, 1000, 10))
    assert [chunk.first_row async for chunk in store.chunks(951)] == [951, 961, 971, 981, 991]


async def test_a_damaged_chunk_is_named_by_its_key(store: RedisStore) -> None:
    await store._client.xadd(store.key("chunks"), {"h": b"{}", "b": b"x", "k": 1}, id="5-0")
    assert [found async for found in store.chunks()] == [CorruptedChunk(5, "{sojourn:run:0}:chunks 5-0", 3)]


async def test_a_row_finds_its_chunk(store: RedisStore) -> None:
    await store.commit(Commit([make_chunk(1), make_chunk(21)]))
    found = await store.chunk_of(10)
    assert found is not None
    assert found.first_row == 1
    assert await store.chunk_of(15) is None


async def test_a_service_that_was_taken_over_can_write_nothing(store: RedisStore, server: EmbeddedServer) -> None:
    successor = make_store(server, owner=2)
    await successor.take_over()
    with pytest.raises(NotOwnerError):
        await store.commit(Commit([make_chunk(1)], {"actor-0/7": "1 live"}))
    assert await rows_of(store) == []
    assert await store.fences() == {}
    await successor.close()


async def test_a_full_server_refuses_the_whole_commit(store: RedisStore) -> None:
    await store._client.config_set("maxmemory", 1)
    with pytest.raises(TierFullError, match="out of memory"):
        await store.commit(Commit([make_chunk(1)], {"actor-0/7": "1 live"}))
    await store._client.config_set("maxmemory", 0)
    assert await store.fences() == {}


async def test_writing_waits_until_a_full_server_has_room(store: RedisStore) -> None:
    tier = make_tier(store, None)
    await store._client.config_set("maxmemory", 1)
    writing = asyncio.create_task(tier.write(Commit([make_chunk(1)])))

    async def waits() -> bool:
        return tier.status != "ok"

    await eventually_async(waits)
    assert tier.status.startswith("full: ")
    await store._client.config_set("maxmemory", 0)
    await writing
    assert tier.status == "ok"
    assert await rows_of(store) == [1]


async def test_writing_goes_on_after_the_embedded_server_was_killed(store: RedisStore, server: EmbeddedServer) -> None:
    tier = make_tier(store, server)
    await tier.write(Commit([make_chunk(1)]))
    kill(server)
    await tier.write(Commit([make_chunk(11)]))
    assert await rows_of(store) == [1, 11]
    assert tier.restarts == 1


async def test_a_commit_that_landed_before_the_connection_broke_is_not_written_twice(
    store: RedisStore, server: EmbeddedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    tier = make_tier(store, server)
    commit, broken = store.commit, []

    async def commit_then_lose_the_answer(wanted: Commit, newest_row: int) -> None:
        await commit(wanted, newest_row)
        if not broken:
            broken.append(wanted)
            raise UnavailableError("connection reset")

    monkeypatch.setattr(store, "commit", commit_then_lose_the_answer)
    await tier.write(Commit([make_chunk(1)], {"actor-0/7": "1 live"}))
    assert await rows_of(store) == [1]


async def test_chunks_that_the_server_lost_are_appended_again(store: RedisStore, server: EmbeddedServer) -> None:
    tier = make_tier(store, server)
    await tier.write(Commit([make_chunk(1)]))
    await tier.write(Commit([make_chunk(11)]))
    await store._client.flushall()
    await tier.recover()
    assert await rows_of(store) == [1, 11]
    assert await store.fences() == {"actor-0/7": "1 live"}
    assert await store.schema_json() == b"{}"


async def test_what_is_appended_again_fences_off_no_message_whose_commit_is_under_way(store: RedisStore) -> None:
    """Else its resend to a service that was killed before that commit would be dropped as a duplicate."""
    fences = Fences({"actor-0/7": "0 live", "actor-1/7": "4 live"})
    tier = DurableTier(store, None, lambda written: Standing(b"{}", fences.durable_texts(written), {}))
    fences.take(("actor-0", 7), 1, final=False)
    await tier.write(Commit([make_chunk(1)], fences.to_texts()))  # durable, not acknowledged yet
    fences.take(("actor-0", 7), 2, final=True)
    await store._client.flushall()
    await tier.recover()
    assert await rows_of(store) == [1]
    assert await store.fences() == {"actor-0/7": "1 live", "actor-1/7": "4 live"}


async def test_a_server_that_came_back_empty_unnoticed_is_given_everything_again(
    store: RedisStore, server: EmbeddedServer
) -> None:
    """The client library connects again by itself: no error tells that there was an outage."""
    tier = make_tier(store, None)
    await tier.write(Commit([make_chunk(1)]))
    server.stop()
    shutil.rmtree(server.folder / "0")
    server.ensure_running()
    await tier.write(Commit([make_chunk(11)], {"actor-0/7": "2 live"}))
    assert await rows_of(store) == [1, 11]
    assert await store.fences() == {"actor-0/7": "2 live"}


async def test_a_server_that_came_back_without_its_newest_chunk_unnoticed_is_given_it_again(
    store: RedisStore, server: EmbeddedServer, tmp_path: Path
) -> None:
    """As a replica that lagged, behind the same address."""
    tier = make_tier(store, None)
    await tier.write(Commit([make_chunk(1)]))
    shutil.copytree(server.folder / "0", tmp_path / "earlier")
    await tier.write(Commit([make_chunk(11)]))
    kill(server)
    shutil.rmtree(server.folder / "0")
    (tmp_path / "earlier").rename(server.folder / "0")
    server.ensure_running()
    await tier.write(Commit([make_chunk(21)]))
    assert await rows_of(store) == [1, 11, 21]
    assert tier.reappended == 1


async def test_writing_goes_on_when_what_the_server_lost_is_nowhere_any_more(store: RedisStore) -> None:
    tier = make_tier(store, None)
    tier.start_behind(500)  # of a former life of the service
    await tier.write(Commit([make_chunk(511)]))
    assert await rows_of(store) == [511]


async def test_disk_waits_for_the_sync_of_the_append_only_file(store: RedisStore) -> None:
    await store._client.config_set("appendfsync", "everysec")
    store.confirm = confirmation("disk", await store.settings())
    await store.commit(Commit([make_chunk(1)]))
    assert store.confirm == Confirmation(local_syncs=1)
    assert (await store._client.execute_command("WAITAOF", 1, 0, 1))[0] == 1


async def test_replica_is_unavailable_while_no_replica_confirms(store: RedisStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("replay.redis_store.CONFIRM_TIMEOUT_MS", 10)
    store.confirm = Confirmation(replicas=1)
    with pytest.raises(UnavailableError, match="0 replicas of 1 confirmed"):
        await store.commit(Commit([make_chunk(1)]))


async def test_a_script_waits_for_the_copies_of_what_it_has_written(store: RedisStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("replay.redis_store.CONFIRM_TIMEOUT_MS", 10)
    script = ("return redis.call('SET', KEYS[1], ARGV[1])", ["note"], ["written"])
    assert await store.durable_script(*script) == b"OK"
    await store._client.config_set("appendfsync", "no")  # nothing is synced in so short a time
    store.confirm = Confirmation(local_syncs=1)
    with pytest.raises(UnavailableError, match="did not sync"):
        await store.durable_script(*script)
    await store._client.config_set("appendfsync", "always")
    assert await store.durable_script(*script) == b"OK"


@pytest.mark.parametrize(
    ("level", "changed", "named"),
    [
        ("process", {"appendonly": "no"}, "appendonly is no"),
        ("process", {"appendfsync": "everysec"}, "appendfsync is everysec"),
        ("disk", {"appendfsync": "no"}, "appendfsync is no"),
        ("disk", {"appendfsync": "everysec", "has_waitaof": False}, "no WAITAOF"),
        ("replica", {"replicas": 0}, "connected_slaves is 0"),
        ("replica", {"replicas": 1, "appendonly": "no"}, "appendonly is no, must be yes: a primary that comes back empty"),
        ("process", {"maxmemory_policy": "allkeys-lru"}, "maxmemory-policy is allkeys-lru"),
        ("process", {"maxmemory_bytes": 99}, "maxmemory is 99"),
    ],
)
def test_a_level_that_the_server_cannot_give_is_refused_naming_the_setting(level: str, changed: dict, named: str) -> None:
    with pytest.raises(ConfigError, match=named):
        check_server(level, ServerSettings(**{**vars(SETTINGS), **changed}), memory_bytes=100)


def test_levels_that_the_server_can_give_are_accepted() -> None:
    check_server("process", SETTINGS, 100)
    check_server("disk", ServerSettings("yes", "always", 0, "noeviction", 0, False), 100)
    check_server("replica", ServerSettings("yes", "everysec", 0, "noeviction", 1, True), 100)


def test_an_embedded_server_alone_has_no_replica() -> None:
    with pytest.raises(ConfigError, match=r"replay\.redis_url"):
        embedded_appendfsync("replica")
