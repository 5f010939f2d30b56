"""Inserts through the wire: each message is stored once or refused with its reason, and what is acknowledged stays."""

import asyncio
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import grpc
import numpy as np
import pytest

from protos import replay_pb2 as pb
from sojourn.columns import Column
from sojourn.rpc import CONTRACT_VERSION

ACCEPTED, DUPLICATE, REFUSED = pb.InsertReply.ACCEPTED, pb.InsertReply.DUPLICATE, pb.InsertReply.REFUSED


def refusal_of(caught: pytest.ExceptionInfo[Exception]) -> tuple[grpc.StatusCode, str]:
    error = caught.value
    assert isinstance(error, grpc.aio.AioRpcError)
    return error.code(), error.details() or ""


async def test_an_insert_is_acknowledged_and_can_be_sampled(serve: Any, kit: SimpleNamespace) -> None:
    async with serve(kit.config()) as service:
        inserts = await service.client.inserts()
        reply = await inserts.insert(1, kit.body(kit.segment(steps=10, closed=True)))
        assert (reply.message_number, reply.outcome, reply.env_steps) == (1, ACCEPTED, 10)
        samples = await service.client.samples()
        await samples.ask(batch_size=4)
        answer, columns = await samples.reply()
        assert [draw.size for draw in answer.draws] == [4]
        assert columns["observation"].shape == (4, 3)
        np.testing.assert_array_equal(columns["next_observation"], columns["observation"] + 1)
        assert answer.table.items == 10


async def test_a_resent_message_is_a_duplicate_and_is_not_stored_twice(serve: Any, kit: SimpleNamespace) -> None:
    async with serve(kit.config()) as service:
        inserts = await service.client.inserts()
        body = kit.body(kit.segment(steps=10))
        assert (await inserts.insert(1, body)).outcome == ACCEPTED
        reply = await inserts.insert(1, body)
        assert (reply.outcome, reply.env_steps) == (DUPLICATE, 10)
        assert (await service.client.info()).duplicates == 1


async def test_a_resend_while_the_first_copy_waits_is_a_duplicate(serve: Any, kit: SimpleNamespace) -> None:
    async with serve(kit.config()) as service:
        inserts = await service.client.inserts()
        for number in (1, 2, 1, 2, 3):
            await inserts.send(number, kit.body(kit.segment(first_sequence=10 * number - 10)))
        replies = [await inserts.reply() for _ in range(5)]
        assert [(reply.message_number, reply.outcome) for reply in replies] == [
            (1, ACCEPTED),
            (2, ACCEPTED),
            (1, DUPLICATE),
            (2, DUPLICATE),
            (3, ACCEPTED),
        ]
        assert replies[-1].env_steps == 30


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda segment: replace(segment, reward=np.full(10, np.nan, np.float32)), "reward"),
        (lambda segment: replace(segment, duration_s=np.full(10, -1.0)), "duration"),
        (lambda segment: replace(segment, observation={"observation": np.full((11, 3), np.inf, np.float32)}), "observation"),
    ],
)
async def test_bad_values_are_refused_with_the_reason_and_consume_their_number(
    serve: Any, kit: SimpleNamespace, spoil: Any, said: str
) -> None:
    async with serve(kit.config()) as service:
        inserts = await service.client.inserts()
        reply = await inserts.insert(1, kit.body(spoil(kit.segment(steps=10))))
        assert reply.outcome == REFUSED
        assert said in reply.reason
        assert reply.env_steps == 0
        assert (await inserts.insert(1, kit.body(kit.segment()))).outcome == DUPLICATE
        assert (await inserts.insert(2, kit.body(kit.segment()))).outcome == ACCEPTED


@pytest.mark.parametrize("held_s", [-1.0, float("nan"), float("inf"), 1e300])
async def test_a_wait_that_is_none_is_refused(serve: Any, kit: SimpleNamespace, held_s: float) -> None:
    async with serve(kit.config()) as service:
        inserts = await service.client.inserts()
        reply = await inserts.insert(1, kit.body(kit.segment()), held_s=held_s)
        assert (reply.outcome, reply.env_steps) == (pb.InsertReply.REFUSED, 0)
        assert f"held_s must lie in [0, 1e+09], got {held_s}" in reply.reason


