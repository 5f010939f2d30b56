"""The rules through the real service and clients: what is lost comes back by the weight, identically over shards and clocks."""

import numpy as np
import pytest

from replay.client import LaneCounts, Pace, RunningAction
from replay.heartbeat import Heartbeats
from replay.learner_meter import LOOKED_AT_EVERY
from replay.weighting import effective_shares
from sojourn.experience import EndKind
from sojourn.metrics import Metrics
from tests.waiting import DEADLINE_S, UNHURRIED_S, eventually

MEAN_S = (1.0, 10.0)


def windows_of_lanes(seed: int, lanes: int, windows: int, length_s: float) -> list[list[list[tuple[float, float, int]]]]:
    """Start after the window's begin, duration and action of everything that each lane starts in each cold window."""
    rng = np.random.default_rng(seed)
    plan = []
    for _ in range(windows):
        plan.append([])
        for _ in range(lanes):
            begin, runs = 0.0, []
            while begin < length_s:
                action = int(rng.random() < 0.5)
                duration = MEAN_S[action] * float(np.exp(0.25 * rng.standard_normal() - 0.03125))
                runs.append((begin, duration, action))
                begin += duration
            plan[-1].append(runs)
    return plan


def collect(kit, service, plan, length_s, *, shard_of=lambda lane: 0, offset_s=0.0, drift=0.0):
    """Play the plan: rows of what finished, aborts of what did not, and the windows' ends."""
    began_s = service.clock.now_s
    clock = lambda: offset_s + began_s + (service.clock.now_s - began_s) * (1.0 + drift)  # noqa: E731
    shards = sorted({shard_of(lane) for lane in range(len(plan[0]))})
    actors = {shard: service.actor(f"actor-{shard}", shard=shard, clock=clock) for shard in shards}
    mine = {shard: [lane for lane in range(len(plan[0])) if shard_of(lane) == shard] for shard in shards}
    counted = {lane: LaneCounts(lane, 0) for lane in range(len(plan[0]))}
    sequence = dict.fromkeys(counted, 0)
    for number, window in enumerate(plan):
        begin_s = began_s + number * length_s
        service.clock.now_s = begin_s + length_s
        for shard, actor in actors.items():
            aborted = []
            for lane in mine[shard]:
                done = [run for run in window[lane] if run[0] + run[1] <= length_s]
                for start, duration, action in done:
                    at_s = clock() - (length_s - start) * (1.0 + drift)
                    [segment] = kit.one_steps(lane, sequence[lane], at_s, duration * (1.0 + drift), action=action)
                    actor.insert(segment)
                    sequence[lane] += 2
                before = counted[lane]
                started, cut = before.started + len(window[lane]), len(window[lane]) - len(done)
                counted[lane] = LaneCounts(lane, started, before.completed + len(done), aborted=before.aborted + cut)
                if cut:
                    age_s = (length_s - window[lane][-1][0]) * (1.0 + drift)
                    aborted.append(RunningAction(lane, started, age_s, 0, "", age_s, EndKind.ABORTED, ticking=False))
            assert actor.drain(DEADLINE_S)
            kit.heard(actor, [counted[lane] for lane in mine[shard]], aborted)
            actor.end_window("")


def raw(factors: list[np.ndarray]) -> list[np.ndarray]:
    """Weights up to one common scale: each batch's factors were divided by the mean of the batches before it."""
    means, weights = [1.0], []
    for factor in factors:
        weights.append(factor * np.mean(means))
        means = [float(weight.mean()) for weight in weights]
    return weights


