"""Cuts of a shard: of one point while traffic goes on, whole or not there, and what a resumed shard has of them."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import grpc
import numpy as np
import pytest

from protos import replay_pb2 as pb
from replay.cuts import Cut, Cuts, dropped_labels
from replay.rows import PAGE_ROWS
from replay.snapshots import read_snapshot
from replay.stratum import Starts
from sojourn.chosen_cut import ChosenCut, write_chosen_cut

PROCESS = {"durability": "process"}


async def update(service: Any, keys: np.ndarray, priorities: np.ndarray, table: str = "replay") -> None:
    request = pb.UpdatePrioritiesRequest(client_id="learner-0", incarnation=service.client.lives["learner-0"], table=table)
    request.keys, request.priorities = keys.astype("<u8").tobytes(), priorities.astype("<f4").tobytes()
    await service.client.stub.UpdatePriorities(request)


async def cut(service: Any, label: str, **told: Any) -> pb.CheckpointReply:
    return await service.client.stub.Checkpoint(pb.CheckpointRequest(label=label, **told))


def resume(folder: Path, label: str, row_number: int) -> ChosenCut:
    """What the launcher writes when a run goes on from this checkpoint."""
    chosen = ChosenCut(label, {0: row_number})
    write_chosen_cut(folder, chosen)
    return chosen


def slow_record(service: Any, table: str, keys: range) -> dict[int, tuple[bytes, int]]:
    """Item by item: key -> (priority as its four bytes, times sampled); only those that the table holds."""
    found = {}
    for key in keys:
        priority, times = service.server.shard.store.look_up(table, np.array([key]))
        if not np.isnan(priority[0]):
            found[key] = priority.tobytes(), int(times[0])
    return found


async def turn_until(stop: asyncio.Event, turns: list[int], act: Callable[[], Awaitable[Any]]) -> None:
    """Act again and again. turns: grows by one item a time."""
    while not stop.is_set():
        await act()
        turns.append(len(turns))


async def test_a_cut_under_traffic_is_of_one_point(serve: Any, kit: SimpleNamespace) -> None:
    """Each update gives every item one new priority, so that a cut of one point has one priority in all its pages."""
    config = kit.config(replay=PROCESS, tables={"replay": {"capacity_steps": 1 << 15}})
    async with serve(config) as service:
        inserts = await service.client.inserts()
        rows = 2 * PAGE_ROWS + 100
        await inserts.insert(1, kit.body(kit.segment(steps=rows)))
        samples = await service.client.samples()
        keys, numbers, stop = np.arange(1, rows), {"update": 0.0, "message": 1}, asyncio.Event()

        async def set_all() -> None:
            numbers["update"] += 1
            await update(service, keys, np.full(len(keys), numbers["update"]))

        async def draw() -> None:
            await samples.ask(4, batch_size=64, most=4)
            await samples.reply()

        async def insert() -> None:
            numbers["message"] += 1
            first = rows + 10 * (numbers["message"] - 2)
            await inserts.insert(numbers["message"], kit.body(kit.segment(first_sequence=first)))

        turns: list[list[int]] = [[], [], []]
        traffic = [asyncio.create_task(turn_until(stop, *one)) for one in zip(turns, (set_all, draw, insert), strict=True)]
        cuts = []
        while len(cuts) < 6 or min(map(len, turns)) < 2:
            name = f"step-{len(cuts)}"
            reply = await cut(service, name)
            cuts.append((reply, await service.server.shard.tier.store.hash(f"cut:{name}")))
        stop.set()
        await asyncio.gather(*traffic)
        for reply, pages in cuts:
            counters, found, _, _ = read_snapshot(pages)
            bodies = sorted((page.number, page.body) for page in found)
            priority = np.concatenate([np.frombuffer(body, "<f4", PAGE_ROWS) for _, body in bodies])
            times = np.concatenate([np.frombuffer(body, "<u4", PAGE_ROWS, 4 * PAGE_ROWS) for _, body in bodies])
            limiter = counters["tables"]["replay"]["limiter"]
            assert len(np.unique(priority[keys])) == 1
            assert times.sum() == limiter["sampled_items"]
            assert np.count_nonzero(priority >= 0) == limiter["inserted_items"] == reply.items == reply.row_number - 1
            assert counters["next_row_number"] == reply.row_number + 1


TABLES = {
    "replay": {"priority_exponent": 1.0, "limiter": {"samples_per_insert": 1000, "min_size": 1, "tolerance": 1e6}},
    "queue": {"sampler": "fifo", "consume": True, "duration": {"rule": "window", "weight": "inclusion"}},
}


async def lease(service: Any, samples: Any, draws: int) -> list[int]:
    await samples.ask(draws, batch_size=4, table="queue", most=draws)
    reply, _ = await samples.reply()
    assert len(reply.draws) == draws
    return [draw.draw_id for draw in reply.draws]


async def insert(inserts: Any, kit: SimpleNamespace, numbers: range) -> None:
    """Ten steps a message."""
    for number in numbers:
        await inserts.insert(number, kit.body(kit.segment(first_sequence=10 * number - 10)))


async def draw(samples: Any, draws: int) -> None:
    await samples.ask(draws, batch_size=16, most=draws)
    await samples.reply()


def assert_goes_on(log: Any, later: Any, more: int) -> None:
    """A start log that was gone back to has what it had, and so many starts more."""
    for column in ("duration_s", "kind", "first"):
        np.testing.assert_array_equal(getattr(later, column)[: len(log.kind)], getattr(log, column))
    assert len(later.kind) == len(log.kind) + more


@dataclass(frozen=True)
class Record:
    """A shard's tables as they are, written down item by item. starts: of the start log.  leases: keys by draw."""

    rows: int
    env_steps: int
    items: dict[str, dict[int, tuple[bytes, int]]]
    sampled: tuple[float, int]
    leases: dict[int, list[int]]
    starts: Starts

    @classmethod
    def of(cls, service: Any) -> "Record":
        store = service.server.shard.store
        rows, [stratum] = store.next_row_number - 1, service.server.shard.starts.strata
        limiter = store.counters()["tables"]["replay"]["limiter"]
        return cls(
            rows,
            store.env_steps,
            {table: slow_record(service, table, range(1, rows + 1)) for table in TABLES},
            (limiter["sampled"], limiter["sampled_items"]),
            {draw: sorted(keys.tolist()) for draw, keys in store.leases("queue").items()},
            stratum.starts(),
        )