async def test_bytes_that_are_no_rows_are_refused(serve: Any, kit: SimpleNamespace) -> None:
    async with serve(kit.config()) as service:
        inserts = await service.client.inserts()
        assert (await inserts.insert(1, b"garbage")).outcome == REFUSED
        assert (await inserts.insert(2, b"")).outcome == REFUSED
        whole = kit.body(kit.segment())
        assert (await inserts.insert(3, whole[: len(whole) // 2])).outcome == REFUSED
        assert (await inserts.insert(4, whole)).outcome == ACCEPTED


async def test_a_lane_that_goes_back_is_refused_also_behind_a_message_that_still_waits(serve: Any, kit: SimpleNamespace) -> None:
    async with serve(kit.config()) as service:
        inserts = await service.client.inserts()
        for number, first_sequence in ((1, 0), (2, 5), (3, 10)):
            await inserts.send(number, kit.body(kit.segment(first_sequence=first_sequence)))
        assert [(await inserts.reply()).outcome for _ in range(3)] == [ACCEPTED, REFUSED, ACCEPTED]


async def test_missing_messages_end_the_stream_and_are_counted(serve: Any, kit: SimpleNamespace) -> None:
    async with serve(kit.config()) as service:
        inserts = await service.client.inserts()
        await inserts.send(1, kit.body(kit.segment()))
        await inserts.send(3, kit.body(kit.segment(first_sequence=20)))
        assert (await inserts.reply()).outcome == ACCEPTED
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await inserts.reply()
        code, details = refusal_of(caught)
        assert code is grpc.StatusCode.FAILED_PRECONDITION
        assert "message 3 of actor-0" in details
        assert "2 is next" in details
        assert (await service.client.info()).gaps == 1


async def test_a_replaced_life_is_fenced_and_its_lanes_are_cut(serve: Any, kit: SimpleNamespace) -> None:
    async with serve(kit.config()) as service:
        old = await service.client.inserts()
        await old.insert(1, kit.body(kit.segment(steps=10)))
        assert (await service.client.info()).tables[0].facts.items == 9  # the tenth step waits for its next observation
        new = await service.client.inserts()
        assert new.incarnation > old.incarnation
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await old.reply()
        assert "was replaced by" in refusal_of(caught)[1]
        again = await service.client.inserts(incarnation=old.incarnation)
        await again.send(2, kit.body(kit.segment(first_sequence=10)))
        with pytest.raises(grpc.aio.AioRpcError, match="was replaced by"):
            await again.reply()
        assert (await new.insert(1, kit.body(kit.segment(steps=10)))).env_steps == 20
        assert (await service.client.info()).fenced == 1


async def test_a_successor_drains_what_the_old_life_left(serve: Any, kit: SimpleNamespace) -> None:
    async with serve(kit.config()) as service:
        old = await service.client.inserts()
        await old.insert(1, kit.body(kit.segment()))
        granted = await service.client.hello(last_incarnation=old.incarnation, inherit_incarnation=old.incarnation)
        assert (granted.incarnation, granted.last_message_number) == (old.incarnation, 1)
        spill = await service.client.inserts(incarnation=old.incarnation)
        reply = await spill.insert(2, kit.body(kit.segment(first_sequence=10)), final=True)
        assert (reply.outcome, reply.env_steps) == (ACCEPTED, 20)
        live = await service.client.inserts()
        assert live.incarnation > old.incarnation


async def test_a_final_message_may_be_empty_and_ends_the_stream_cleanly(serve: Any, kit: SimpleNamespace) -> None:
    async with serve(kit.config()) as service:
        inserts = await service.client.inserts()
        await inserts.insert(1, kit.body(kit.segment(steps=10)))
        assert (await inserts.insert(2, b"", final=True)).outcome == ACCEPTED
        await inserts.call.done_writing()
        with pytest.raises(EOFError, match="OK"):
            await inserts.reply()


async def test_a_stream_of_two_lives_is_refused(serve: Any, kit: SimpleNamespace) -> None:
    async with serve(kit.config()) as service:
        inserts = await service.client.inserts()
        await inserts.insert(1, kit.body(kit.segment()))
        inserts.client_id = "actor-9"
        await inserts.send(2, kit.body(kit.segment(first_sequence=10)))
        with pytest.raises(grpc.aio.AioRpcError, match="a stream is of one life"):
            await inserts.reply()


async def test_a_message_over_the_size_limit_breaks_only_its_own_stream(serve: Any, kit: SimpleNamespace) -> None:
    async with serve(kit.config(replay={"max_message_bytes": 65_536})) as service:
        large, other = await service.client.inserts("actor-0"), await service.client.inserts("actor-1")
        await large.send(1, bytes(200_000))
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await large.reply()
        assert refusal_of(caught)[0] is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert (await other.insert(1, kit.body(kit.segment()))).outcome == ACCEPTED


async def until_waiting(service: Any, inserts: Any, kit: SimpleNamespace, messages: int) -> None:
    """Until the service has taken in so many messages of this stream that wait for the limiter."""

    async def are_waiting() -> bool:
        return bool(service.server._ingest._calls[(inserts.client_id, inserts.incarnation)].waiting == messages)

    await kit.eventually(are_waiting)


async def test_inserts_wait_for_the_limiter_and_go_on_when_a_learner_draws(serve: Any, kit: SimpleNamespace) -> None:
    limiter = {"samples_per_insert": 1.0, "min_size": 10, "tolerance": 8.0}
    async with serve(kit.config(tables={"replay": {"limiter": limiter}})) as service:
        inserts = await service.client.inserts()
        for number in (1, 2, 3):
            await inserts.send(number, kit.body(kit.segment(first_sequence=10 * number - 10)))
        assert (await inserts.reply()).outcome == ACCEPTED  # 9 items, below min_size
        assert (await inserts.reply()).outcome == ACCEPTED  # 19 items: surplus 9, over 8
        third = asyncio.create_task(inserts.reply())
        await until_waiting(service, inserts, kit, 1)
        assert (await service.client.info()).tables[0].insert_blocked
        samples = await service.client.samples()
        await samples.ask(batch_size=4)
        await samples.reply()  # surplus 5
        assert (await third).outcome == ACCEPTED
        assert (await service.client.info()).tables[0].insert_wait_s > 0.0


async def test_unread_messages_stay_with_the_client_while_inserts_are_blocked(serve: Any, kit: SimpleNamespace) -> None:
    limiter = {"samples_per_insert": 1.0, "min_size": 1, "tolerance": 8.0}
    config = kit.config(tables={"replay": {"limiter": limiter}}, replay={"insert_window": 2})
    async with serve(config) as service:
        inserts = await service.client.inserts()
        for number in range(1, 21):
            await inserts.send(number, kit.body(kit.segment(first_sequence=10 * number - 10)))
        await inserts.reply()
        await until_waiting(service, inserts, kit, 2)
        assert len(service.server._ingest._queue) <= 2


# the door


async def refused_hello(client: Any, **told: Any) -> tuple[grpc.StatusCode, str]:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await client.hello(**told)
    return refusal_of(caught)


async def test_hello_refuses_what_does_not_belong_here_and_says_why(serve: Any, kit: SimpleNamespace) -> None:
    other = replace(kit.schema, extras=(Column("cost", "float32"),))
    async with serve(kit.config(), run_id="run-a") as service:
        client = service.client
        granted = await client.hello(run_id="run-a")
        assert granted.contract_version == CONTRACT_VERSION
        assert list(granted.tables) == ["replay"]
        code, said = await refused_hello(client, contract_version=0)
        assert code is grpc.StatusCode.FAILED_PRECONDITION
        assert "contract version 0" in said
        assert f"speaks 1 to {CONTRACT_VERSION}" in said
        code, said = await refused_hello(client, run_id="run-b")
        assert "'run-b', this service holds run 'run-a'" in said
        code, said = await refused_hello(client, schema_json=other.to_json())
        assert "cost is float32[] there and missing here" in said
        code, said = await refused_hello(client, schema_json=b"{}")
        assert "not an experience schema" in said
        code, said = await refused_hello(client, schema_json=b"")
        assert code is grpc.StatusCode.INVALID_ARGUMENT
        code, said = await refused_hello(client, client_id="no spaces")
        assert "'no spaces'" in said
        code, said = await refused_hello(client, role=pb.ROLE_UNSPECIFIED)
        assert "did not say its role" in said


@pytest.mark.parametrize(
    "broken",
    [
        b"[]",
        b'{"observation": 3}',
        b'{"observation": {"type": "Box", "shape": [-2], "dtype": "float32", "low": 0, "high": 1}, "action": {}}',
        b'{"observation": {"type": "Box", "shape": [2], "dtype": "what", "low": 0, "high": 1}, "action": {}}',
        b'{"observation": {"type": "Discrete", "n": -1, "start": 0}, "action": {"type": "Dict", "spaces": 5}}',
        b'{"observation": {"type": "Discrete", "n": 2, "start": 0}, "action": {"type": "Discrete", "n": 2, "start": 0}, '
        b'"extras": [{"name": "reward", "dtype": "float32", "shape": []}], "core_state": []}',
    ],
)
async def test_a_schema_that_is_none_is_refused(serve: Any, kit: SimpleNamespace, broken: bytes) -> None:
    async with serve(kit.config()) as service:
        code, said = await refused_hello(service.client, schema_json=broken)
        assert code is grpc.StatusCode.FAILED_PRECONDITION
        assert "schema" in said
        await service.client.hello()


async def test_numbers_out_of_range_are_refused(serve: Any, kit: SimpleNamespace) -> None:
    async with serve(kit.config()) as service:
        code, _ = await refused_hello(service.client, last_incarnation=2**64 - 1)
        assert code is grpc.StatusCode.INVALID_ARGUMENT
        inserts = await service.client.inserts()
        await inserts.send(0, kit.body(kit.segment()))
        with pytest.raises(grpc.aio.AioRpcError, match="messages are numbered from 1, got 0"):
            await inserts.reply()
        late = await service.client.inserts(incarnation=inserts.incarnation)
        assert (await late.insert(1, kit.body(kit.segment()), held_s=float("nan"))).outcome == REFUSED
        assert (await late.insert(2, kit.body(kit.segment()), held_s=-1.0)).outcome == REFUSED


async def test_a_table_that_cannot_fit_is_refused_at_the_first_hello(serve: Any, kit: SimpleNamespace) -> None:
    config = kit.config(tables={"replay": {"capacity_bytes": 1_000_000, "capacity_steps": 10_000_000}})
    async with serve(config) as service:
        code, said = await refused_hello(service.client)
        assert code is grpc.StatusCode.FAILED_PRECONDITION
        assert "capacity" in said


async def test_a_learner_may_not_insert_and_an_actor_may_not_sample(serve: Any, kit: SimpleNamespace) -> None:
    async with serve(kit.config()) as service:
        actor, learner = await service.client.inserts(), await service.client.samples()
        intruder = await service.client.inserts("learner-0", incarnation=learner.incarnation)
        await intruder.send(1, kit.body(kit.segment()))
        with pytest.raises(grpc.aio.AioRpcError, match="learner-0 is learner, this call is for role actor"):
            await intruder.reply()
        learner.client_id, learner.incarnation = "actor-0", actor.incarnation
        await learner.ask()
        with pytest.raises(grpc.aio.AioRpcError, match="actor-0 is actor"):
            await learner.reply()


async def test_an_unknown_client_is_told_to_say_hello(serve: Any, kit: SimpleNamespace) -> None:
    async with serve(kit.config()) as service:
        await service.client.hello()
        stranger = await service.client.inserts("actor-7", incarnation=99)
        await stranger.send(1, kit.body(kit.segment()))
        with pytest.raises(grpc.aio.AioRpcError, match="say hello first"):
            await stranger.reply()


async def test_a_learner_gets_the_schema_once_an_actor_has_said_hello(serve: Any, kit: SimpleNamespace) -> None:
    async with serve(kit.config()) as service:
        assert (await service.client.hello("learner-0", pb.ROLE_LEARNER)).schema_json == b""
        await service.client.hello()
        assert (await service.client.hello("learner-0", pb.ROLE_LEARNER)).schema_json == kit.schema.to_json()


async def test_garbage_on_the_port_harms_nobody(serve: Any, kit: SimpleNamespace) -> None:
    async with serve(kit.config()) as service:
        inserts = await service.client.inserts()
        host, port = service.target.split(":")
        for noise in (b"GET / HTTP/1.1\r\n\r\n", bytes(range(256)) * 64, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\xff" * 1000):
            _, writer = await asyncio.open_connection(host, int(port))
            writer.write(noise)
            await writer.drain()
            writer.close()
        assert (await inserts.insert(1, kit.body(kit.segment()))).outcome == ACCEPTED


async def test_nobody_waits_for_draws_of_what_the_run_begins_with(serve: Any, kit: SimpleNamespace) -> None:
    """Its items can be drawn, and the learner neither owes samples for them nor draws ahead on them."""
    limiter = {"samples_per_insert": 1.0, "min_size": 1, "tolerance": 8.0}
    async with serve(kit.config(tables={"replay": {"limiter": limiter}}, replay={"durability": "process"})) as service:
        beginning = await service.client.inserts("initial")
        for number in range(1, 6):
            body = kit.body(kit.segment(first_sequence=41 * number, steps=40, closed=True, episode=number))
            assert (await beginning.insert(number, body)).outcome == pb.InsertReply.ACCEPTED
        table = (await service.client.info()).tables[0]
        assert (table.facts.inserted_items, table.facts.imported_items, table.limiter_surplus) == (200, 200, 0.0)
        samples = await service.client.samples()
        await samples.ask(credits=20, batch_size=4)
        drawn = 0
        while not await samples.nothing_comes():
            drawn += len((await samples.reply())[0].draws)
        assert drawn == 3  # 8 ahead, and the batch with which the bound is passed
        actor = await service.client.inserts("actor-0")
        await actor.insert(1, kit.body(kit.segment(steps=12, closed=True)))
        for _ in range(3):
            await samples.reply()
    async with serve(kit.config(tables={"replay": {"limiter": limiter}}, replay={"durability": "process"})) as service:
        assert (await service.client.info()).tables[0].facts.imported_items == 200