def drawn(service, **duration):
    """Actions, inclusion weights and durations of all whole batches that the shards hold."""
    facts = [server.shard.store.facts("replay", service.clock.now_s) for server in service.servers]
    learner = service.learner(**duration)
    batches = [learner.sample(DEADLINE_S) for _ in range(sum(shard.items // 64 for shard in facts))]
    actions = np.concatenate([batch.columns["action"] for batch in batches])
    weights = np.concatenate(raw([batch.factors["duration"] for batch in batches]))
    return actions, weights, np.concatenate([batch.info.duration_s for batch in batches])


def test_windows_are_weighted_back_to_the_policy(kit, make_service):
    service = make_service(duration={"rule": "window", "cap": 1e6})
    collect(kit, service, windows_of_lanes(3, 32, 12, 20.0), 20.0)

    actions, weights, _ = drawn(service)

    assert np.mean(actions) == pytest.approx(0.382, abs=0.03)
    assert np.average(actions, weights=weights) == pytest.approx(0.5, abs=0.06)
    assert np.average(actions, weights=weights) > np.mean(actions) + 0.08


def weight_by_duration(service) -> dict[float, float]:
    _, weights, durations = drawn(service)
    order = np.argsort(durations)
    scale = weights[order[0]]
    return dict(zip(durations[order].round(9).tolist(), (weights[order] / scale).tolist(), strict=True))


def test_two_shards_give_the_weights_of_one_and_clocks_an_hour_off_change_nothing(kit, make_service):
    plan = windows_of_lanes(5, 16, 5, 20.0)
    said = []
    for shards, offset_s in ((1, 0.0), (2, 0.0), (1, 3_600.0)):
        service = make_service(duration={"rule": "window", "cap": 1e6}, shards=shards)
        collect(kit, service, plan, 20.0, shard_of=lambda lane, shards=shards: lane % shards, offset_s=offset_s)
        said.append(weight_by_duration(service))

    common = said[0].keys() & said[1].keys() & said[2].keys()
    assert len(common) > 50
    first, *others = (np.array([one[key] for key in sorted(common)]) for one in said)
    for other in others:
        assert other / other[0] == pytest.approx(first / first[0], rel=1e-5)


def test_a_gate_admits_starts_by_count_and_reopens_with_each_update(kit, make_service):
    service = make_service(consume=True, max_staleness=0, capacity_steps=4_096)
    actor = service.actor()
    assert Heartbeats("actor-0", gated=True).pace() == Pace(gated=True)  # nothing starts before it is granted
    actor.report([LaneCounts(lane, 0) for lane in range(4)], [])
    assert eventually(lambda: actor.pace().start_credits) == 64

    for segment in kit.one_steps(0, 0, np.full(64, service.clock.now_s), 1.0):
        actor.insert(segment)
    service.clock.now_s += 1.0
    assert actor.drain(DEADLINE_S)
    pace = kit.heard(actor, [LaneCounts(0, 64, 64)], [])
    assert (pace.gated, pace.start_credits) == (True, 0)

    learner = service.learner()
    learner.consumed(learner.sample(DEADLINE_S))
    learner.report(1, policy_version=1)
    assert eventually(lambda: actor.pace().start_credits) == 64


def test_a_new_version_is_heard_at_once_and_what_is_too_stale_is_dropped(kit, make_service, monkeypatch):
    monkeypatch.setattr("replay.sample_stream.IDLE_S", UNHURRIED_S)  # no request goes out by itself
    service = make_service(max_staleness=1, on_stale="drop")
    actor, learner = service.actor(), service.learner()
    [first] = kit.one_steps(0, 0, service.clock.now_s, 1.0, versions=0)
    actor.insert(first)
    assert actor.drain(DEADLINE_S)
    learner.report(2, policy_version=2)
    eventually(lambda: service.servers[0].shard.store.versions.newest == 2)
    for lane, version in ((1, 0), (2, 1)):
        actor.insert(kit.one_steps(lane, 0, service.clock.now_s, 1.0, versions=version)[0])
    assert actor.drain(DEADLINE_S)

    facts = service.servers[0].shard.store.facts("replay", service.clock.now_s)
    assert (facts.items, facts.late_items) == (2, 1)


def test_a_start_age_ring_is_weighted_back_exactly(kit, make_service):
    """Two lanes for a second's actions and twenty for the slow ones give both alike: 59 and 40 of 60 remain of each."""
    service = make_service(sampler="uniform", remover="start_age", horizon_s=60.0, duration={"cap": 1e6})
    actor, begin_s = service.actor(), service.clock.now_s
    sequence = dict.fromkeys(range(21), 0)
    for second in range(1, 101):
        service.clock.now_s = begin_s + second
        for lane in [0, *([1 + second % 20] if second > 20 else [])]:
            duration_s = 1.0 if lane == 0 else 20.0
            [segment] = kit.one_steps(lane, sequence[lane], service.clock.now_s - duration_s, duration_s, action=int(lane > 0))
            actor.insert(segment)
            sequence[lane] += 2
        assert actor.drain(DEADLINE_S)
    learner = service.learner()
    found = {}
    for _ in range(40):
        batch = learner.sample(DEADLINE_S)
        found |= {
            key: (slow, weight)
            for key, slow, weight in zip(batch.info.key, batch.columns["action"], batch.factors["duration"], strict=True)
        }
    slow = np.array([slow for slow, _ in found.values()])
    weights = np.array([weight for _, weight in found.values()])

    assert (np.count_nonzero(slow == 0), np.count_nonzero(slow == 1)) == (59, 40)
    ratio = weights[slow == 1].mean() / weights[slow == 0].mean()
    assert ratio == pytest.approx(59 / 40, rel=0.02)  # of running means that move by less than that


def test_pools_of_other_clocks_weigh_by_their_actor_seconds(kit, make_service):
    service = make_service(duration={"weight": "pool", "cap": 1e6})
    begin_s = service.clock.now_s
    service.clock.now_s += 400.0
    for pool, duration_s in (("quick", 1.0), ("slow", 10.0)):
        actor = service.actor(f"actor-{pool}", pool=pool)
        for lane in range(2):
            starts = begin_s + np.arange(0.0, 400.0, duration_s)
            for segment in kit.one_steps(lane, 0, starts, duration_s, action=int(pool == "slow")):
                actor.insert(segment)
        assert actor.drain(DEADLINE_S)
    learner = service.learner()
    batches = [learner.sample(DEADLINE_S) for _ in range(880 // 64)]
    slow = np.concatenate([batch.columns["action"] for batch in batches])
    weights = np.concatenate([batch.factors["pool"] for batch in batches])

    assert weights[slow == 1].mean() / weights[slow == 0].mean() == pytest.approx(10.0, rel=0.05)


def test_drifting_clocks_move_weights_no_further_than_their_drift(kit, make_service):
    plan = windows_of_lanes(9, 16, 3, 20.0)
    shares = []
    for drift in (0.0, 0.01):
        service = make_service(duration={"rule": "window", "cap": 1e6})
        collect(kit, service, plan, 20.0, drift=drift)
        actions, weights, _ = drawn(service)
        assert np.isfinite(weights).all()
        shares.append(np.average(actions, weights=weights))
    assert shares[1] == pytest.approx(shares[0], abs=0.01)


def test_a_clock_that_steps_back_harms_nothing(kit, make_service):
    """An actor's clock goes back by an hour while an action runs, and by two before a heartbeat; later actions are as they were."""
    learner = {"batch_size": 4, "prefetch": 4, "batches_per_message": 1}
    service = make_service(duration={"rule": "window"}, sections={"learners": learner})
    log, begin_s = service.servers[0].shard.starts, service.clock.now_s
    behind_s = {"s": 0.0}
    actor = service.actor(clock=lambda: service.clock.now_s - behind_s["s"])
    for number, behind in enumerate((0.0, 3_600.0, 7_200.0, 7_200.0)):
        [segment] = kit.one_steps(0, 2 * number, actor_now_s := service.clock.now_s - behind_s["s"], 1.0)
        service.clock.now_s += 1.0
        behind_s["s"] = behind
        actor.insert(segment)
        assert actor.drain(DEADLINE_S)
        age_s = service.clock.now_s - behind - actor_now_s
        actor.report([LaneCounts(0, number + 2, number + 1)], [RunningAction(0, number + 2, age_s, 0, ticking=False)])
        assert actor.heard(DEADLINE_S)
    actor.end_window("")

    starts = log.strata[0].starts()
    assert len(starts.start_s) == 4
    assert np.isfinite(starts.start_s).all()
    assert (starts.start_s - begin_s).tolist() == pytest.approx([0.0, 1.0, 2.0, 3.0])
    assert log.odd["clock_back"] == 2
    weight = service.learner().sample(DEADLINE_S).loss_weight
    assert np.isfinite(weight).all()


def test_an_action_that_never_ends_is_counted_once_its_life_is_over(kit, make_service):
    service = make_service(duration={"rule": "censoring"})
    log = service.servers[0].shard.starts
    actor = service.actor()
    service.clock.now_s += 10.0
    kit.heard(actor, [LaneCounts(0, 1)], [RunningAction(0, 1, 4.0, 0, ticking=False)])
    actor.abandon()
    assert log.odd["never_ended"] == 0
    actor = service.actor()  # its next life
    for segment in kit.one_steps(0, 0, np.full(64, service.clock.now_s), 1.0):
        actor.insert(segment)
    service.clock.now_s += 5.0
    assert actor.drain(DEADLINE_S)

    assert log.odd["never_ended"] == 1
    assert log.running(0) == []
    assert sorted(log.strata[0].starts().duration_s.tolist())[-1] == pytest.approx(4.0)
    assert EndKind.CRASHED in log.strata[0].starts().kind
    assert np.isfinite(service.learner().sample(DEADLINE_S).loss_weight).all()


def test_a_result_that_waits_to_be_sent_is_weighed_by_how_long_its_action_ran(kit, make_service):
    """A slot that crashes spares what its actor holds already: 32 of 64 slow actions are cut after 5 s, and no quick one can be."""
    service = make_service(duration={"rule": "censoring", "cap": 1e6})
    actor, began_s = service.actor(), service.clock.now_s
    service.clock.now_s += 5.0
    cut = [RunningAction(lane, 1, 5.0, 0, "", 5.0, EndKind.CRASHED, ticking=False) for lane in range(64, 96)]
    kit.heard(actor, [LaneCounts(action.lane, 1, crashed=1) for action in cut], cut)
    service.clock.now_s += 25.0
    for lane in range(64):
        [segment] = kit.one_steps(lane, 0, began_s, 10.0 if lane % 2 else 1.0, action=lane % 2)
        actor.insert(segment)
    assert actor.drain(DEADLINE_S)

    actions, weights, _ = drawn(service)

    assert np.mean(actions) == 0.5
    quick = weights[actions == 0]
    assert quick == pytest.approx(quick[0])
    assert weights[actions == 1] == pytest.approx(2.0 * quick[0])


def test_what_weights_do_is_exported(kit, make_service):
    """Effective share of the product, exponent of the floor, weights cut at the cap, and the estimate's standard error."""
    learner = {"batch_size": 64, "prefetch": 16, "batches_per_message": 8, "ess_floor": 0.99}
    service = make_service(duration={"rule": "window", "cap": 1.05}, sections={"learners": learner})
    collect(kit, service, windows_of_lanes(3, 64, 12, 12.0), 12.0)
    metrics = Metrics("learner")
    connection = service.learner(metrics=metrics)
    capped, errors = 0, []
    for _ in range(2 * LOOKED_AT_EVERY):
        batch = connection.sample(DEADLINE_S)
        capped += int((batch.loss_weight >= np.float32(1.05)).sum())
        errors.append(batch.factor_errors["duration"].mean())

    def said(name: str) -> float:
        return metrics.registry.get_sample_value(f"sojourn_learner_weight{name}")

    assert said("_ess_share") == pytest.approx(effective_shares(batch.loss_weight[None])[0])
    assert 0.0 < said("_exponent") < 1.0
    assert said("s_capped_total") == capped > 0
    assert said("s_repaired_total") == 0
    assert any(said("_error") == pytest.approx(error) for error in errors)
    assert 0.0 < said("_error") < 0.2
