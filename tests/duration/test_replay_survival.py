"""Survival curves against literal values and slow obvious sums."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from replay.step_search import fill_cells, look_up
from replay.survival import (
    NEARLY,
    EventTable,
    SurvivalCurve,
    added,
    censoring_time,
    duration_law,
    product_limit,
    remaining_window,
    window_curve,
)

TIMES = st.lists(st.integers(1, 9), min_size=1, max_size=30)


def test_remaining_window_counts_starts_whose_window_was_at_least_so_long():
    curve = remaining_window(np.array([1.0, 2.0, 2.0, 4.0]))
    assert curve.at(np.array([0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 5.0])).tolist() == [1.0, 1.0, 0.75, 0.75, 0.25, 0.25, 0.0]


def test_an_actions_own_start_keeps_its_survival_positive():
    remaining = np.array([3.0, 8.0, 5.0])
    assert (remaining_window(remaining).at(remaining) >= 1 / 3 - 1e-12).all()


def test_duration_law_of_the_textbook_example():
    # at risk 5, 4, 3, 2, 1; events at 1, 3 and 4
    curve = duration_law(np.array([1.0, 2.0, 3.0, 4.0, 5.0]), np.array([True, False, True, True, False]))
    assert curve.at(np.array([1.0, 2.0, 3.5, 4.5])) == pytest.approx([1.0, 0.8, 0.8 * 2 / 3, 0.8 * 2 / 3 / 2])


def test_greenwood_variance_of_the_textbook_example():
    curve = duration_law(np.array([1.0, 2.0, 3.0]), np.array([True, False, True]))
    _, relative_error = curve.inverse_at(np.array([1.0, 2.0]))
    assert relative_error**2 == pytest.approx([0.0, 1 / (3 * 2)])


def slow_curve(observed, event, ends_first, x):
    survival = 1.0
    for t in sorted(set(observed)):
        if t >= x:
            break
        events = sum(1 for o, e in zip(observed, event, strict=True) if o == t and e)
        others = sum(1 for o, e in zip(observed, event, strict=True) if o == t and not e)
        at_risk = sum(1 for o in observed if o >= t) - (others if ends_first else 0)
        survival *= 1 - events / at_risk if events else 1
    return survival


@settings(deadline=None)
@given(TIMES, st.data())
def test_both_curves_equal_the_slow_product(observed, data):
    ended = data.draw(st.lists(st.booleans(), min_size=len(observed), max_size=len(observed)))
    x = np.arange(0.5, 11)
    law = duration_law(np.array(observed), np.array(ended)).at(x)
    cut = censoring_time(np.array(observed), np.array(ended)).at(x)
    assert law == pytest.approx([slow_curve(observed, ended, False, v) for v in x])
    assert cut == pytest.approx([slow_curve(observed, [not e for e in ended], True, v) for v in x])


def test_weighting_by_the_censoring_curve_removes_the_bias_of_crashes():
    rng = np.random.default_rng(5)
    slow = rng.random(200_000) < 0.5
    duration, crash = np.where(slow, 10.0, 1.0), rng.exponential(8.0, slow.size)
    ended = duration <= crash
    weight = 1 / censoring_time(np.minimum(duration, crash), ended).at(duration[ended])
    assert slow[ended].mean() < 0.3
    assert np.average(slow[ended], weights=weight) == pytest.approx(0.5, abs=0.01)


def test_no_starts_are_refused():
    with pytest.raises(ValueError, match=r"^a survival curve needs at least one start"):
        remaining_window(np.array([]))


@settings(deadline=None)
@given(TIMES, TIMES)
def test_tables_of_two_shards_added_give_the_curve_of_all_starts(one, other):
    parts = [EventTable.of(np.array(times, float), np.array(times) % 2 == 0) for times in (one, other)]
    whole = EventTable.of(np.array(one + other, float), np.array(one + other) % 2 == 0)
    x = np.arange(0.5, 11)

    assert (
        product_limit(added(parts), censored_leave_first=True).at(x) == product_limit(whole, censored_leave_first=True).at(x)
    ).all()
    assert (window_curve(added(parts)).at(x) == window_curve(whole).at(x)).all()


def test_a_coarser_table_keeps_every_start_and_errs_everywhere_by_the_same_part():
    remaining = np.random.default_rng(1).exponential(5.0, 20_000)
    table = EventTable.of(remaining, np.ones(len(remaining), bool))
    coarse = table.coarser(500)

    assert 300 < len(coarse.time) <= 500
    assert coarse.starts == table.starts
    ratio = window_curve(coarse).at(remaining) / window_curve(table).at(remaining)
    assert ratio.min() >= 1.0 - 1e-12
    assert ratio.max() <= np.exp(np.log(20_000) / 500) + 1e-9  # 2 %, also where one start in 20,000 is left


def test_a_coarser_table_keeps_events_and_goes_by_what_is_left_not_by_what_left_before():
    times = np.repeat(np.arange(1.0, 2_001.0), [19] * 1_000 + [1] * 1_000)
    table = EventTable.of(times, times % 2 == 0)
    coarse = table.coarser(200)

    assert len(coarse.time) <= 200
    assert coarse.events.sum() == table.events.sum()
    ratio = window_curve(coarse).at(times) / window_curve(table).at(times)
    assert ratio.max() <= np.exp(np.log(20_000) / 200) + 1e-9
    assert [len(table.coarser(most).time) for most in (1, 2)] == [1, 2]
    assert table.coarser(2_000) is table


def test_a_table_of_whole_numbers_is_one_of_seconds():
    assert EventTable.of(np.array([1, 2]), np.array([True, False])).time.dtype == np.float64


def test_curves_that_fall_to_zero_are_silent_and_flags_may_be_numbers():
    times, flags = np.array([1.0, 2.0, 3.0]), np.array([0, 0, 1], np.uint8)
    with np.errstate(divide="raise"):
        assert remaining_window(times).survival[-1] == 0.0
        assert duration_law(times, flags).survival.tolist() == [1.0, 0.0]
        assert censoring_time(times, flags).survival == pytest.approx([1.0, 2 / 3, 1 / 3])


def test_clustered_starts_say_less():
    remaining = np.array([1.0, 2.0, 3.0, 4.0])
    [alone], [clustered] = (remaining_window(remaining, starts).inverse_at(np.array([3.0]))[1] for starts in (None, 2.0))
    assert (alone, clustered) == pytest.approx(((0.5 / (0.5 * 4)) ** 0.5, (0.5 / (0.5 * 2)) ** 0.5))


def test_nothing_asked_is_nothing_answered():
    weight, error = remaining_window(np.array([1.0, 2.0])).inverse_at(np.empty(0))
    assert (len(weight), len(error)) == (0, 0)


def test_windows_without_end_and_times_below_a_second_are_found():
    survival = np.array([1.0, 0.5, 0.25, 0.125])
    endless = SurvivalCurve(np.array([1.0, 2.0, np.inf]), survival, np.zeros(4))
    assert endless.inverse_at(np.array([0.5, 1.5, 1e9]))[0].tolist() == [1.0, 2.0, 4.0]
    short = SurvivalCurve(np.array([0.3, 0.6, 5.0]), survival, np.zeros(4))
    assert short.inverse_at(np.array([0.2, 0.4, 0.7, 9.0]))[0].tolist() == [1.0, 2.0, 4.0, 8.0]


def test_what_was_seen_never_has_survival_zero_even_at_the_very_end_of_its_window():
    curve = remaining_window(np.array([3.0, 5.0 - 1e-12]))

    assert curve.at(np.array([5.0])) == 0.0
    assert curve.inverse_at(np.array([5.0, 6.0]))[0] == pytest.approx([2.0, 2.0])


@settings(deadline=None)
@given(
    times=arrays(
        np.float64, st.integers(0, 40), elements=st.one_of(st.sampled_from([0.0, 1e-300, 1.0, 3.0]), st.floats(0.0, 1e9))
    ),
    between=arrays(np.float64, 20, elements=st.floats(-1.0, 1e9)),
)
def test_a_weight_is_found_in_cells_where_searching_finds_it(times: np.ndarray, between: np.ndarray):
    time = np.unique(times)
    curve = SurvivalCurve(time, np.linspace(1.0, 0.5, len(time) + 1), np.zeros(len(time) + 1))
    x = np.concatenate((between, times, times + 1e-6, [np.inf, np.nan]))

    searched = np.searchsorted(curve.time, x * (1.0 - NEARLY) - NEARLY)

    expected = np.where(np.isnan(x), np.nan, 1.0 / curve.survival[searched])
    np.testing.assert_array_equal(curve.inverse_at(x)[0], expected)


def test_a_value_on_a_step_lies_before_it_whatever_the_cells():
    times = np.array([1.0, 2.0, 2.5, 2.5, 7.0])
    x = np.array([0.0, 1.0, 1.5, 2.0, 2.5, 3.0, 7.0, 9.0])
    steps = np.stack([np.arange(6.0), -np.arange(6.0)], axis=1)
    for cells in (1, 3, 50):
        first, found = np.zeros(cells + 1, np.int64), np.empty((2, len(x)))
        fill_cells(times, cells / 8.0, first)
        look_up(x, times, first, cells / 8.0, steps, found)
        assert found[0].tolist() == np.searchsorted(times, x, side="left").tolist()
        assert (found[1] == -found[0]).all()
