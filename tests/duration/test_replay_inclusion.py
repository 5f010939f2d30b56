"""Weights by inclusion against literal values, rule by rule, and against what the client cannot know."""

import json

import numpy as np
import pytest

from replay.facts import TableFacts, merge_facts
from replay.horizons import share_left
from replay.inclusion import inclusion_weights, kept_share, period_of, pool_factor, with_errors
from replay.start_summary import StartSummary, start_rates
from replay.weighting import Weigher
from sojourn.config.schema import TableSettings
from sojourn.errors import ConfigError
from sojourn.experience import SampleInfo


def info(duration_s, *, probability=None, shard=0, delay_s=None, **rule) -> SampleInfo:
    size = len(duration_s)
    return SampleInfo(
        key=np.arange(size, dtype=np.uint64),
        probability=np.full(size, 1 / size) if probability is None else np.array(probability),
        table_items=float(size),
        times_sampled=np.ones(size, np.uint32),
        policy_version=np.zeros(size, np.int64),
        delay_s=np.array(duration_s if delay_s is None else delay_s, np.float64),
        age_s=np.zeros(size),
        duration_s=np.array(duration_s, np.float64),
        task=np.zeros(size, np.int64),
        shard=np.broadcast_to(np.uint32(shard), size).copy() if np.isscalar(shard) else np.array(shard, np.uint32),
        draw_id=np.zeros(size, np.uint64),
        redelivered=np.zeros(size, bool),
        rule={name: np.array(values) for name, values in {"stratum": np.zeros(size, np.int64), **rule}.items()},
    )


def stratum(pool: str = "", speed_class: str = "", **said) -> dict:
    return {"pool": pool, "speed_class": speed_class, **said}


def windows(*remaining_s: float) -> dict:
    time, count = np.unique(remaining_s, return_counts=True)
    return {"time": time.tolist(), "events": count.tolist(), "leaving": count.tolist(), "clusters": len(remaining_s)}


def facts(rule: str, *strata_of_shards: list[dict], horizon: float = 0.0, **said) -> TableFacts:
    shards = tuple(StartSummary.of(json.loads(json.dumps({"strata": strata, **said})), 0.0) for strata in strata_of_shards)
    return TableFacts(name="replay", inclusion_rule=rule, window_s=horizon, start_log=shards)


def test_nothing_lost_weighs_exactly_one():
    assert (inclusion_weights(info([1.0, 20.0]), facts("one")) == np.float32(1.0)).all()


def test_start_age_weighs_by_the_share_of_the_horizon_that_was_left():
    weights = inclusion_weights(info([1.0, 20.0], start_age_s=[1.0, 20.0]), facts("start_age", horizon=60.0))
    assert weights == pytest.approx([60 / 59, 60 / 40])
    assert 59 * weights[0] == pytest.approx(40 * weights[1])  # raw shares 59 and 40 become equal


def test_where_nothing_of_a_horizon_was_left_there_is_no_share():
    assert share_left(np.array([30.0, 59.5, 60.0, 61.0]), 60.0) == pytest.approx([2.0, 120.0, np.nan, np.nan], nan_ok=True)
    assert np.isnan(share_left(np.array([60.0]), 60.0))


def test_version_age_counts_the_version_that_it_came_in():
    weights = inclusion_weights(info([1.0, 1.0, 1.0], lag=[0, 2, 3]), facts("version_age", horizon=3.0))
    assert weights == pytest.approx([1.0, 2.0, 4.0])


def test_staleness_weighs_by_the_chance_that_so_few_updates_passed():
    assert kept_share(np.array([2.0, 10.0, 45.0, 50.0, 60.0]), 4.0, 10.0) == pytest.approx(
        [1, 1, 0.5, np.nan, np.nan], nan_ok=True
    )
    weights = inclusion_weights(info([1.0], start_age_s=[45.0]), facts("staleness", [], horizon=4.0, period_s=10.0))
    assert weights == pytest.approx([2.0])


def test_a_period_is_that_of_the_shards_that_know_one_however_short():
    shards = (StartSummary(period_s=0.5), StartSummary(), StartSummary(period_s=1.5))
    assert period_of(shards) == 1.0
    assert period_of(shards[:2]) == 0.5
    assert period_of(shards[1:2]) == 0.0
    assert kept_share(np.array([2.0, 2.25]), 4.0, 0.5) == pytest.approx([1.0, 0.5])


def test_before_a_second_version_nothing_is_stale():
    assert inclusion_weights(info([1.0], start_age_s=[45.0]), facts("staleness", [], horizon=4.0)) == pytest.approx([1.0])


def test_windows_weigh_by_the_share_of_starts_that_had_so_much_left():
    weights = inclusion_weights(info([1.0, 3.0, 4.0]), facts("window", [stratum(**windows(1.0, 2.0, 3.0, 4.0))]))
    assert weights == pytest.approx([1.0, 2.0, 4.0])


