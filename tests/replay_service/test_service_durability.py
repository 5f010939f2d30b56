"""What an acknowledgement survives: restarts and kill -9 of the service and of Redis, resends, damage, a full server."""

import asyncio
import random
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import grpc
import numpy as np
import psutil
import pytest
import redis.asyncio
from grpc_health.v1 import health_pb2, health_pb2_grpc

from protos import replay_pb2 as pb
from replay.embedded import EmbeddedServer
from replay.redis_store import NotOwnerError
from replay.server import ReplayServer
from sojourn.metrics import Metrics
from sojourn.roles import announced
from tests.waiting import DEADLINE_S, eventually_async

PROCESS = {"durability": "process"}
ACCEPTED, DUPLICATE = pb.InsertReply.ACCEPTED, pb.InsertReply.DUPLICATE


def kill(pid: int) -> None:
    process = psutil.Process(pid)
    process.kill()
    process.wait(DEADLINE_S)


def redis_of(server: EmbeddedServer) -> "redis.asyncio.Redis":
    return redis.asyncio.Redis(unix_socket_path=str(server.socket))


def embedded(tmp_path: Path) -> EmbeddedServer:
    """A handle on the server that the service of this test started."""
    return EmbeddedServer(tmp_path, 0, appendfsync="no", memory_bytes=1 << 30, rewrite_min_bytes=1 << 30)


async def redis_pid(tmp_path: Path, kit: SimpleNamespace) -> int:
    """Of the embedded server, once it lives (again)."""

    async def lives() -> bool:
        return embedded(tmp_path).alive()

    await kit.eventually(lives)
    life = embedded(tmp_path).life()
    assert life is not None
    return life.pid


async def insert_each(inserts: Any, kit: SimpleNamespace, numbers: range) -> list[int]:
    """Ten steps a message, each following the one before; returns the outcomes."""
    return [(await inserts.insert(number, kit.body(kit.segment(first_sequence=10 * number - 10)))).outcome for number in numbers]


async def rest_of(inserts: Any) -> tuple[list[int], str]:
    """Numbers that are still acknowledged, and what the stream ends with."""
    numbers = []
    try:
        while True:
            numbers.append((await inserts.reply()).message_number)
    except grpc.aio.AioRpcError as error:
        return numbers, error.details() or ""


async def drawn_keys(service: Any, batches: int = 50) -> dict[int, float]:
    """Items that many draws find, with their chance of being drawn."""
    samples = await service.client.samples()
    await samples.ask(credits=batches, batch_size=16, most=64)
    found: dict[int, float] = {}
    received = 0
    while received < batches:
        answer, columns = await samples.reply()
        received += len(answer.draws)
        found |= dict(zip(columns["info.key"].tolist(), columns["info.probability"].tolist(), strict=True))
    return found


async def test_a_restart_gives_back_the_same_items_keys_priorities_and_counts(serve: Any, kit: SimpleNamespace) -> None:
    config = kit.config(replay=PROCESS, tables={"replay": {"priority_exponent": 1.0}})
    async with serve(config) as service:
        inserts = await service.client.inserts()
        await insert_each(inserts, kit, range(1, 6))
        learner = await service.client.hello("learner-0", pb.ROLE_LEARNER)
        await service.client.stub.UpdatePriorities(
            pb.UpdatePrioritiesRequest(
                client_id="learner-0",
                incarnation=learner.incarnation,
                table="replay",
                keys=np.arange(1, 50, dtype="<u8").tobytes(),
                priorities=np.arange(1, 50, dtype="<f4").tobytes(),
            )
        )
        before, keys_before = await service.client.info(), await drawn_keys(service)
    async with serve(config) as service:
        after, keys_after = await service.client.info(), await drawn_keys(service)
        assert keys_after.keys() == keys_before.keys()
        for key, probability in keys_after.items():
            assert probability == pytest.approx(keys_before[key])
        assert (after.env_steps, after.episodes, after.rows) == (before.env_steps, before.episodes, before.rows)
        assert after.tables[0].facts.inserted_items == before.tables[0].facts.inserted_items
        granted = await service.client.hello(last_incarnation=inserts.incarnation, inherit_incarnation=inserts.incarnation)
        assert granted.last_message_number == 5
        again = await service.client.inserts(incarnation=inserts.incarnation)
        assert await insert_each(again, kit, range(5, 7)) == [DUPLICATE, ACCEPTED]
        info = await service.client.info()
        assert (info.env_steps, info.tables[0].facts.items) == (60, 59)


