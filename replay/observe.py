"""What the shard shows on its Prometheus endpoint that is not counted where it happens: sizes, ages and rates of the state itself.

No I/O. The endpoint's thread never touches the shard; this copies once a second what it shows.
"""

import asyncio
import math
from collections import Counter

import numpy as np

from replay.shard import Shard
from sojourn.durations import BUCKETS, LABELS
from sojourn.metrics import END_KINDS, ODD_KINDS

EVERY_S = 1.0
FEWEST_WINDOWS = 8  # of which a dispersion says something
CLIENT_ROLES = ("actor", "learner", "evaluator", "operator")


async def keep_observing(shard: Shard) -> None:
    """For ever."""
    while True:
        observe(shard)
        await asyncio.sleep(EVERY_S)


def observe(shard: Shard) -> None:
    """Set every gauge."""
    now_s = shard.clock.now_s()
    gauges = {
        "sojourn_replay_learner_step": shard.counts.learner_step,
        "sojourn_replay_durable_bytes": shard.holdings.bytes,
        "sojourn_replay_durable_up": float(not shard.tier_blocks()),
        "sojourn_replay_durable_restarts": shard.tier.restarts if shard.tier else 0,
        "sojourn_replay_reappended_chunks": shard.tier.reappended if shard.tier else 0,
        "sojourn_replay_corrupted_chunks": len(shard.corrupted),
        "sojourn_replay_recovering": float(bool(shard.recovering)),
        "sojourn_replay_actions_started": shard.clients.totals.started,
        "sojourn_replay_logged_starts": sum(map(len, shard.starts.strata)),
        "sojourn_replay_running_actions": shard.clients.running_actions(),
        "sojourn_replay_oldest_action_seconds": shard.clients.oldest_running_s(now_s),
        "sojourn_replay_windows": sum(map(shard.starts.windows, shard.starts.pools)),
        "sojourn_replay_window_dispersion": window_dispersion(shard),
    }
    for name, value in gauges.items():
        shard.metrics.gauge(name).set(value)
    for kind, ended in zip(END_KINDS, shard.clients.totals.ended, strict=True):
        shard.metrics.gauge("sojourn_replay_actions_ended").labels(kind).set(ended)
    for kind in ODD_KINDS:
        shard.metrics.gauge("sojourn_replay_odd_actions").labels(kind).set(shard.starts.odd[kind])
    roles = Counter(record.identity.role for record in shard.clients)
    for role in CLIENT_ROLES:
        shard.metrics.gauge("sojourn_replay_clients").labels(role).set(roles[role])
    if shard.store is not None:
        _observe_store(shard, now_s)
        _observe_durations(shard, now_s)


def window_dispersion(shard: Shard) -> float:
    """Variance over mean of the actions that end in a window, the least over pools: near 0 where a count closes it. NaN: too few."""
    counts = [found for pool in shard.starts.pools if len(found := shard.starts.window_counts(pool)) >= FEWEST_WINDOWS]
    return min((float(found.var() / found.mean()) for found in counts if found.any()), default=math.nan)


def _observe_durations(shard: Shard, now_s: float) -> None:
    """What the draws of the learners' table are to be compared with."""
    store, expectation = shard.store, shard.expectation
    assert store is not None
    facts = store.facts(shard.config.learners.table, now_s)
    running_s = np.array([action.age_s for record in shard.clients for action in record.running], np.float64)
    expectation.look(shard.starts.tally, running_s, facts, store.versions.newest, now_s)
    durations = shard.metrics.gauge("sojourn_replay_expected_actions")
    for bucket, expected in zip(BUCKETS, expectation.durations, strict=True):
        durations.labels(bucket).set(expected)
    labels = shard.metrics.gauge("sojourn_replay_expected_labels")
    for kind, counts in expectation.labels.items():
        for label, expected in zip(LABELS, counts, strict=True):
            labels.labels(kind, label).set(expected)


def _observe_classes(shard: Shard) -> None:
    """What became of items, by class of actors."""
    gauge = shard.metrics.gauge("sojourn_replay_class_items")
    for stratum in shard.starts.strata:
        for table, fate in stratum.fates.items():
            for name, count in fate._asdict().items():
                gauge.labels(table, stratum.pool, stratum.speed_class, name).set(count)


def _observe_store(shard: Shard, now_s: float) -> None:
    store = shard.store
    assert store is not None
    shard.note_fates()
    _observe_classes(shard)
    gauges = {
        "sojourn_replay_env_steps": store.env_steps,
        "sojourn_replay_episodes": store.episodes,
        "sojourn_replay_lane_gaps": store.gaps,
        "sojourn_replay_slab_rows": store.slab_rows,
        "sojourn_replay_slab_bytes": store.slab_bytes,
    }
    for name, value in gauges.items():
        shard.metrics.gauge(name).set(value)
    for table in shard.config.tables:
        facts = store.facts(table, now_s)
        shown = {
            "sojourn_replay_items": facts.items,
            "sojourn_replay_capacity_items": facts.capacity_items,
            "sojourn_replay_late_updates": facts.late_updates,
            "sojourn_replay_evicted_items": facts.evicted_items,
            "sojourn_replay_expired_items": facts.expired_items,
            "sojourn_replay_late_items": facts.late_items,
            "sojourn_replay_leased_items": facts.leased_items,
            "sojourn_replay_redelivered_items": facts.redelivered_items,
            "sojourn_replay_limiter_surplus": facts.limiter_surplus,
            "sojourn_replay_item_age_seconds": facts.mean_age_s,
            "sojourn_replay_oldest_item_seconds": facts.oldest_s,
            "sojourn_replay_item_duration_seconds": facts.mean_duration_s,
        }
        for name, shown_value in shown.items():
            shard.metrics.gauge(name).labels(table).set(shown_value)
