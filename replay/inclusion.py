"""What was the chance that a started action is drawn from this table? One over it, exactly, for the rule in force.

Pure NumPy: no I/O, no clock, no randomness. B items. Formulas and their conditions: docs/duration.md. A weight that cannot be known
(nothing left of a horizon, a stratum not heard of yet) is NaN; the normaliser counts it and puts the average in its place.
"""

from functools import lru_cache

import numpy as np

from replay.facts import TableFacts
from replay.horizons import share_left
from replay.start_summary import Summaries, curves, pool_weights, start_rates, strata_of
from sojourn.errors import ConfigError
from sojourn.experience import SampleInfo

LEAST_KEPT = 1e-3  # of the staleness rule: rarer items say nothing of the others that were dropped
CUT_BY = {"window": "duration_s", "episode_window": "episode_elapsed_s", "censoring": "duration_s"}
"""What had to fit: the action into its window, its episode until then into the window, the action before a crash."""


def inclusion_weights(info: SampleInfo, facts: TableFacts) -> np.ndarray:
    """One over the chance of inclusion, float[B] >= 0 up to a factor: exactly 1 where the table loses nothing.

    Raises ConfigError for a rule that this client does not know.
    """
    rule, horizon = facts.inclusion_rule, facts.window_s
    if rule == "one":
        return ones(len(info.key))
    if rule == "start_age":
        return share_left(info.rule["start_age_s"], horizon)
    if rule == "version_age":
        return share_left(info.rule["lag"].astype(np.float64), horizon + 1.0)
    if rule == "staleness":
        return 1.0 / kept_share(info.rule["start_age_s"], horizon, period_of(facts.start_log))
    if rule == "start_rate":
        return 1.0 / _start_rate(info, facts.start_log)
    if rule in CUT_BY:
        return with_errors(info, facts)[0]
    raise ConfigError(
        f"table {facts.name!r} loses actions by the rule {rule!r}, for which there is no inclusion weight; "
        "set its duration.weight to none or linear"
    )


def with_errors(info: SampleInfo, facts: TableFacts) -> tuple[np.ndarray, np.ndarray]:
    """Weights by a survival curve, and their relative standard errors, float64[B] each; NaN in strata without a curve."""
    name = CUT_BY[facts.inclusion_rule]
    x = info.rule[name] if name in info.rule else getattr(info, name)
    known = curves(facts.start_log, facts.inclusion_rule)
    if len(known) == 1 and known[0] is not None:
        weights, errors = known[0].inverse_at(x)
        if not np.maximum.reduce(info.rule["stratum"]):  # nearly always: one pool on one shard
            return weights, errors
        return np.where(info.rule["stratum"] != 0, np.nan, weights), errors
    stratum = strata_of(facts.start_log, info.shard, info.rule["stratum"])
    weights, errors = np.full(len(x), np.nan), np.full(len(x), np.nan)
    for number in np.unique(stratum):
        curve = known[number] if number >= 0 else None
        if curve is not None:
            mine = stratum == number
            weights[mine], errors[mine] = curve.inverse_at(x[mine])
    return weights, errors


def kept_share(age_s: np.ndarray, most_lag: float, period_s: float) -> np.ndarray:
    """Chance that an action is not dropped for staleness: clip(eta + 1 - t / tau, 0, 1). float64[B], NaN where it is (nearly) 0.

    age_s: of the item's first start when it came, since that step's version decides.  most_lag: eta, versions.
    period_s: tau, 0 while no second version was seen, when nothing was dropped.
    Starts are uniform in the period of a version. What takes longer than (eta + 1) tau is never kept and cannot be weighted back.
    """
    if period_s <= 0.0:
        return np.ones(len(age_s))
    share = np.clip(most_lag + 1.0 - age_s / period_s, 0.0, 1.0)
    return np.where(share >= LEAST_KEPT, share, np.nan)


def period_of(summaries: Summaries) -> float:
    """Mean over the shards that know one."""
    known = [summary.period_s for summary in summaries if summary.period_s > 0.0]
    return sum(known) / len(known) if known else 0.0


def pool_factor(info: SampleInfo, facts: TableFacts) -> np.ndarray:
    """p_s c_s / K_s of each item's pool, float64[B]; see `pool_weights`."""
    stratum = strata_of(facts.start_log, info.shard, info.rule["stratum"])
    weights = pool_weights(facts.start_log)
    if np.minimum.reduce(stratum) >= 0:
        all_known: np.ndarray = weights[stratum]
        return all_known
    if np.maximum.reduce(stratum) < 0:
        return np.full(len(stratum), np.nan)
    return np.where(stratum >= 0, weights[stratum], np.nan)


def _start_rate(info: SampleInfo, summaries: Summaries) -> np.ndarray:
    """Start rate of the item's stratum when it began, over its mean, float64[B], NaN where it is not known."""
    started_s, rates = info.rule["start_s"], start_rates(summaries)
    if len(rates) == len(summaries) == 1 and not np.maximum.reduce(info.rule["stratum"]):  # nearly always: one pool on one shard
        return rates[0].at(started_s, summaries[0].clock_s)
    stratum = strata_of(summaries, info.shard, info.rule["stratum"])
    clock_s, found = np.array([summary.clock_s for summary in summaries] or [0.0]), np.full(len(stratum), np.nan)
    clock_s = clock_s[np.minimum(info.shard, len(clock_s) - 1)]
    for number in np.unique(stratum[stratum >= 0]):
        mine = stratum == number
        found[mine] = rates[number].at(started_s[mine], clock_s[mine])
    return found


@lru_cache(maxsize=16)
def ones(size: int) -> np.ndarray:
    """float32[size], shared: the common factor costs nothing and is exactly 1."""
    array = np.ones(size, np.float32)
    array.setflags(write=False)
    return array