async def test_chunks_of_which_nothing_is_held_leave_redis(serve: Any, kit: SimpleNamespace, tmp_path: Path) -> None:
    config = kit.config(replay=PROCESS, tables={"replay": {"capacity_steps": 256}})
    async with serve(config) as service:
        inserts = await service.client.inserts()
        for number in range(1, 21):
            await inserts.insert(number, kit.body(kit.segment(first_sequence=64 * number - 64, steps=64)))
        async with redis_of(embedded(tmp_path)) as stored:
            assert await stored.xlen("{sojourn:run:0}:chunks") < 12
        info = await service.client.info()
        assert info.env_steps == 1280
        assert 0 < info.durable_bytes < 12 * len(kit.body(kit.segment(steps=64))) + 1


async def test_counts_survive_when_every_chunk_is_gone(serve: Any, kit: SimpleNamespace, tmp_path: Path) -> None:
    config = kit.config(replay={**PROCESS, "snapshot_every_s": 60.0})
    async with serve(config) as service:
        inserts = await service.client.inserts()
        await insert_each(inserts, kit, range(1, 4))
    async with redis_of(embedded(tmp_path)) as stored:
        await stored.xtrim("{sojourn:run:0}:chunks", maxlen=0, approximate=False)
        await stored.delete("{sojourn:run:0}:pages")
    async with serve(config) as service:
        assert (await service.client.info()).env_steps == 30
        new = await service.client.inserts()
        await new.insert(1, kit.body(kit.segment(steps=5, closed=True)))
        samples = await service.client.samples()
        await samples.ask(batch_size=4)
        _, columns = await samples.reply()
        assert columns["info.key"].min() > 30  # numbers are never used twice


class HeldReplies:
    """A proxy on a Unix socket in front of Redis; once `hold` is set, answers are read and kept back."""

    def __init__(self, listen: Path, server: Path) -> None:
        self.listen = listen
        self.hold = asyncio.Event()
        self.kept = asyncio.Event()
        self._server = server

    @asynccontextmanager
    async def running(self) -> AsyncIterator["HeldReplies"]:
        listening = await asyncio.start_unix_server(self._serve, str(self.listen))
        async with listening:
            yield self

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        to_read, to_write = await asyncio.open_unix_connection(str(self._server))
        async with asyncio.TaskGroup() as both:
            both.create_task(self._pass(reader, to_write, held=False))
            both.create_task(self._pass(to_read, writer, held=True))

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, held: bool) -> None:
        while part := await reader.read(1 << 16):
            if held and self.hold.is_set():
                self.kept.set()
                continue
            writer.write(part)
            await writer.drain()
        writer.close()


async def until_stored(server: EmbeddedServer, kit: SimpleNamespace, chunks: int) -> None:
    """Ask Redis itself: among the answers that a proxy keeps there are those to the service's looks at it, too."""
    async with redis_of(server) as stored:

        async def are_there() -> bool:
            return bool(await stored.xlen("{sojourn:run:0}:chunks") == chunks)

        await kit.eventually(are_there)


@asynccontextmanager
async def service_process(run_folder: Path, overrides: list[str], client_of: Any) -> AsyncIterator[tuple[Any, Any]]:
    """`python -m replay` and a client of it; killed at the end if it still lives."""
    arguments = ["-m", "replay", "--run-folder", str(run_folder), "--run-id", "run", *overrides]
    process = await asyncio.create_subprocess_exec(sys.executable, *arguments, stderr=asyncio.subprocess.DEVNULL)

    async def has_announced() -> bool:
        assert process.returncode is None
        found = (run_folder / "roles" / "replay-0.json").exists()
        return found and announced(run_folder, "replay-0").pid == process.pid

    client = None
    try:
        await eventually_async(has_announced)
        client = client_of(announced(run_folder, "replay-0").address)
        yield process, client
    finally:
        if client is not None:
            await client.close()
        if process.returncode is None:
            process.kill()
        await process.wait()


