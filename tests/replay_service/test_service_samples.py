"""Samples through the wire: credits, the limiter's wake-ups, leases, rounds, priorities."""

import asyncio
from types import SimpleNamespace
from typing import Any

import grpc
import numpy as np
import pytest

from protos import replay_pb2 as pb

FIFO = {"sampler": "fifo", "consume": True}
IMPOSSIBLE = ({"policy_version": -1}, r"a policy version lies in .* got -1")


async def fill(service: Any, kit: SimpleNamespace, steps: int = 100) -> None:
    """One closed episode of so many steps, acknowledged."""
    inserts = await service.client.inserts("filler")
    await inserts.insert(1, kit.body(kit.segment(steps=steps, closed=True)), final=True)


async def test_credits_bound_what_is_sent_and_one_message_holds_several_batches(serve: Any, kit: SimpleNamespace) -> None:
    async with serve(kit.config()) as service:
        await fill(service, kit)
        samples = await service.client.samples()
        await samples.ask(credits=5, batch_size=4, most=3)
        first, columns = await samples.reply()
        second, _ = await samples.reply()
        assert [len(first.draws), len(second.draws)] == [3, 2]
        assert len(columns["reward"]) == 12
        assert await samples.nothing_comes()


async def test_a_learner_that_came_first_is_served_as_soon_as_rows_come(serve: Any, kit: SimpleNamespace) -> None:
    async with serve(kit.config()) as service:
        samples = await service.client.samples()
        await samples.ask(batch_size=4)
        assert await samples.nothing_comes()
        await fill(service, kit)
        answer, _ = await samples.reply()
        assert answer.draws[0].size == 4
        assert (await service.client.info()).tables[0].sample_wait_s > 0.0


async def test_the_limiter_stops_samples_and_an_insert_wakes_them(serve: Any, kit: SimpleNamespace) -> None:
    limiter = {"samples_per_insert": 1.0, "min_size": 10, "tolerance": 4.0}
    async with serve(kit.config(tables={"replay": {"limiter": limiter}})) as service:
        inserts = await service.client.inserts()
        await inserts.insert(1, kit.body(kit.segment(steps=10, closed=True)))  # surplus 0
        samples = await service.client.samples()
        await samples.ask(credits=10, batch_size=4, most=10)
        answer, _ = await samples.reply()
        assert len(answer.draws) == 2  # surplus 0 -> -4 -> -8, below -4
        waiting = asyncio.create_task(samples.reply())
        await inserts.insert(2, kit.body(kit.segment(first_sequence=11, steps=10, closed=True, episode=1)))  # surplus 2
        answer, _ = await waiting
        assert len(answer.draws) == 2  # 2 -> -2 -> -6


async def test_a_draw_from_an_unknown_table_or_of_no_size_is_refused(serve: Any, kit: SimpleNamespace) -> None:
    async with serve(kit.config()) as service:
        await fill(service, kit)
        for asked, said in (
            ({"table": "other"}, "unknown table 'other'; there are replay"),
            ({"batch_size": 0}, "got 0"),
            IMPOSSIBLE,
        ):
            samples = await service.client.samples()
            await samples.ask(**asked)
            with pytest.raises(grpc.aio.AioRpcError, match=said):
                await samples.reply()


async def test_a_batch_that_no_message_holds_is_refused_before_it_is_drawn(serve: Any, kit: SimpleNamespace) -> None:
    large = {"item": "sequence", "length": 2000, "period": 2000, "capacity_steps": 20_000}
    async with serve(kit.config(tables={"replay": large})) as service:
        await fill(service, kit)
        samples = await service.client.samples()
        await samples.ask(batch_size=20_000)
        with pytest.raises(
            grpc.aio.AioRpcError, match=r"a batch of 20000 items of table 'replay' takes about .* a message holds"
        ):
            await samples.reply()


async def test_new_priorities_change_what_is_drawn(serve: Any, kit: SimpleNamespace) -> None:
    async with serve(kit.config(tables={"replay": {"priority_exponent": 1.0}})) as service:
        await fill(service, kit, steps=50)
        samples = await service.client.samples()
        keys = np.arange(1, 51, dtype="<u8")
        priorities = np.where(keys == 7, 1.0, 0.0).astype("<f4")
        request = pb.UpdatePrioritiesRequest(
            client_id="learner-0",
            incarnation=samples.incarnation,
            table="replay",
            keys=np.append(keys, np.uint64(9999)).astype("<u8").tobytes(),
            priorities=np.append(priorities, np.float32(1.0)).astype("<f4").tobytes(),
        )
        reply = await service.client.stub.UpdatePriorities(request)
        assert (reply.applied, reply.late) == (50, 1)
        await samples.ask(batch_size=16)
        answer, columns = await samples.reply()
        assert set(columns["info.key"].tolist()) == {7}
        assert answer.table.total_priority == pytest.approx(1.0)