async def test_a_resumed_shard_has_priorities_times_limiter_leases_and_start_log_of_the_cut(
    serve: Any, kit: SimpleNamespace, tmp_path: Path
) -> None:
    config = kit.config(replay=PROCESS, tables=TABLES)
    async with serve(config) as service:
        inserts, samples = await service.client.inserts(), await service.client.samples()
        await insert(inserts, kit, range(1, 7))
        await update(service, np.arange(1, 50), np.linspace(0.1, 9.0, 49))
        await draw(samples, 6)
        queued = await service.client.samples("learner-1")
        learned, unlearned = await lease(service, queued, 2)
        then = Record.of(service)
        reply = await cut(service, "step-9", learner_step=9, table="queue", learned_draws=[learned])
        assert (reply.row_number, then.sampled) == (then.rows, (96.0, 96))

        await update(service, np.arange(1, 50), np.full(49, 0.5))
        await draw(samples, 3)
        await insert(inserts, kit, range(7, 10))
        used = pb.ConsumedRequest(client_id="learner-1", incarnation=queued.incarnation, table="queue", draw_ids=[learned])
        await service.client.stub.Consumed(used)
        inserted_items = service.server.shard.store.facts("replay", 0.0).inserted_items
    resume(tmp_path, "step-9", then.rows)
    async with serve(config) as service:
        now, store = Record.of(service), service.server.shard.store
        went_back = {table: {key: item for key, item in now.items[table].items() if key < then.rows} for table in TABLES}
        left = {key: item for key, item in then.items["queue"].items() if key not in then.leases[learned]}
        assert went_back == {"replay": then.items["replay"], "queue": left}
        assert (now.sampled, now.leases) == (then.sampled, {})
        assert store.counters()["tables"]["queue"]["leases"]["handed_back"] == then.leases[unlearned]
        assert_goes_on(then.starts, now.starts, more=30)
        # nothing that came after the cut is lost
        late = [item for key, item in now.items["replay"].items() if key >= then.rows]
        assert (len(late), set(late)) == (30, {(np.float32(9.0).tobytes(), 0)})
        assert (now.env_steps, store.facts("replay", 0.0).inserted_items) == (then.env_steps + 30, inserted_items)
        granted = await service.client.hello(last_incarnation=inserts.incarnation, inherit_incarnation=inserts.incarnation)
        assert granted.last_message_number == 9
        store.check()