async def hello_again(client: Any, kit: SimpleNamespace, **told: Any) -> pb.HelloReply:
    """As a client does: again while the service is away or recovering."""
    replies: list[pb.HelloReply] = []

    async def answered() -> bool:
        try:
            replies.append(await client.hello(**told))
        except grpc.aio.AioRpcError as error:
            if error.code() is not grpc.StatusCode.UNAVAILABLE:
                raise
        return bool(replies)

    await kit.eventually(answered)
    return replies[0]


async def test_a_message_that_landed_before_the_service_was_killed_is_recognised_when_it_is_resent(
    kit: SimpleNamespace, tmp_path: Path
) -> None:
    server = embedded(tmp_path)
    server.ensure_running()
    overrides = [
        f"replay.redis_url=unix://{server.socket.parent}/proxy",
        "tables.replay.limiter.min_size=1",
        "tables.replay.limiter.samples_per_insert=null",
        "replay.redis_memory_bytes=1000000000",
        "replay.snapshot_every_s=60",
    ]
    body = kit.body(kit.segment(steps=10))
    try:
        async with HeldReplies(server.socket.parent / "proxy", server.socket).running() as proxy:
            async with service_process(tmp_path, overrides, kit.client) as (process, client):
                life = (await hello_again(client, kit)).incarnation
                inserts = await client.inserts(incarnation=life)
                await inserts.insert(1, body)
                proxy.hold.set()
                await inserts.send(2, kit.body(kit.segment(first_sequence=10)))
                await asyncio.wait_for(proxy.kept.wait(), DEADLINE_S)
                await until_stored(server, kit, 2)  # Redis has it, the service does not know, nobody was told
                process.kill()
                await process.wait()
                with pytest.raises((grpc.aio.AioRpcError, EOFError)):
                    await inserts.reply()
            proxy.hold.clear()
            async with service_process(tmp_path, overrides, kit.client) as (process, client):
                granted = await hello_again(client, kit, last_incarnation=life, inherit_incarnation=life)
                assert granted.last_message_number == 2
                again = await client.inserts(incarnation=life)
                reply = await again.insert(2, kit.body(kit.segment(first_sequence=10)))
                assert (reply.outcome, reply.env_steps) == (DUPLICATE, 20)
                assert (await again.insert(3, kit.body(kit.segment(first_sequence=20)))).outcome == ACCEPTED
                process.terminate()
                assert await asyncio.wait_for(process.wait(), DEADLINE_S) == 0
    finally:
        (server.socket.parent / "proxy").unlink(missing_ok=True)
        server.stop()


async def test_kill_9_of_the_service_loses_nothing_acknowledged_and_it_adopts_its_redis(
    kit: SimpleNamespace, tmp_path: Path
) -> None:
    overrides = ["tables.replay.limiter.min_size=1", "tables.replay.limiter.samples_per_insert=null"]
    async with service_process(tmp_path, overrides, kit.client) as (process, client):
        life = (await hello_again(client, kit)).incarnation
        inserts = await client.inserts(incarnation=life)
        assert await insert_each(inserts, kit, range(1, 21)) == [ACCEPTED] * 20
        process.kill()
        await process.wait()
    pid = await redis_pid(tmp_path, kit)
    async with service_process(tmp_path, overrides, kit.client) as (process, client):
        granted = await hello_again(client, kit, last_incarnation=life, inherit_incarnation=life)
        assert granted.last_message_number == 20
        assert (await client.info()).env_steps == 200
        assert await redis_pid(tmp_path, kit) == pid
        process.terminate()
        assert await asyncio.wait_for(process.wait(), DEADLINE_S) == 0
    assert not psutil.pid_exists(pid)  # the run has ended, and its server with it


async def test_kill_9_of_redis_under_inserts_loses_nothing_and_doubles_nothing(
    serve: Any, kit: SimpleNamespace, tmp_path: Path
) -> None:
    config = kit.config(replay=PROCESS)
    async with serve(config) as service:
        inserts = await service.client.inserts()
        for number in range(1, 61):
            await inserts.send(number, kit.body(kit.segment(first_sequence=10 * number - 10)))
            if number in (20, 40):
                kill(await redis_pid(tmp_path, kit))
        assert [(await inserts.reply()).outcome for _ in range(60)] == [ACCEPTED] * 60
        assert (await service.client.info()).durable_tier == "ok"
    async with serve(config) as service:
        info = await service.client.info()
        assert (info.env_steps, info.rows, info.tables[0].facts.items) == (600, 600, 599)