async def test_priorities_that_do_not_fit_their_keys_are_refused(serve: Any, kit: SimpleNamespace) -> None:
    async with serve(kit.config()) as service:
        await fill(service, kit)
        samples = await service.client.samples()
        told = {"client_id": "learner-0", "incarnation": samples.incarnation, "table": "replay"}
        for keys, priorities in ((bytes(8), bytes(8)), (bytes(7), bytes(4)), (bytes(8), np.array([np.nan], "<f4").tobytes())):
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await service.client.stub.UpdatePriorities(pb.UpdatePrioritiesRequest(keys=keys, priorities=priorities, **told))
            assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT


async def consumed(samples: Any, service: Any, draws: list[pb.Draw]) -> pb.ConsumedReply:
    return await service.client.stub.Consumed(
        pb.ConsumedRequest(
            client_id=samples.client_id,
            incarnation=samples.incarnation,
            table="replay",
            draw_ids=[draw.draw_id for draw in draws],
        )
    )


async def test_consumed_draws_leave_the_table_and_the_rest_comes_back_with_the_stream(serve: Any, kit: SimpleNamespace) -> None:
    async with serve(kit.config(tables={"replay": FIFO})) as service:
        await fill(service, kit, steps=12)
        samples = await service.client.samples()
        await samples.ask(credits=3, batch_size=4)
        first, second, third = [(await samples.reply()) for _ in range(3)]
        assert (await consumed(samples, service, first[0].draws)).items_removed == 4
        assert (await consumed(samples, service, first[0].draws)).unknown_draws == 1
        await samples.ask(credits=0, release_draws=[third[0].draws[0].draw_id])
        samples.call.cancel()  # the learner is gone while it holds the second draw

        async def all_are_back() -> bool:
            return (await service.client.info()).tables[0].leased_items == 0

        await kit.eventually(all_are_back)
        successor = await service.client.samples()
        await successor.ask(credits=2, batch_size=4)
        again = [await successor.reply() for _ in range(2)]
        assert all(answer.draws[0].redelivered for answer, _ in again)
        held = {int(key) for _, columns in (second, third) for key in columns["info.key"]}
        assert {int(key) for _, columns in again for key in columns["info.key"]} == held


async def test_a_newer_life_of_a_learner_takes_its_leases_back(serve: Any, kit: SimpleNamespace) -> None:
    async with serve(kit.config(tables={"replay": FIFO})) as service:
        await fill(service, kit, steps=4)
        old = await service.client.samples()
        await old.ask(batch_size=4)
        _, held = await old.reply()
        new = await service.client.samples()
        with pytest.raises(grpc.aio.AioRpcError, match="was replaced by"):
            await old.reply()
        await new.ask(batch_size=4)
        answer, columns = await new.reply()
        assert answer.draws[0].redelivered
        np.testing.assert_array_equal(columns["info.key"], held["info.key"])


async def test_ranks_of_a_group_get_a_round_or_nothing(serve: Any, kit: SimpleNamespace) -> None:
    async with serve(kit.config(tables={"replay": FIFO})) as service:
        await fill(service, kit, steps=12)
        ranks = [await service.client.samples(f"learner-{rank}", learner_group="group", rank=rank, world=2) for rank in range(2)]
        await ranks[0].ask(credits=2, batch_size=4)
        assert await ranks[0].nothing_comes()
        await ranks[1].ask(credits=1, batch_size=4)
        (_, first), (_, second) = [await rank.reply() for rank in ranks]
        assert first["info.key"].tolist() == [1, 2, 3, 4]
        assert second["info.key"].tolist() == [5, 6, 7, 8]
        await ranks[1].ask(credits=1, batch_size=4)
        assert await ranks[1].nothing_comes()  # four items are left: not a round of two batches


async def test_a_reader_that_stops_reading_costs_no_more_than_its_credits(serve: Any, kit: SimpleNamespace) -> None:
    async with serve(kit.config()) as service:
        await fill(service, kit)
        silent, other = await service.client.samples("learner-0"), await service.client.samples("learner-1")
        await silent.ask(credits=2000, batch_size=64, most=8)
        await other.ask(credits=4, batch_size=4)
        for _ in range(4):
            await other.reply()
        sent = service.server.shard.metrics.counter("sojourn_replay_batches").labels("replay")._value.get()
        assert sent < 500  # flow control holds the rest back at the service, undrawn
