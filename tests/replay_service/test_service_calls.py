"""The other calls: health, reflection, heartbeats, info, retirement, lineage, export, checkpoint, and what is not available."""

import socket
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import grpc
import numpy as np
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from protos import replay_pb2 as pb
from replay.arrow import decode_chunk
from replay.server import ReplayServer
from sojourn.errors import ConfigError, UnavailableError
from sojourn.metrics import Metrics
from tests.waiting import UNHURRIED_S

PROCESS = {"durability": "process"}


async def test_health_and_reflection_answer(serve: Any, kit: SimpleNamespace) -> None:
    async with serve(kit.config()) as service:
        health = health_pb2_grpc.HealthStub(service.client.channel)
        answer = await health.Check(health_pb2.HealthCheckRequest(service="sojourn.v1.Replay"))
        assert answer.status == health_pb2.HealthCheckResponse.SERVING
        reflection = reflection_pb2_grpc.ServerReflectionStub(service.client.channel)
        listing = reflection.ServerReflectionInfo(iter([reflection_pb2.ServerReflectionRequest(list_services="")]))
        named = {found.name async for reply in listing for found in reply.list_services_response.service}
        assert {"sojourn.v1.Replay", "grpc.health.v1.Health"} <= named


async def test_a_heartbeat_is_counted_and_answered_with_the_pace(serve: Any, kit: SimpleNamespace) -> None:
    limiter = {"samples_per_insert": 1.0, "min_size": 1, "tolerance": 4.0}
    async with serve(kit.config(tables={"replay": {"limiter": limiter}})) as service:
        inserts = await service.client.inserts()
        heartbeats = service.client.stub.Heartbeat()
        report = pb.HeartbeatRequest(
            client_id="actor-0",
            incarnation=inserts.incarnation,
            lanes=[pb.LaneCounters(lane=0, started=12, completed=10), pb.LaneCounters(lane=1, started=3, failed=1)],
            running=[pb.RunningAction(lane=0, action_number=12, age_s=2.5)],
        )
        await heartbeats.write(report)
        reply = await heartbeats.read()
        assert (reply.gated, reply.insert_pause_s, reply.env_steps) == (False, 0.0, 0)
        await inserts.insert(1, kit.body(kit.segment(steps=10)))  # surplus 8 of at most 4: inserts are blocked now
        samples = await service.client.samples()
        await samples.ask(credits=0, learner_step=77)

        async def step_is_known() -> bool:
            return (await service.client.info()).learner_step == 77

        await kit.eventually(step_is_known)
        await heartbeats.write(report)
        reply = await heartbeats.read()
        assert reply.insert_pause_s > 0.0
        assert (reply.env_steps, reply.learner_step) == (10, 77)
        info = await service.client.info()
        (actor,) = [client for client in info.clients if client.client_id == "actor-0"]
        assert (actor.started, actor.ended, actor.running, actor.message_number) == (15, 11, 1, 1)
        assert actor.oldest_running_s >= 2.5


async def test_nonsense_in_a_heartbeat_is_refused_or_counts_as_nothing(serve: Any, kit: SimpleNamespace) -> None:
    async with serve(kit.config()) as service:
        life = (await service.client.hello()).incarnation
        told = {"client_id": "actor-0", "incarnation": life}
        heartbeats = service.client.stub.Heartbeat()
        ages = [pb.RunningAction(age_s=age_s) for age_s in (float("nan"), float("-inf"), float("inf"), -5.0)]
        await heartbeats.write(pb.HeartbeatRequest(running=ages, **told))
        await heartbeats.read()
        (actor,) = (await service.client.info()).clients
        assert (actor.running, actor.oldest_running_s < UNHURRIED_S) == (4, True)
        await heartbeats.write(pb.HeartbeatRequest(running=[pb.RunningAction(ended=9, has_ended=True)], **told))  # type: ignore[arg-type]
        with pytest.raises(grpc.aio.AioRpcError, match="an action ends as 0 to 4, got 9"):
            await heartbeats.read()
        heartbeats = service.client.stub.Heartbeat()
        counts = [pb.LaneCounters(lane=lane, started=(1 << 64) - 1) for lane in range(2)]
        await heartbeats.write(pb.HeartbeatRequest(lanes=counts, **told))
        with pytest.raises(grpc.aio.AioRpcError, match="actor-0 counts 36893488147419103230 actions"):
            await heartbeats.read()
        assert len((await service.client.info()).clients) == 1  # nobody's Info is spoilt
        heartbeats = service.client.stub.Heartbeat()
        await heartbeats.write(pb.HeartbeatRequest(running=[pb.RunningAction(policy_version=1 << 60)], **told))
        with pytest.raises(grpc.aio.AioRpcError, match=r"a policy version lies in .* got 1152921504606846976"):
            await heartbeats.read()


async def test_info_tells_what_the_shard_holds(serve: Any, kit: SimpleNamespace) -> None:
    async with serve(kit.config(), run_id="run-a") as service:
        empty = await service.client.info()
        assert (empty.run_id, empty.durable_tier, len(empty.tables)) == ("run-a", "none", 0)
        inserts = await service.client.inserts()
        await inserts.insert(1, kit.body(kit.segment(steps=10, closed=True)))
        info = await service.client.info()
        assert (info.env_steps, info.episodes, info.rows) == (10, 1, 11)
        assert info.slab_bytes > 0
        (table,) = info.tables
        assert (table.facts.name, table.facts.items, table.capacity_items > 0) == ("replay", 10, True)
        assert table.mean_duration_s == pytest.approx(0.01)