@pytest.mark.parametrize("seed", [1, 2])
async def test_kill_9_of_redis_at_any_moment_and_while_it_rewrites_its_file(
    serve: Any, kit: SimpleNamespace, tmp_path: Path, seed: int
) -> None:
    """Messages of about 100 kB, so that a rewrite takes a while; the kills come from within it and from anywhere."""
    messages, steps, rng = 150, 1_500, random.Random(seed)
    config = kit.config(replay={**PROCESS, "insert_window": 8}, tables={"replay": {"capacity_steps": 400_000}})
    async with serve(config) as service:
        inserts = await service.client.inserts()
        heard: list[tuple[int, int]] = []

        async def hear() -> None:
            while len(heard) < messages:
                reply = await inserts.reply()
                heard.append((reply.message_number, reply.outcome))

        hearing = asyncio.create_task(hear())
        kills = {rng.randrange(10, messages): rewrites for rewrites in (False, True, True, False, True, True)}
        for number in range(1, messages + 1):
            await inserts.send(number, kit.body(kit.segment(first_sequence=steps * (number - 1), steps=steps)))
            if number in kills:
                pid = await redis_pid(tmp_path, kit)
                if kills[number]:
                    await rewrite(tmp_path, kit)
                await asyncio.sleep(rng.random() * 0.02)  # a random moment, not a wait for anything
                kill(pid)
        await asyncio.wait_for(hearing, 2 * DEADLINE_S)
        assert heard == [(number, ACCEPTED) for number in range(1, messages + 1)]
    async with serve(config) as service:
        info = await service.client.info()
        assert (info.env_steps, info.rows) == (messages * steps, messages * steps)


async def rewrite(tmp_path: Path, kit: SimpleNamespace) -> None:
    """Tell Redis to rewrite its append-only file, once it answers."""

    async def began() -> bool:
        try:
            async with redis_of(embedded(tmp_path)) as stored:
                return bool(await stored.bgrewriteaof())
        except redis.RedisError:
            return False

    await kit.eventually(began)


async def test_sampling_goes_on_and_info_says_so_while_redis_is_away(serve: Any, kit: SimpleNamespace, tmp_path: Path) -> None:
    server = embedded(tmp_path / "elsewhere")
    server.ensure_running()
    async with serve(kit.config(replay={**PROCESS, "redis_url": server.url, "redis_memory_bytes": 1 << 30})) as service:
        inserts = await service.client.inserts()
        await inserts.insert(1, kit.body(kit.segment(steps=10, closed=True)))
        kill(server.life().pid)  # type: ignore[union-attr]
        await inserts.send(2, kit.body(kit.segment(first_sequence=11, episode=1)))

        async def is_down() -> bool:
            return (await service.client.info()).durable_tier.startswith("down: ")

        await kit.eventually(is_down)
        samples = await service.client.samples()
        await samples.ask(batch_size=4)
        await samples.reply()
        server.ensure_running()
        assert (await inserts.reply()).outcome == ACCEPTED
        assert (await service.client.info()).durable_tier == "ok"
    server.stop()


async def test_inserts_wait_while_redis_is_full_and_lose_nothing(serve: Any, kit: SimpleNamespace, tmp_path: Path) -> None:
    async with serve(kit.config(replay=PROCESS)) as service, redis_of(embedded(tmp_path)) as stored:
        inserts = await service.client.inserts()
        await inserts.insert(1, kit.body(kit.segment()))
        await stored.config_set("maxmemory", 1)
        await inserts.send(2, kit.body(kit.segment(first_sequence=10)))

        async def is_full() -> bool:
            return (await service.client.info()).durable_tier.startswith("full: ")

        await kit.eventually(is_full)
        await stored.config_set("maxmemory", 0)
        reply = await inserts.reply()
        assert (reply.outcome, reply.env_steps) == (ACCEPTED, 20)


def small_budget(kit: SimpleNamespace, **table: Any) -> Any:
    """Room for about a hundred chunks of one step each; the tables would hold more."""
    config = kit.config(replay=PROCESS, tables={"replay": {"capacity_steps": 256, **table}})
    replay = config.replay.model_copy(update={"redis_memory_bytes": 180_000})
    return config.model_copy(update={"replay": replay})