async def test_a_shard_goes_back_once_in_a_start_of_the_run(serve: Any, kit: SimpleNamespace, tmp_path: Path) -> None:
    config = kit.config(replay=PROCESS)
    async with serve(config) as service:
        inserts = await service.client.inserts()
        await inserts.insert(1, kit.body(kit.segment()))
        await service.client.hello("learner-0", pb.ROLE_LEARNER)
        await update(service, np.arange(1, 9), np.full(8, 2.0))
        await cut(service, "step-1")
        await update(service, np.arange(1, 9), np.full(8, 3.0))
    resume(tmp_path, "step-1", 10)
    for wanted, then in ((2.0, 4.0), (4.0, 5.0)):
        async with serve(config) as service:
            found = slow_record(service, "replay", range(1, 9))
            assert {priority for priority, _ in found.values()} == {np.float32(wanted).tobytes()}
            await service.client.hello("learner-0", pb.ROLE_LEARNER)
            await update(service, np.arange(1, 9), np.full(8, then))
    resume(tmp_path, "step-1", 10)  # another start
    async with serve(config) as service:
        assert {priority for priority, _ in slow_record(service, "replay", range(1, 9)).values()} == {np.float32(2.0).tobytes()}


@pytest.mark.parametrize(("label", "row_number"), [("step-2", 10), ("step-1", 9)])
async def test_a_shard_without_that_cut_goes_on_from_its_latest_snapshot_and_says_so(
    serve: Any, kit: SimpleNamespace, tmp_path: Path, caplog: pytest.LogCaptureFixture, label: str, row_number: int
) -> None:
    config = kit.config(replay=PROCESS)
    async with serve(config) as service:
        inserts = await service.client.inserts()
        await inserts.insert(1, kit.body(kit.segment()))
        await service.client.hello("learner-0", pb.ROLE_LEARNER)
        await cut(service, "step-1")
        await update(service, np.arange(1, 9), np.full(8, 3.0))
    resume(tmp_path, label, row_number)
    async with serve(config) as service:
        assert {priority for priority, _ in slow_record(service, "replay", range(1, 9)).values()} == {np.float32(3.0).tobytes()}
        assert f"shard 0 has no cut of checkpoint {label}" in caplog.text


async def test_the_cut_of_the_newest_whole_checkpoint_outlives_those_of_learners_that_died_writing(
    serve: Any, kit: SimpleNamespace
) -> None:
    async with serve(kit.config(replay=PROCESS)) as service:
        inserts = await service.client.inserts()
        await inserts.insert(1, kit.body(kit.segment()))
        await cut(service, "step-1")
        for number in range(2, 5):  # none of these has a file
            await cut(service, f"step-{number}", kept_label="step-1")
            kept = await Cuts(service.server.shard.tier.store).all()
            assert sorted(kept) == ["step-1", f"step-{number}"]
        await cut(service, "step-5")
        tier = service.server.shard.tier.store
        assert sorted(await Cuts(tier).all()) == ["step-4", "step-5"]
        assert await tier.hash("cut:step-1") == {}


@pytest.mark.parametrize(
    ("label", "kept", "dropped"),
    [("d", "a", ["b", "c"]), ("d", "", ["a", "b"]), ("d", "gone", ["a", "b"]), ("b", "a", ["c"]), ("c", "c", ["a"])],
)
def test_two_cuts_are_kept(label: str, kept: str, dropped: list[str]) -> None:
    cuts = {name: Cut(name, 1, 1, 1, 1, "", (), number) for number, name in enumerate("abc")}
    assert dropped_labels(cuts, label, kept) == dropped


async def test_an_impossible_label_and_a_server_that_is_gone_are_refused_at_once(
    serve: Any, kit: SimpleNamespace, valkey: Any
) -> None:
    server = await valkey()
    async with serve(kit.config(replay={**PROCESS, "redis_url": server.url})) as service:
        inserts = await service.client.inserts()
        await inserts.insert(1, kit.body(kit.segment()))
        with pytest.raises(grpc.aio.AioRpcError, match="a label is 1 to 200 letters"):
            await cut(service, "step:{1}")
        server.kill()

        async def is_down() -> bool:
            return service.server.shard.tier.status != "ok"

        await kit.eventually(is_down)
        with pytest.raises(grpc.aio.AioRpcError, match="the durable tier is down"):
            await cut(service, "step-1")
        await server.start()

        async def is_cut() -> bool:
            with suppress(grpc.aio.AioRpcError):
                await cut(service, "step-1")
                return True
            return False

        await kit.eventually(is_cut)
        assert sorted(await Cuts(service.server.shard.tier.store).all()) == ["step-1"]
