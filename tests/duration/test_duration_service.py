"""The rules through the real service and clients: what is lost comes back by the weight, identically over shards and clocks."""

import numpy as np
import pytest

from replay.client import LaneCounts, RunningAction
from sojourn.experience import EndKind

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
            assert actor.drain(20.0)
            kit.heard(actor, [counted[lane] for lane in mine[shard]], aborted)
            actor.end_window("")


def drawn(service, **duration):
    """Actions and inclusion weights of everything that the service holds, by the order of draws."""
    learner = service.learner(**duration)
    actions, weights, keys = [], [], []
    while learner.facts().items >= 64 or not actions:
        batch = learner.sample(20.0)
        actions.append(batch.columns["action"])
        weights.append(batch.factors["duration"])
        keys.append(batch.info.duration_s)
        if len(actions) * 64 + 64 > learner.facts().inserted_items:
            break
    return np.concatenate(actions), np.concatenate(weights), np.concatenate(keys)


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
    plan = windows_of_lanes(5, 16, 3, 20.0)
    said = []
    for shards, offset_s in ((1, 0.0), (2, 0.0), (1, 3_600.0)):
        service = make_service(duration={"rule": "window", "cap": 1e6}, shards=shards)
        collect(kit, service, plan, 20.0, shard_of=lambda lane, shards=shards: lane % shards, offset_s=offset_s)
        said.append(weight_by_duration(service))

    common = said[0].keys() & said[1].keys() & said[2].keys()
    assert len(common) > 50
    raw = [np.array([one[key] for key in sorted(common)]) for one in said]
    for other in raw[1:]:
        assert other / other[0] == pytest.approx(raw[0] / raw[0][0], rel=1e-5)