async def test_small_chunks_over_the_byte_budget_push_the_oldest_items_out(serve: Any, kit: SimpleNamespace) -> None:
    async with serve(small_budget(kit)) as service:
        inserts = await service.client.inserts()
        for number in range(1, 161):
            body = kit.body(kit.segment(first_sequence=2 * number - 2, steps=1, closed=True, episode=number))
            assert (await inserts.insert(number, body)).outcome == ACCEPTED
        info = await service.client.info()
        assert info.durable_bytes < 180_000 + 4_000
        assert info.env_steps == 160
        assert 20 < info.tables[0].facts.items < 120


async def test_what_is_not_consumed_is_kept_and_inserts_wait_over_the_byte_budget(serve: Any, kit: SimpleNamespace) -> None:
    async with serve(small_budget(kit, sampler="fifo", consume=True)) as service:
        inserts = await service.client.inserts()
        for number in range(1, 161):
            body = kit.body(kit.segment(first_sequence=2 * number - 2, steps=1, closed=True, episode=number))
            await inserts.send(number, body)

        async def is_full() -> bool:
            return (await service.client.info()).durable_tier.startswith("full: chunks take")

        await kit.eventually(is_full)
        samples = await service.client.samples()
        await samples.ask(credits=100, batch_size=4)
        keys: list[int] = []
        while len(keys) < 160:
            answer, columns = await samples.reply()
            keys += columns["info.key"].tolist()
            told = {"client_id": "learner-0", "incarnation": samples.incarnation, "table": "replay"}
            await service.client.stub.Consumed(pb.ConsumedRequest(draw_ids=[answer.draws[0].draw_id], **told))
        assert keys == list(range(1, 321, 2))
        assert [(await inserts.reply()).outcome for _ in range(160)] == [ACCEPTED] * 160


