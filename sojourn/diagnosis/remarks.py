"""What else is worth a sentence: what no weight brings back, cut weights, kills, lags, pools? Pure."""

from collections.abc import Iterator

import numpy as np

from sojourn.config import Config
from sojourn.diagnosis.classes import class_fates, unequal
from sojourn.diagnosis.evidence import Evidence, as_array
from sojourn.durations import BUCKETS
from sojourn.monitor import DurationRecord

MANY = 0.01  # share of starts or weights that is worth a sentence
FEW = 20  # actions of a bucket below which a mean says nothing
DISCOUNTED = 0.9  # clipped ratio of one bucket over another's


def remarks_on(config: Config, record: DurationRecord, evidence: Evidence) -> tuple[str, ...]:
    """Sentences, most important first."""
    return (
        *_rewards(record, evidence),
        *_never_seen(evidence),
        *_weights(config, evidence),
        *_short_of_its_horizon(config, record),
        *_lost_by_class(record),
        *_discounted(record),
        *_ends(config, evidence),
        *_objective(config),
    )


def _rewards(record: DurationRecord, evidence: Evidence) -> Iterator[str]:
    """What the gap is worth: the mean reward under either law, with each bucket's own mean."""
    shares, counts = evidence.durations, as_array(record.buckets.get("measured", {}), BUCKETS)
    if shares is None or not (shares.before.matters or shares.after.matters):
        return
    means = as_array(record.buckets.get("reward", {}), BUCKETS) / np.maximum(counts, 1.0)
    seen = counts > 0
    started, learned, weighted = (
        float(law[seen] @ means[seen] / law[seen].sum()) for law in (shares.expected, shares.collected, shares.weighted)
    )
    yield f"the mean reward of an action looks like {learned:.3g} unweighted and {weighted:.3g} weighted; over what was started it is {started:.3g}"


def _never_seen(evidence: Evidence) -> Iterator[str]:
    shares = evidence.durations
    if shares is None:
        return
    never = float(shares.expected[shares.collected == 0.0].sum())
    if never >= MANY and shares.before.beyond_chance:
        yield f"{never:.1%} of the starts have durations of which none was ever learned from: no weight brings them back"


def _weights(config: Config, evidence: Evidence) -> Iterator[str]:
    key = f"tables.{config.learners.table}.duration"
    if evidence.capped >= MANY:
        yield f"{evidence.capped:.1%} of the weights are cut at {key}.cap, which leaves a part of the bias"
    if evidence.repaired >= MANY:
        yield f"{evidence.repaired:.1%} of the weights could not be known (nothing was left of a horizon) and count as average ones"
    if config.learners.ess_floor > 0.0 and 0.0 < evidence.exponent < 1.0:
        yield f"learners.ess_floor raises weights to the power {evidence.exponent:.2f}: shares lie between unweighted and weighted ones"


def _short_of_its_horizon(config: Config, record: DurationRecord) -> Iterator[str]:
    """A horizon is exact only where the table has room for all that it holds."""
    name = config.learners.table
    early, expired = (record.facts.get(key, 0.0) for key in ("evicted_items", "expired_items"))
    if config.tables[name].remover in ("start_age", "version_age") and early > MANY * (early + expired):
        yield (
            f"{early / (early + expired):.1%} of the items that left had to make room before their horizon, which the weight takes for "
            f"whole: raise tables.{name}.capacity_steps and capacity_bytes, or lower the horizon"
        )


def _lost_by_class(record: DurationRecord) -> Iterator[str]:
    pair = unequal(class_fates(record))
    if pair is not None:
        most, least = pair
        yield (
            f"items of actors {most.name} were lost before they were ever drawn more often than those of {least.name}: {most.undrawn:.1%} "
            f"against {least.undrawn:.1%} (evicted, expired or too late)"
        )


def _discounted(record: DurationRecord) -> Iterator[str]:
    """V-trace and PPO count what the policy has left behind for less, once more for slow actions (docs/duration.md)."""
    counts = as_array(record.buckets.get("measured", {}), BUCKETS)
    ratios = as_array(record.buckets.get("clipped_ratio", {}), BUCKETS)
    lags = as_array(record.buckets.get("lag_versions", {}), BUCKETS)
    known = np.flatnonzero(counts >= FEW)
    if len(known) < 2 or not ratios.any():
        return
    quick, slow = known[0], known[-1]
    ratio, lag = ratios[known] / counts[known], lags[known] / counts[known]
    if ratio[-1] < DISCOUNTED * ratio[0]:
        yield (
            f"slow actions are discounted by the policy ratio besides: min(1, ratio) is {ratio[0]:.2f} to {BUCKETS[quick]} s and {ratio[-1]:.2f} to "
            f"{BUCKETS[slow]} s, {lag[0]:.1f} and {lag[-1]:.1f} versions behind; a gate (max_staleness) or slower learning lessens that"
        )


def _ends(config: Config, evidence: Evidence) -> Iterator[str]:
    settings = config.environment
    if evidence.killed > 0.0:
        yield (
            f"{evidence.killed:.1%} of the starts were killed at environment.step_timeout_s={settings.step_timeout_s:g} and delivered with "
            f"killed_reward={settings.killed_reward:g}: part of the task, no bias"
        )


def _objective(config: Config) -> Iterator[str]:
    table = config.tables[config.learners.table]
    pools = {fleet.pool for fleet in (config.actors, *config.actors.fleets.values()) if fleet.replicas}
    if len(pools) > 1 and table.duration.weight != "pool":
        yield (
            f"actors work in {len(pools)} pools: their shares follow how fast each is, which starts cannot show; "
            f"tables.{config.learners.table}.duration.weight=pool gives them duration.pool_shares"
        )
    if table.duration.weight == "linear" and table.duration.apply == "weight" and table.duration.applies_to in (None, "policy"):
        yield "the weight `linear` multiplies the policy's loss alone; values are learned from the unweighted shares"
    if config.algorithm.name in ("sac", "dqn"):
        yield f"{config.algorithm.name} chooses anew in every state that it learns from: of these gaps it feels the one of the states"
