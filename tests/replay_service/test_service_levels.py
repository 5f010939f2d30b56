"""What each durability level needs of a server that others run, and what it survives there: wrong settings, a full disk, a fail-over."""

import asyncio
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import grpc
import pytest

from protos import replay_pb2 as pb
from replay.commit import Commit
from replay.open_tier import open_tier
from replay.redis_store import RedisStore
from replay.role import run
from replay.tier import Standing
from sojourn.config import Config
from sojourn.errors import ConfigError, UnavailableError
from sojourn.roles import RoleContext
from sojourn.shard_list import ShardList, write_shard_list

ACCEPTED, DUPLICATE = pb.InsertReply.ACCEPTED, pb.InsertReply.DUPLICATE
MEMORY_BYTES = 1 << 30


def settings_for(level: str, url: str) -> dict[str, Any]:
    return {"durability": level, "redis_url": url, "redis_memory_bytes": MEMORY_BYTES}


async def opened(level: str, url: str, run_folder: Path, run_id: str = "run", shard: int = 0) -> None:
    """As a service does at its start."""
    config = Config.model_validate({"replay": settings_for(level, url)})
    tier = await open_tier(
        config, run_folder, run_id=run_id, shard=shard, incarnation=1, standing=lambda _: Standing(b"", {}, {})
    )
    assert tier is not None
    await tier.close()


@pytest.mark.parametrize(
    ("level", "flags", "named"),
    [
        ("process", {"appendonly": "no"}, "appendonly is no, must be yes"),
        ("process", {"appendfsync": "everysec"}, "appendfsync is everysec, must be no or always"),
        ("process", {"maxmemory_policy": "allkeys-lru"}, "maxmemory-policy is allkeys-lru, must be noeviction"),
        ("process", {"maxmemory": "100mb"}, "maxmemory is 104857600, below"),
        ("disk", {"appendonly": "no"}, "appendonly is no, must be yes"),
        ("disk", {}, "appendfsync is no, must be always or everysec"),
        ("replica", {}, "connected_slaves is 0, must be at least 1"),
        ("replica", {"appendonly": "no"}, "a primary that comes back empty empties its replica"),
    ],
)
async def test_a_server_that_cannot_give_the_level_is_refused_at_the_start(
    valkey: Any, tmp_path: Path, level: str, flags: dict[str, str], named: str
) -> None:
    server = await valkey(**flags)
    with pytest.raises(ConfigError, match=named):
        await opened(level, server.url, tmp_path)