def test_episode_windows_weigh_by_the_time_since_the_episodes_start():
    said = facts("episode_window", [stratum(**windows(1.0, 2.0, 3.0, 4.0))])
    weights = inclusion_weights(info([1.0, 1.0], episode_elapsed_s=[2.0, 4.0]), said)
    assert weights == pytest.approx([4 / 3, 4.0])


def test_what_the_door_has_not_seen_has_no_weight():
    curve = stratum(**windows(1.0, 2.0, 3.0, 4.0))
    of_unknown_stratum = inclusion_weights(info([1.0, 3.0, 3.0], stratum=[0, 0, 1]), facts("window", [curve]))
    assert of_unknown_stratum == pytest.approx([1.0, 2.0, np.nan], nan_ok=True)

    unseen = {"episode_elapsed_s": [2.0, np.nan, 4.0]}
    assert inclusion_weights(info([1.0] * 3, **unseen), facts("episode_window", [curve])) == pytest.approx(
        [4 / 3, np.nan, 4.0], nan_ok=True
    )
    other = stratum("other", **windows(2.0, 3.0))
    weights, errors = with_errors(info([1.0] * 3, stratum=[1, 1, 0], **unseen), facts("episode_window", [curve, other]))
    assert weights == pytest.approx([1.0, np.nan, 4.0], nan_ok=True)
    assert errors == pytest.approx([0.0, np.nan, 3**0.5 / 2], nan_ok=True)
    assert np.isnan(with_errors(info([1.0], stratum=[7]), facts("window", [curve, other]))[1])


def test_a_rule_without_a_weight_is_refused_with_what_to_set():
    with pytest.raises(
        ConfigError, match=r"'whim', for which there is no inclusion weight; set its duration.weight to none or linear$"
    ):
        inclusion_weights(info([1.0]), facts("whim"))


def test_crashes_weigh_by_the_survival_of_the_crash_time():
    """At risk 4, crashes at 2 (of 4) and 5 (of 2): survival 1 until 2, 3/4 until 5, then 3/8."""
    table = {"time": [2.0, 3.0, 5.0, 6.0], "events": [1, 0, 1, 0], "leaving": [1, 1, 1, 1]}
    weights = inclusion_weights(info([1.0, 3.0, 6.0]), facts("censoring", [stratum(**table)]))
    assert weights == pytest.approx([1.0, 4 / 3, 8 / 3])


def test_each_stratum_has_its_own_curve_and_shards_name_theirs_in_their_own_order():
    fast, slow = windows(1.0, 2.0), windows(4.0, 8.0)
    first = [stratum(speed_class="slow", **slow), stratum(speed_class="fast", **fast)]
    second = [stratum(speed_class="fast", **fast)]
    weights = inclusion_weights(info([2.0, 8.0, 2.0], shard=[1, 0, 0], stratum=[0, 0, 1]), facts("window", first, second))
    assert weights == pytest.approx([2.0, 2.0, 2.0])


def test_two_shards_weigh_exactly_as_one():
    rng = np.random.default_rng(0)
    remaining = rng.exponential(10.0, 500).round(2)
    one = facts("window", [stratum(**windows(*remaining))])
    two = facts("window", [stratum(**windows(*remaining[:100]))], [stratum(**windows(*remaining[100:]))])
    durations = remaining[:50].tolist()

    assert (inclusion_weights(info(durations), one) == inclusion_weights(info(durations, shard=1), two)).all()


def test_what_was_seen_never_weighs_infinitely():
    said = facts("window", [stratum(**windows(1.0, 2.0))])
    assert inclusion_weights(info([2.0 + 1e-9, 50.0]), said) == pytest.approx([2.0, 2.0])  # a clock that drifts


def test_unknown_strata_and_exhausted_horizons_count_as_average():
    for rule, told, given in (
        ("window", [[]], {}),
        ("window", [[stratum(time=[], events=[], leaving=[], clusters=0)]], {"stratum": [0, 7]}),
        ("start_age", [], {"start_age_s": [60.0, 61.0]}),
        ("censoring", [], {"stratum": [-1, 300]}),
        ("start_rate", [[]], {"start_s": [0.0, 1.0]}),
    ):
        weigher = Weigher(TableSettings(sampler="uniform"), 100)
        weighted = weigher.weigh({}, info([1.0, 2.0], **given), facts(rule, *told, horizon=60.0))
        assert weighted.factors["duration"].tolist() == [1.0, 1.0], rule
        assert weighted.repaired == 2