async def test_a_damaged_chunk_is_named_and_left_out_and_the_rest_is_served(
    serve: Any, kit: SimpleNamespace, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    config = kit.config(replay=PROCESS)
    async with serve(config) as service:
        inserts = await service.client.inserts()
        await insert_each(inserts, kit, range(1, 4))
    async with redis_of(embedded(tmp_path)) as stored:
        key = "{sojourn:run:0}:chunks"
        first, damaged, last = await stored.xrange(key)
        await stored.delete(key)
        damaged[1][b"b"] = damaged[1][b"b"][:-1] + b"?"
        for entry_id, fields in (first, damaged, last):
            await stored.xadd(key, fields, id=entry_id)
    async with serve(config) as service:
        info = await service.client.info()
        assert info.rows == 20
        assert info.env_steps == 30  # they were accepted, and counted
        assert f"{key} 11-0" in caplog.text
        keys = await drawn_keys(service)
        assert not any(10 <= key <= 20 for key in keys)  # the tenth step's next observation is in the damaged chunk
    async with redis_of(embedded(tmp_path)) as stored:
        assert await stored.hget("{sojourn:run:0}:damaged", "11-0 b") == damaged[1][b"b"]
    caplog.clear()
    async with serve(config) as service:
        info = await service.client.info()
        assert (info.rows, info.env_steps) == (20, 30)
        assert "11-0" not in caplog.text  # it is met once


async def test_consumed_items_stay_consumed_and_leases_come_back_after_a_restart(serve: Any, kit: SimpleNamespace) -> None:
    config = kit.config(replay={**PROCESS, "snapshot_every_s": 60.0}, tables={"replay": {"sampler": "fifo", "consume": True}})
    async with serve(config) as service:
        inserts = await service.client.inserts()
        await inserts.insert(1, kit.body(kit.segment(steps=8, closed=True)), final=True)
        samples = await service.client.samples()
        await samples.ask(credits=2, batch_size=4, most=2)
        answer, _ = await samples.reply()
        reply = await service.client.stub.Consumed(
            pb.ConsumedRequest(
                client_id="learner-0", incarnation=samples.incarnation, table="replay", draw_ids=[answer.draws[0].draw_id]
            )
        )
        assert reply.items_removed == 4
    async with serve(config) as service:
        samples = await service.client.samples()
        await samples.ask(credits=2, batch_size=4)
        answer, columns = await samples.reply()
        assert columns["info.key"].tolist() == [5, 6, 7, 8]
        assert (await service.client.info()).tables[0].leased_items == 4


async def test_a_second_service_of_the_same_shard_ends_the_first(serve: Any, kit: SimpleNamespace) -> None:
    config = kit.config(replay=PROCESS)

    async def first_that_is_taken_over() -> None:
        async with serve(config) as first:
            inserts = await first.client.inserts()
            await inserts.insert(1, kit.body(kit.segment()))
            async with serve(config) as second:
                await inserts.send(2, kit.body(kit.segment(first_sequence=10)))
                await asyncio.wait({first.serving}, timeout=DEADLINE_S)
                assert (await second.client.info()).env_steps == 10

    with pytest.raises(NotOwnerError, match="has taken over this shard"):
        await first_that_is_taken_over()


async def test_a_service_that_reads_back_says_so_and_serves_nothing_yet(kit: SimpleNamespace, tmp_path: Path) -> None:
    server = ReplayServer(kit.config(replay=PROCESS), tmp_path, run_id="run", index=0, metrics=Metrics("replay"))
    client = kit.client(await server.open("127.0.0.1:0"))
    health = health_pb2_grpc.HealthStub(client.channel)
    try:
        assert (await health.Check(health_pb2.HealthCheckRequest())).status == health_pb2.HealthCheckResponse.NOT_SERVING
        assert (await client.info()).recovering
        for call in (client.hello(), client.stub.Consumed(pb.ConsumedRequest())):
            with pytest.raises(grpc.aio.AioRpcError, match="recovering: loading") as caught:
                await call
            assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
    finally:
        await client.close()
        await server.close()
        await server.stop_embedded()


async def test_level_disk_syncs_before_it_acknowledges(serve: Any, kit: SimpleNamespace, tmp_path: Path) -> None:
    async with serve(kit.config(replay={"durability": "disk"})) as service, redis_of(embedded(tmp_path)) as stored:
        inserts = await service.client.inserts()
        assert await insert_each(inserts, kit, range(1, 4)) == [ACCEPTED] * 3
        assert await stored.config_get("appendfsync") == {"appendfsync": "always"}
        assert (await stored.execute_command("WAITAOF", 1, 0, 1))[0] == 1
        assert (await service.client.hello("learner-0", pb.ROLE_LEARNER)).durability == "disk"


async def test_at_level_memory_a_life_goes_on_after_a_restart_that_forgot_it(serve: Any, kit: SimpleNamespace) -> None:
    async with serve(kit.config()) as service:
        inserts = await service.client.inserts()
        assert await insert_each(inserts, kit, range(1, 4)) == [ACCEPTED] * 3
    async with serve(kit.config()) as service:
        life = inserts.incarnation
        granted = await service.client.hello(last_incarnation=life, inherit_incarnation=life)
        assert (granted.incarnation, granted.last_message_number) == (life, 0)
        again = await service.client.inserts(incarnation=life)
        assert await insert_each(again, kit, range(4, 6)) == [ACCEPTED] * 2
        assert (await service.client.info()).env_steps == 20


async def test_a_stopping_service_answers_what_it_took_and_keeps_its_last_priorities(serve: Any, kit: SimpleNamespace) -> None:
    config = kit.config(replay={**PROCESS, "snapshot_every_s": 60.0})
    async with serve(config) as service:
        inserts = await service.client.inserts()
        for number in range(1, 9):
            await inserts.send(number, kit.body(kit.segment(first_sequence=10 * number - 10)))
        first = await inserts.reply()
        learner = await service.client.hello("learner-0", pb.ROLE_LEARNER)
        await service.client.stub.UpdatePriorities(
            pb.UpdatePrioritiesRequest(
                client_id="learner-0",
                incarnation=learner.incarnation,
                table="replay",
                keys=np.array([1], "<u8").tobytes(),
                priorities=np.array([0.0], "<f4").tobytes(),
            )
        )
        service.stop.set()
        await service.serving
        closing = asyncio.create_task(service.server.close())
        acknowledged, said = await rest_of(inserts)
        assert said == "the replay service is stopping"
        await closing
    async with serve(config) as service:
        granted = await service.client.hello(last_incarnation=inserts.incarnation, inherit_incarnation=inserts.incarnation)
        assert granted.last_message_number >= max([first.message_number, *acknowledged])
        assert (await service.client.info()).env_steps == 10 * granted.last_message_number
        assert 1 not in await drawn_keys(service)