async def test_runs_and_shards_on_one_server_have_room_together_or_the_last_one_is_refused(valkey: Any, tmp_path: Path) -> None:
    server = await valkey(maxmemory=str(5 * MEMORY_BYTES // 2))
    await opened("process", server.url, tmp_path)
    await opened("process", server.url, tmp_path, shard=1)
    await opened("process", server.url, tmp_path)  # again: it counts once
    for _ in range(2):  # a refused one leaves no claim
        with pytest.raises(
            ConfigError, match=r"maxmemory .* 2684354560, .* others may take there \(.*sojourn:run:[01]\} 1073741824"
        ) as told:
            await opened("process", server.url, tmp_path, run_id="other")
        assert "sojourn:other" not in str(told.value)
    async with server.client() as client:
        await client.delete("{sojourn:run:1}:budget")  # as with all keys of a run that is over
    await opened("process", server.url, tmp_path, run_id="other")


async def test_a_further_shard_that_the_server_has_no_room_for_does_not_end_the_run(valkey: Any, tmp_path: Path) -> None:
    server = await valkey(maxmemory=str(3 * MEMORY_BYTES // 2))
    await opened("process", server.url, tmp_path)
    context = RoleContext(
        Config.model_validate({"replay": settings_for("process", server.url)}), tmp_path, "run", "replay", index=1
    )
    write_shard_list(tmp_path, ShardList(1, 1))
    await asyncio.to_thread(run, context)  # the supervisor tries again
    write_shard_list(tmp_path, ShardList(2, 2))
    with pytest.raises(ConfigError, match="others may take there"):
        await asyncio.to_thread(run, context)


@pytest.mark.parametrize(
    ("level", "appendfsync"), [("process", "no"), ("process", "always"), ("disk", "always"), ("disk", "everysec")]
)
async def test_a_server_that_can_give_the_level_is_taken(valkey: Any, tmp_path: Path, level: str, appendfsync: str) -> None:
    server = await valkey(appendfsync=appendfsync)
    await opened(level, server.url, tmp_path)


async def until_linked(kit: SimpleNamespace, primary: Any, replica: Any) -> None:
    """Make one the replica of the other, and wait until it has everything."""
    async with replica.client() as client, primary.client() as source:
        await client.execute_command("REPLICAOF", "127.0.0.1", (await source.config_get("port"))["port"])

        async def is_linked() -> bool:
            return bool((await source.info("replication"))["connected_slaves"]) and "up" in (
                (await client.info("replication")).get("master_link_status", "")
            )

        await kit.eventually(is_linked)


async def insert(inserts: Any, kit: SimpleNamespace, number: int) -> None:
    await inserts.send(number, kit.body(kit.segment(first_sequence=10 * number - 10)))


async def test_level_replica_survives_the_loss_of_the_primary_and_the_promotion_of_its_replica(
    serve: Any, valkey: Any, kit: SimpleNamespace, free_port: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("replay.redis_store.CONFIRM_TIMEOUT_MS", 200)
    flags = {"bind": "127.0.0.1", "repl_diskless_sync_delay": "0"}
    first, second = [await valkey(port=str(free_port()), **flags) for _ in range(2)]
    await until_linked(kit, first, second)
    front = first.folder.parent / "front"  # the address that a fail-over moves
    front.symlink_to(first.socket)
    config = kit.config(replay={**settings_for("replica", f"unix://{front}"), "snapshot_every_s": 60.0})
    async with serve(config) as service:
        inserts = await service.client.inserts()
        for number in range(1, 11):
            await insert(inserts, kit, number)
        assert [(await inserts.reply()).outcome for _ in range(10)] == [ACCEPTED] * 10
        assert (await service.client.info()).durable_tier == "ok"

        first.kill()
        await insert(inserts, kit, 11)
        async with second.client() as client:
            await client.execute_command("REPLICAOF", "NO", "ONE")
            stored = await client.xlen("{sojourn:run:0}:chunks")
        assert stored == 10  # every acknowledged chunk is on the replica
        front.unlink()
        front.symlink_to(second.socket)

        async def says_no_replica() -> bool:
            return "0 replicas of 1 confirmed" in (await service.client.info()).durable_tier

        await kit.eventually(says_no_replica)  # it does not acknowledge on one copy
        await until_linked(kit, second, await first.start())
        assert (await inserts.reply()).outcome == ACCEPTED
        life = inserts.incarnation
        granted = await service.client.hello(last_incarnation=life, inherit_incarnation=life)
        again = await service.client.inserts(incarnation=granted.incarnation)
        await insert(again, kit, 11)
        assert (await again.reply()).outcome == DUPLICATE
    async with serve(config) as service:
        info = await service.client.info()
        assert (info.env_steps, info.rows) == (110, 110)


async def test_a_server_that_comes_back_without_its_append_only_file_is_told_why_and_nothing_is_acknowledged_on_it(
    serve: Any, valkey: Any, kit: SimpleNamespace
) -> None:
    """The client library connects again by itself; all that was written is there, so that only the settings tell."""
    server = await valkey()
    async with serve(kit.config(replay=settings_for("process", server.url))) as service:
        inserts = await service.client.inserts()
        await insert(inserts, kit, 1)
        assert (await inserts.reply()).outcome == ACCEPTED
        async with server.client() as client:
            await client.config_set("appendonly", "no")
            await client.client_kill_filter(_type="normal", skipme=True)
        await insert(inserts, kit, 2)

        async def says_why() -> bool:
            return "appendonly is no, must be yes" in (await service.client.info()).durable_tier

        await kit.eventually(says_why)
        reply = asyncio.create_task(inserts.reply())
        async with server.client() as client:
            await client.config_set("appendonly", "yes")
        assert ((await reply).message_number, (await reply).outcome) == (2, ACCEPTED)
        assert await store_of(service).last_row() == 11
        assert (await service.client.info()).durable_tier == "ok"


@pytest.mark.parametrize(
    ("level", "appendfsync", "lacks"), [("process", "everysec", "must be no or always"), ("disk", "no", "must be always")]
)
async def test_settings_are_looked_at_again_behind_each_new_connection(
    valkey: Any, tmp_path: Path, level: str, appendfsync: str, lacks: str
) -> None:
    server = await valkey(appendfsync="always")
    config = Config.model_validate({"replay": settings_for(level, server.url)})
    tier = await open_tier(config, tmp_path, run_id="run", shard=0, incarnation=1, standing=lambda *_: Standing(b"", {}, {}))
    assert tier is not None
    await tier.store.take_over()
    await tier.store.commit(Commit(fences={"actor-0/7": "1 live"}))
    async with server.client() as client:
        await client.config_set("appendfsync", appendfsync)
        await client.client_kill_filter(_type="normal", skipme=True)
    refusals = []
    for _ in range(2):  # the first may tell of the lost connection
        with pytest.raises(UnavailableError) as caught:
            await tier.store.commit(Commit(fences={"actor-0/7": "2 live"}))
        refusals.append(str(caught.value))
    assert lacks in refusals[-1]
    async with server.client() as client:
        await client.config_set("appendfsync", "always")
    await tier.store.commit(Commit(fences={"actor-0/7": "3 live"}))
    await tier.close()


def store_of(service: Any) -> RedisStore:
    found: RedisStore = service.server.shard.tier.store
    return found


async def test_inserts_wait_while_the_disk_of_redis_is_full_and_nothing_acknowledged_is_lost(
    serve: Any, valkey: Any, kit: SimpleNamespace
) -> None:
    """The server answers one command more than it can write: the service must not believe it."""
    server = await valkey()
    server.kill()
    server.largest_file_bytes = 60_000
    await server.start()
    async with serve(kit.config(replay=settings_for("process", server.url))) as service:
        inserts = await service.client.inserts()
        answers: list[int] = []

        async def is_full() -> bool:
            return (await service.client.info()).durable_tier.startswith("full: ")

        async def has_heard() -> bool:
            return bool(answers)

        async def hear() -> None:
            while len(answers) < 60:
                answers.append((await inserts.reply()).message_number)

        async def say() -> None:
            for number in range(1, 61):
                await insert(inserts, kit, number)

        async with asyncio.TaskGroup() as both:
            both.create_task(say())
            hearing = both.create_task(hear())
            await kit.eventually(is_full)
            await kit.eventually(has_heard)  # what was answered may still be on its way
            assert "cannot write to its disk" in (await service.client.info()).durable_tier
            heard = len(answers)
            assert heard < 60
            samples = await service.client.samples()
            await samples.ask(batch_size=4)
            await samples.reply()  # training goes on
            server.kill()
            server.largest_file_bytes = 1 << 30
            await server.start()
            async with server.client() as stored:
                assert await stored.xlen("{sojourn:run:0}:chunks") >= heard
            await hearing
        assert answers == list(range(1, 61))
        assert (await service.client.info()).durable_tier == "ok"
    async with serve(kit.config(replay=settings_for("process", server.url))) as service:
        info = await service.client.info()
        assert (info.env_steps, info.rows) == (600, 600)


async def test_a_budget_over_what_the_server_may_use_is_refused_before_redis_refuses(
    serve: Any, valkey: Any, kit: SimpleNamespace, tmp_path: Path
) -> None:
    """maxmemory leaves room for the tables, so the service's own budget binds first; a table that cannot fit is refused by value."""
    server = await valkey(maxmemory="2gb")
    config = kit.config(
        replay={**settings_for("process", server.url), "redis_memory_bytes": 16_000_000},
        tables={"replay": {"capacity_steps": 10_000_000, "capacity_bytes": 2_000_000_000}},
    )
    async with serve(config) as service:
        with pytest.raises(
            grpc.aio.AioRpcError, match=r"needs \d+ bytes in Redis, replay.redis_memory_bytes is 16000000"
        ) as caught:
            await service.client.inserts()
        assert caught.value.code() is grpc.StatusCode.FAILED_PRECONDITION