def test_absurd_durations_stay_finite_whatever_the_rule():
    absurd = [0.0, 1e-300, 1e9, np.nan, np.inf, -1.0]
    given = {"start_age_s": absurd, "lag": [0, 1, 2, 3, 4, 2**31 - 1], "episode_elapsed_s": absurd, "start_s": absurd}
    curve = windows(1.0, 2.0) | {"count": [1, 2]}
    for rule in ("one", "start_age", "version_age", "staleness", "window", "episode_window", "censoring", "start_rate"):
        weigher = Weigher(TableSettings(sampler="uniform"), 100)
        said = facts(rule, [stratum(**curve)], horizon=3.0, period_s=1.0)
        for _ in range(3):
            weighted = weigher.weigh({}, info(absurd, **given), said)
            assert np.isfinite(weighted.loss_weight).all(), rule
            assert (weighted.loss_weight >= 0.0).all(), rule


def test_pools_weigh_by_share_times_lane_seconds_a_completion_over_lanes():
    """Tasks of mean duration 2.5 and 25, 32 lanes each for 2,000 s: ten times as many completions, so a tenth of the weight."""
    pools = [
        stratum("quick", lane_seconds=64_000.0, completions=25_600, span_s=2_000.0),
        stratum("slow", lane_seconds=64_000.0, completions=2_560, span_s=2_000.0),
    ]
    said = facts("one", pools)
    factor = pool_factor(info([1.0, 10.0], stratum=[0, 1]), said)
    assert factor[1] / factor[0] == pytest.approx(10.0)

    wanted = facts("one", pools, pool_shares={"quick": 3.0, "slow": 1.0})
    factor = pool_factor(info([1.0, 10.0], stratum=[0, 1]), wanted)
    assert factor[1] / factor[0] == pytest.approx(10.0 / 3.0)


def test_items_of_pools_that_no_summary_names_have_no_factor():
    said = facts("one", [stratum("quick", lane_seconds=64_000.0, completions=25_600, span_s=2_000.0)])
    known = 2.5 / 32  # seconds a completion over lanes
    assert pool_factor(info([1.0] * 2, stratum=[0, 0]), said) == pytest.approx([known, known])
    assert pool_factor(info([1.0] * 2, stratum=[0, 7]), said) == pytest.approx([known, np.nan], nan_ok=True)
    assert np.isnan(pool_factor(info([1.0] * 2, stratum=[7, 7]), said)).tolist() == [True, True]


def test_speed_classes_of_a_pool_share_its_weight():
    """Slower actors of one task law need no weight: both classes get their pool's."""
    pools = [
        stratum("a", "fast", lane_seconds=100.0, completions=100, span_s=10.0),
        stratum("a", "slow", lane_seconds=100.0, completions=10, span_s=10.0),
        stratum("b", "", lane_seconds=200.0, completions=20, span_s=10.0),
    ]
    factor = pool_factor(info([1.0] * 3, stratum=[0, 1, 2]), facts("one", pools))
    assert factor[0] == factor[1]
    assert factor[2] / factor[0] == pytest.approx((200 / 20 / 20) / (200 / 110 / 20))


def test_a_pools_factor_multiplies_inclusion_and_has_its_own_name():
    settings = TableSettings(sampler="uniform", duration={"weight": "pool", "cap": 100.0})
    pools = [stratum(name, lane_seconds=100.0, completions=n, span_s=10.0) for name, n in (("a", 30), ("b", 10))]
    said = facts("start_age", pools, horizon=60.0)
    weighted = Weigher(settings, 100).weigh({}, info([1.0, 1.0], stratum=[0, 1], start_age_s=[0.0, 30.0]), said)

    assert weighted.factors["pool"] == pytest.approx([0.5, 1.5])
    assert weighted.factors["duration"] == pytest.approx([2 / 3, 4 / 3])
    assert weighted.loss_weight == pytest.approx([1 / 3, 2.0])


def test_the_start_rate_is_that_of_the_time_around_a_start():
    """Ten starts a second for 100 s, then forty: weights differ by four."""
    time = np.concatenate([np.arange(0, 100, 0.1), np.arange(100, 200, 0.025)])
    said = facts("start_rate", [stratum(time=time.tolist(), count=np.arange(1, len(time) + 1).tolist())])
    weights = inclusion_weights(info([1.0, 1.0], start_s=[50.0, 150.0]), said)
    assert weights[0] / weights[1] == pytest.approx(4.0, rel=0.02)


def test_start_rates_of_two_shards_add_up_on_the_learners_clock():
    time = np.arange(0, 100, 0.1)
    one = StartSummary(({**stratum(), "time": time.tolist(), "count": np.arange(1, 1_001).tolist()},), clock_s=0.0)
    other = StartSummary(
        ({**stratum(), "time": (time + 5_000.0).tolist(), "count": np.arange(1, 1_001).tolist()},), clock_s=5_000.0
    )
    [both] = start_rates((one, other))

    assert both.at(np.array([20.0, 80.0])) == pytest.approx([1.0, 1.0], rel=0.01)  # over their mean, which is 20 a second