async def test_a_retired_shard_opens_no_new_lives_and_tells_the_living(serve: Any, kit: SimpleNamespace) -> None:
    async with serve(kit.config()) as service:
        inserts = await service.client.inserts()
        await inserts.insert(1, kit.body(kit.segment(steps=10, closed=True)))
        reply = await service.client.stub.Retire(pb.RetireRequest(retired=True))
        assert (reply.items_left, reply.live_streams) == (10, 1)
        with pytest.raises(grpc.aio.AioRpcError, match="is retired"):
            await service.client.hello("actor-1")
        heartbeats = service.client.stub.Heartbeat()
        await heartbeats.write(pb.HeartbeatRequest(client_id="actor-0", incarnation=inserts.incarnation))
        assert (await heartbeats.read()).retired
        await service.client.stub.Retire(pb.RetireRequest(retired=False))
        await service.client.hello("actor-1")


async def test_a_shard_without_experience_can_be_retired(serve: Any, kit: SimpleNamespace) -> None:
    async with serve(kit.config(replay=PROCESS)) as service:
        reply = await service.client.stub.Retire(pb.RetireRequest(retired=True))
        assert (reply.items_left, reply.live_streams) == (0, 0)
        with pytest.raises(grpc.aio.AioRpcError, match="is retired"):
            await service.client.hello()


async def test_lineage_export_and_checkpoint_read_the_durable_tier(serve: Any, kit: SimpleNamespace) -> None:
    async with serve(kit.config(replay=PROCESS)) as service:
        client = service.client
        granted = await client.hello(host="box", environment_id="Pendulum-v1", environment_version="1.0", seed=5)
        inserts = await client.inserts(incarnation=granted.incarnation)
        await inserts.insert(1, kit.body(kit.segment(lane=3, steps=10)))
        await inserts.insert(2, kit.body(kit.segment(lane=3, first_sequence=10, steps=10)))
        found = await client.stub.Lineage(pb.LineageRequest(table="replay", keys=[14, 999]))
        (item,) = found.items
        assert (item.key, item.client_id, item.lane, item.lane_sequence, item.seed) == (14, "actor-0", 3, 13, 5)
        assert (item.host, item.environment_id, item.environment_version) == ("box", "Pendulum-v1", "1.0")
        replies = [reply async for reply in client.stub.Export(pb.ExportRequest(table="replay"))]
        assert [reply.last_row_number for reply in replies] == [10, 20]
        rows = [decode_chunk(kit.schema, reply.rows) for reply in replies]
        np.testing.assert_array_equal(np.concatenate([chunk.sequence for chunk in rows]), np.arange(20))
        cut = await client.stub.Checkpoint(pb.CheckpointRequest(label="step-7", learner_step=7))
        assert (cut.label, cut.env_steps, cut.row_number) == ("step-7", 20, 20)


async def test_what_needs_a_durable_tier_says_so_at_level_memory(serve: Any, kit: SimpleNamespace) -> None:
    async with serve(kit.config()) as service:
        await service.client.hello()
        with pytest.raises(grpc.aio.AioRpcError, match=r"replay\.durability is memory"):
            await service.client.stub.Lineage(pb.LineageRequest(table="replay", keys=[1]))


async def test_windows_of_a_pool_are_numbered_and_nonsense_is_refused(serve: Any, kit: SimpleNamespace) -> None:
    async with serve(kit.config()) as service:
        with pytest.raises(grpc.aio.AioRpcError, match="say hello first"):
            await service.client.stub.EndWindow(pb.EndWindowRequest(client_id="actor-0"))
        await service.client.hello("actor-0")
        ends = [
            await service.client.stub.EndWindow(pb.EndWindowRequest(client_id="actor-0", pool=pool)) for pool in ("", "a", "")
        ]
        assert [end.window for end in ends] == [1, 1, 2]
        for ago_s in (-1.0, float("nan"), float("inf")):
            with pytest.raises(grpc.aio.AioRpcError, match="ago_s") as caught:
                await service.client.stub.EndWindow(pb.EndWindowRequest(client_id="actor-0", ago_s=ago_s))
            assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT


async def test_a_unix_socket_serves_as_well(serve: Any, kit: SimpleNamespace, tmp_path: Path) -> None:
    async with serve(kit.config(), listen=f"unix:{tmp_path}/s") as service:
        assert service.target == f"unix:{tmp_path}/s"
        assert (await service.client.hello()).incarnation > 0


async def test_a_taken_port_is_one_clear_message(kit: SimpleNamespace, tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        listen = f"127.0.0.1:{taken.getsockname()[1]}"
        server = ReplayServer(kit.config(), tmp_path, run_id="run", index=0, metrics=Metrics("replay"))
        with pytest.raises(UnavailableError, match=f"cannot listen at {listen}: is the port taken") as caught:
            await server.open(listen)
        assert caught.value.exit_code != 0
        await server.close()


async def test_an_unreachable_redis_is_one_clear_message(
    kit: SimpleNamespace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("replay.open_tier.REACHED_WITHIN_S", 0.2)
    config = kit.config(replay={**PROCESS, "redis_url": f"unix://{tmp_path}/nobody"})
    server = ReplayServer(config, tmp_path, run_id="run", index=0, metrics=Metrics("replay"))
    with pytest.raises(UnavailableError, match=r"cannot be reached.*correct replay\.redis_url") as caught:
        await server.open("127.0.0.1:0")
    assert caught.value.exit_code == 5
    await server.close()


async def test_a_level_that_an_embedded_server_cannot_give_is_refused(kit: SimpleNamespace, tmp_path: Path) -> None:
    server = ReplayServer(
        kit.config(replay={"durability": "replica"}), tmp_path, run_id="run", index=0, metrics=Metrics("replay")
    )
    with pytest.raises(ConfigError, match="needs a server with a replica"):
        await server.open("127.0.0.1:0")
    await server.close()
