"""What several shards say of their starts, as one: strata by number, pools by literal values, start rates against a slow count."""

import numpy as np
import pytest

from replay.start_summary import RATE_STARTS, StartRates, StartSummary, curves, pool_weights, start_rates, strata_of


def stratum(pool: str = "", speed_class: str = "", **said) -> dict:
    return {"pool": pool, "speed_class": speed_class, **said}


def began(time: list[float], pool: str = "") -> dict:
    return stratum(pool, time=time, count=list(range(1, len(time) + 1)))


def rates(*times: list[float], clock_s: float = 0.0) -> StartRates:
    [found] = start_rates(tuple(StartSummary((began(time),), clock_s=clock_s) for time in times))
    return found


def test_a_shard_that_says_nothing_knows_nothing():
    silent = StartSummary.of({}, 3.0)
    assert (silent.strata, silent.period_s, silent.pool_shares, silent.clock_s) == ((), 0.0, {}, 3.0)
    assert strata_of((silent,), np.zeros(2, np.uint32), np.array([0, 1])).tolist() == [-1, -1]


def test_strata_that_no_summary_names_are_nobodys():
    one = (StartSummary((stratum("a"),)),)
    assert strata_of(one, np.array([0, 0, 1, 0], np.uint32), np.array([0, 1, 0, -1])).tolist() == [0, -1, -1, -1]
    two = (StartSummary((stratum("a"), stratum("b"))), StartSummary((stratum("b"),)))
    shard, number = np.array([0, 0, 1, 1, 2, 0, 0], np.uint32), np.array([0, 1, 0, 1, 0, -1, 2])
    assert strata_of(two, shard, number).tolist() == [0, 1, 1, -1, -1, -1, -1]


def test_an_end_at_the_time_of_a_crash_precedes_it():
    """Four starts; at 2 s one crashes and one ends: at risk of the crash are three."""
    table = stratum(time=[2.0, 5.0], events=[1, 0], leaving=[2, 2])
    [curve] = curves((StartSummary((table,)),), "censoring")
    assert curve.inverse_at(np.array([2.0, 3.0]))[0] == pytest.approx([1.0, 1.5])


def test_without_clusters_every_start_counts_for_the_error():
    table = stratum(time=[1.0, 2.0, 3.0, 4.0], events=[1] * 4, leaving=[1] * 4)
    [curve] = curves((StartSummary((table,)),), "window")
    assert curve.inverse_at(np.array([3.0]))[1] == pytest.approx([(0.5 / (0.5 * 4)) ** 0.5])


def test_pools_by_literal_values():
    said = (
        stratum("one", "idle", lane_seconds=1_000.0, completions=0, span_s=10.0),  # left out
        stratum("one", "", lane_seconds=5.0, completions=1, span_s=10.0),  # 5 s a completion, half a lane
        stratum("short", lane_seconds=2.0, completions=4, span_s=0.5),  # half a second, 4 lanes
        stratum("instant", lane_seconds=2.0, completions=4, span_s=0.0),
        stratum("never", lane_seconds=2.0, completions=0, span_s=1.0),
    )
    equal, wanted = StartSummary(said), StartSummary(said, pool_shares={"short": 3.0})
    assert pool_weights((equal,)) == pytest.approx([10.0, 10.0, 0.125, np.nan, np.nan], nan_ok=True)
    assert pool_weights((wanted,)) == pytest.approx([np.nan, np.nan, 0.375, np.nan, np.nan], nan_ok=True)


def test_the_start_rate_of_three_starts_by_hand():
    """At 10, 12 and 20: 0.3 a second. Half a window is 5 s; the count is 1 at 10, 2.375 at 15, 3 at 20; a window counts one at least."""
    found = rates([110.0, 112.0, 120.0], clock_s=100.0).at(np.array([10.0, 15.0, 20.0, -1e9, 1e9, np.nan]))
    first, last = 1.375 / 5 / 0.3, 1 / 5 / 0.3
    assert found == pytest.approx([first, 2 / 10 / 0.3, last, first, last, first], rel=2e-3)


def test_before_its_first_start_a_shard_has_none():
    """Until 5 the first shard counts a half, the second its first start: 1.5 in 5 s, over 0.4 a second."""
    assert rates([0.0, 10.0], [5.0, 10.0]).at(np.array([0.0])) == pytest.approx([1.5 / 5 / 0.4], rel=1e-3)


def test_start_rates_equal_a_slow_count_around_each_moment():
    rng = np.random.default_rng(0)
    one, other = np.sort(10 + 40 * rng.random(1_500)), np.sort(10 + 90 * rng.beta(4.0, 1.0, 1_500))
    both, moments = np.concatenate((one, other)), np.linspace(12.0, 98.0, 44)
    first, last = both.min(), both.max()
    half = (last - first) * RATE_STARTS / 3_000 / 2
    found = rates(one.tolist(), other.tolist()).at(moments)
    for moment, rate in zip(moments, found, strict=True):
        begin, end = max(moment - half, first), min(moment + half, last)
        count = np.count_nonzero((both > begin) & (both <= end))
        assert rate == pytest.approx(count / (end - begin) / (3_000 / (last - first)), rel=0.02), moment


def test_where_nothing_began_the_rate_is_that_of_one_start():
    bursts = np.concatenate((np.linspace(0.0, 1.0, 1_000), np.linspace(99.0, 100.0, 1_000)))
    assert rates(bursts.tolist()).at(np.array([50.0])) == pytest.approx([1 / 20 / 20])


def test_starts_within_a_second_have_a_rate_and_those_of_one_moment_none():
    assert rates(np.linspace(0.0, 0.5, 4_001).tolist()).at(np.array([0.25])) == pytest.approx([1.0], rel=1e-3)
    assert np.isnan(rates([5.0]).at(np.array([5.0])))
    assert np.isnan(rates([]).at(np.array([5.0])))