def starts(pool: str, clock_s: float, *per_second: int) -> dict:
    """So many starts in each second, evenly, on a service's clock."""
    time = np.concatenate([second + np.arange(rate) / rate for second, rate in enumerate(per_second) if rate])
    return stratum(pool, time=(time + clock_s).tolist(), count=np.arange(1, len(time) + 1).tolist())


def started(*summaries: StartSummary) -> TableFacts:
    return TableFacts(name="replay", inclusion_rule="start_rate", start_log=summaries)


def test_starts_are_told_on_the_clock_of_their_shard():
    """10 a second, then 30 as the second shard's begin: weights 20 / 10 and 20 / 30, whatever either clock shows."""
    first = StartSummary((starts("", 700.0, *[10] * 100),), clock_s=700.0)
    second = StartSummary((starts("", 5_000.0, *[0] * 50, *[20] * 50),), clock_s=5_000.0)
    items = info([1.0] * 4, shard=[0, 0, 1, 1], start_s=[725.0, 775.0, 5_025.0, 5_075.0])
    assert inclusion_weights(items, started(first, second)) == pytest.approx([2.0, 2 / 3, 2.0, 2 / 3], rel=0.03)
    assert np.isnan(inclusion_weights(info([1.0], shard=[5], start_s=[725.0]), started(first, second)))
    alone = StartSummary((starts("", 5_000.0, *[10] * 50, *[30] * 50),), clock_s=5_000.0)
    items = info([1.0] * 2, start_s=[5_025.0, 5_075.0])
    assert inclusion_weights(items, started(alone)) == pytest.approx([2.0, 2 / 3], rel=0.03)


def test_each_stratum_has_its_own_start_rate_and_an_unknown_one_none():
    both = StartSummary((starts("even", 0.0, *[20] * 100), starts("odd", 0.0, *[10] * 50, *[30] * 50)))
    items = info([1.0] * 4, stratum=[0, 1, 1, 7], start_s=[25.0, 25.0, 75.0, 25.0])
    assert inclusion_weights(items, started(both)) == pytest.approx([1.0, 2.0, 2 / 3, np.nan], rel=0.03, nan_ok=True)


def test_the_relative_error_is_that_of_the_binomial_share_by_clusters():
    said = facts("window", [stratum(**{**windows(1.0, 2.0, 3.0, 4.0), "clusters": 2})])
    assert with_errors(info([1.0, 3.0]), said)[1] == pytest.approx([0.0, np.sqrt(0.5 / (0.5 * 2))])


@pytest.mark.parametrize("weight", ["inclusion", "pool"])
def test_estimated_factors_come_with_their_errors_batch_by_batch(weight):
    pool = stratum(**windows(1.0, 2.0, 3.0, 4.0), lane_seconds=100.0, completions=30, span_s=10.0)
    weigher = Weigher(TableSettings(sampler="uniform", duration={"weight": weight}), 100)
    first, second = weigher.weigh_several(info([1.0, 3.0, 4.0, 2.0]), facts("window", [pool]), 2)
    assert first.errors["duration"] == pytest.approx([0.0, (0.5 / (0.5 * 4)) ** 0.5])
    assert second.errors["duration"] == pytest.approx([(0.75 / (0.25 * 4)) ** 0.5, (0.25 / (0.75 * 4)) ** 0.5])


def test_a_rule_that_estimates_nothing_has_no_errors_and_its_own_weights():
    weigher = Weigher(TableSettings(sampler="uniform", duration={"weight": "linear", "cap": 9.0}), 100)
    weighted = weigher.weigh({}, info([1.0, 3.0]), facts("window", [stratum(**windows(1.0, 2.0, 3.0, 4.0))]))
    assert weighted.factors["duration"].tolist() == [0.5, 1.5]
    assert weighted.errors == {}


def test_where_draws_follow_the_weight_only_the_priority_part_is_annealed():
    """Leaves 1 x 1 and 4 x 2 of priority 1 and 4: after full annealing both weigh as the duration weight says, 1 to 2."""
    settings = TableSettings(
        importance_exponent=1.0, priority_exponent=1.0, duration={"weight": "linear", "apply": "draw", "cap": 100.0}
    )
    weighted = Weigher(settings, 100).weigh({}, info([1.0, 2.0], probability=[1 / 9, 8 / 9]), facts("one"))

    assert weighted.factors["duration"].tolist() == [1.0, 1.0]
    share = np.array([1 / 9, 8 / 9]) * weighted.loss_weight
    assert share[1] / share[0] == pytest.approx(2.0)


def test_facts_of_shards_keep_the_rule_that_loses():
    merged = merge_facts([TableFacts(name="replay"), TableFacts(name="replay", inclusion_rule="window", window_s=20.0)])
    assert (merged.inclusion_rule, merged.window_s) == ("window", 20.0)
