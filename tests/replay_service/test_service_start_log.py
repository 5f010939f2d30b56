"""The start log through the service: it outlives a restart, and what cannot be is counted and harms nothing."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from protos import replay_pb2 as pb
from replay.observe import observe
from replay.summaries import summary
from sojourn.experience import EndKind

CLOCKS_S = 2.0  # between two readings of two clocks a starved process may wait so long
WINDOW = {"replay": {"sampler": "fifo", "duration": {"rule": "window"}}}


async def say(service: Any, client_id: str, *running: pb.RunningAction, lanes: list[pb.LaneCounters] | None = None) -> None:
    """One heartbeat, answered."""
    call = service.client.stub.Heartbeat()
    life = service.client.lives[client_id]
    await call.write(pb.HeartbeatRequest(client_id=client_id, incarnation=life, lanes=lanes or [], running=running))
    await call.read()
    await call.done_writing()


def ended(number: int, age_s: float, kind: EndKind, **told: Any) -> pb.RunningAction:
    return pb.RunningAction(
        lane=0, action_number=number, age_s=age_s, has_ended=True, ended=pb.EndKind.Name(kind), **{"episode_age_s": age_s, **told}
    )


@pytest.mark.parametrize("level", ["process", "disk"])
async def test_estimates_are_the_same_after_a_restart_though_what_they_are_made_of_was_consumed(
    serve: Any, kit: SimpleNamespace, level: str
) -> None:
    rules = ("window", "episode_window", "censoring", "start_rate")
    tables = {rule: {"sampler": "fifo", "consume": True, "duration": {"rule": rule, "weight": "pool"}} for rule in rules}
    config = kit.config(tables=tables, replay={"durability": level}, learners={"table": "window", "batch_size": 4})
    async with serve(config) as service:
        stream = await service.client.inserts("actor-0")
        for number in range(1, 11):
            await stream.insert(number, kit.body(kit.segment(lane=number, steps=4, closed=True)))
        await say(service, "actor-0", ended(6, 0.0, EndKind.ABORTED), ended(7, float("nan"), EndKind.ABORTED))
        await service.client.stub.EndWindow(pb.EndWindowRequest(client_id="actor-0"))
        for table in rules:  # all rows leave, and with them the chunks that they came in
            samples = await service.client.samples(f"learner-{table}")
            await samples.ask(10, table=table, most=10)
            reply, _ = await samples.reply()
            request = pb.ConsumedRequest(client_id=samples.client_id, incarnation=samples.incarnation, table=table)
            request.draw_ids.extend(draw.draw_id for draw in reply.draws)
            assert (await service.client.stub.Consumed(request)).items_removed == 40
        log = service.server.shard.starts
        before = {rule: summary(log, service.server.shard.store.versions, rule, True) for rule in rules}
        offset_s = log.strata[0].starts().start_s
    async with serve(config) as service:
        log = service.server.shard.starts
        assert service.server.shard.store.items("window") == 0
        assert log.strata[0].starts().start_s == pytest.approx(offset_s, abs=CLOCKS_S)  # one machine: its monotonic clock goes on
        for rule in rules:
            [then], [now] = before[rule]["strata"], summary(log, service.server.shard.store.versions, rule, True)["strata"]
            assert len(then["time"]) > 0
            for name in then.keys() - {"pool", "speed_class"}:
                assert now[name] == pytest.approx(then[name], abs=CLOCKS_S if rule == "start_rate" else 1e-6)
        assert (log.windows(""), log.odd["odd_age"]) == (1, 1)


async def test_how_far_items_were_behind_is_the_same_after_a_restart(serve: Any, kit: SimpleNamespace) -> None:
    """Rows tell of a version when the first action with it ends; the service had heard of it from the learner before."""
    table = {"remover": "version_age", "horizon_versions": 9, "limiter": {"samples_per_insert": None, "min_size": 1}}
    config = kit.config(tables={"replay": table}, replay={"durability": "process"})

    async def lags(service: Any) -> dict[int, int]:
        samples = await service.client.samples("learner-0")
        await samples.ask(8, most=8, policy_version=5)
        _, columns = await samples.reply()
        return dict(zip(columns["info.policy_version"].tolist(), columns["info.lag"].tolist(), strict=True))

    async with serve(config) as service:
        stream = await service.client.inserts("actor-0")
        for number, version in enumerate((1, 2), start=1):
            segment = kit.segment(lane=number, steps=4, closed=True)
            segment.policy_version[:] = version
            await stream.insert(number, kit.body(segment))
            if version == 1:
                assert await lags(service) == {1: 0}  # and tells of version 5
        before = await lags(service)
    async with serve(config) as service:
        assert await lags(service) == before == {1: 0, 2: 3}


async def test_what_became_of_items_by_class_of_actors_is_the_same_after_a_restart(serve: Any, kit: SimpleNamespace) -> None:
    config = kit.config(tables={"replay": {"capacity_steps": 64}}, replay={"durability": "process"})
    labels = {"table": "replay", "pool": "a"}

    def fates(service: Any) -> dict[tuple[str, str], float]:
        observe(service.server.shard)
        families = service.server.shard.metrics.registry.collect()
        [found] = [family for family in families if family.name == "sojourn_replay_class_items"]
        assert all(labels.items() <= sample.labels.items() for sample in found.samples)
        return {(sample.labels["speed_class"], sample.labels["fate"]): sample.value for sample in found.samples}

    async def insert(service: Any, speed_class: str, steps: int) -> None:
        life = (await service.client.hello(speed_class, pool="a", speed_class=speed_class)).incarnation
        stream = await service.client.inserts(speed_class, incarnation=life)
        await stream.insert(1, kit.body(kit.segment(steps=steps, closed=True)))

    async with serve(config) as service:
        await insert(service, "slow", 40)
        await insert(service, "quick", 50)
        before = fates(service)
    assert (before["slow", "came"], before["quick", "came"]) == (40, 50)
    assert before["slow", "lost"] == before["slow", "undrawn"] == 90 - 64
    async with serve(config) as service:
        assert fates(service) == before
        await insert(service, "quick", 10)
        after = fates(service)
    assert (after["slow", "came"], after["slow", "lost"], after["quick", "came"]) == (40, 36, 60)


async def test_what_ran_when_the_service_ended_is_known_to_its_next_life(serve: Any, kit: SimpleNamespace) -> None:
    config = kit.config(tables=WINDOW, replay={"durability": "process"})
    async with serve(config) as service:
        await service.client.hello("actor-0")
        await say(service, "actor-0", pb.RunningAction(lane=3, action_number=9, age_s=5.0, episode_age_s=6.0))
    async with serve(config) as service:
        [action] = service.server.shard.starts.running(0)
        assert (action.lane, action.action_number, action.age_s) == (3, 9, 5.0)
        await service.client.hello("actor-0")  # a new life: the old one's action died with it
        log = service.server.shard.starts

        async def crashed() -> bool:
            return log.running(0) == []

        await kit.eventually(crashed)
        assert log.strata[0].starts().kind.tolist() == [EndKind.CRASHED]
        assert log.odd["never_ended"] == 1


async def test_impossible_reports_and_rows_are_counted_and_everything_goes_on(serve: Any, kit: SimpleNamespace) -> None:
    async with serve(kit.config(tables=WINDOW)) as service:
        stream = await service.client.inserts("actor-0")
        await say(
            service,
            "actor-0",
            pb.RunningAction(lane=0, action_number=1, age_s=-5.0),
            pb.RunningAction(lane=1, action_number=1, age_s=float("inf")),
            pb.RunningAction(lane=2, action_number=1, age_s=1e300),
            ended(3, 1.0, EndKind.FAILED),
            ended(3, 1.0, EndKind.FAILED),
            lanes=[pb.LaneCounters(lane=0, started=1, completed=5)],
        )
        for number, duration_s in enumerate((-1.0, float("nan"), float("inf"), 1e300, 0.0, 1e9), start=1):
            segment = kit.segment(lane=number, steps=1)
            segment.duration_s[:] = duration_s
            reply = await stream.insert(number, kit.body(segment))
            assert reply.outcome == (pb.InsertReply.ACCEPTED if duration_s in (0.0, 1e9) else pb.InsertReply.REFUSED)
        await stream.insert(7, kit.body(kit.segment(lane=9, steps=8)))
        await service.client.stub.EndWindow(pb.EndWindowRequest(client_id="actor-0"))

        odd = service.server.shard.starts.odd
        assert {kind: count for kind, count in odd.items() if count} == {
            "odd_age": 3,
            "two_ends": 1,
            "end_without_start": 1,
            "zero_duration": 1,
        }
        assert service.server.shard.counts.refused == 4
        samples = await service.client.samples()
        await samples.ask(batch_size=4)
        reply, columns = await samples.reply()
        assert reply.table.inclusion_rule == "window"
        assert np.isfinite(columns["info.duration_s"]).all()


async def test_an_info_call_tells_the_start_log_once(serve: Any, kit: SimpleNamespace) -> None:
    async with serve(kit.config(tables=WINDOW)) as service:
        stream = await service.client.inserts("actor-0")
        await stream.insert(1, kit.body(kit.segment(steps=5)))
        await service.client.stub.EndWindow(pb.EndWindowRequest(client_id="actor-0"))
        asked = pb.InfoRequest(start_log_of="replay")
        [first] = (await service.client.stub.Info(asked)).tables
        asked.start_log_known = first.facts.start_log_number
        [again] = (await service.client.stub.Info(asked)).tables
        [plain] = (await service.client.info()).tables

        assert b'"time"' in first.facts.start_log_json
        assert again.facts.start_log_json == plain.facts.start_log_json == b""
        assert again.facts.start_log_number == first.facts.start_log_number > 0
