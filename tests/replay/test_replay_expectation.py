"""The law that a table's draws are compared with: all starts for a queue, those of the span for a ring."""

from dataclasses import replace

import numpy as np
import pytest

from replay.answers import Facts
from replay.expectation import POINTS, Expectation
from replay.rows import STEP, Rows
from replay.rules import Rule
from replay.survival import EventTable
from replay.survival import product_limit as curve
from replay.tally import Tally
from sojourn.config.schema import TableSettings
from sojourn.durations import BOUNDS_S, BUCKETS, FINE_BOUNDS_S, PARTS, SPLIT, bucket_of, part_of, product_limit

NONE = np.zeros(0)
FACTS = Facts("replay", 0, 100, 0.0, 1.0, 0, 0, 0, 0.0, False, False, 0.0, 0.0, 0.0, 0, 0, 0, 0, 0, 0, Rule("one"))


def steps_of(durations, action=None) -> Rows:
    count = len(durations)
    zeros, columns = np.zeros(count), {} if action is None else {"action": np.array(action)}
    return Rows(zeros, zeros, zeros, np.full(count, STEP), zeros, np.array(durations), zeros, zeros, zeros, zeros, columns)


def count(tally: Tally, durations, action=None) -> None:
    rows = steps_of(durations, action)
    tally.rows(rows, rows.kind & STEP != 0)


def law(durations: np.ndarray) -> dict[str, float]:
    return {bucket: share for bucket, share in zip(BUCKETS, durations / durations.sum(), strict=True) if share}


def test_a_bound_belongs_to_its_bucket_and_everything_has_one():
    durations = np.array([0.0, *BOUNDS_S, 1e9])
    assert bucket_of(durations).tolist() == [0, *range(len(BOUNDS_S)), len(BOUNDS_S)]


def test_parts_lie_within_their_buckets():
    durations = np.array([0.0, *BOUNDS_S, *FINE_BOUNDS_S, 1e9])
    np.testing.assert_array_equal(part_of(durations) // SPLIT, bucket_of(durations))
    assert list(FINE_BOUNDS_S) == sorted(FINE_BOUNDS_S)
    assert len(FINE_BOUNDS_S) == PARTS - 1


def test_crashes_at_a_constant_rate_leave_the_law_of_all_starts_as_it_is():
    """Half the actions take about .15 s and half .6 s; a third of all is cut off, slow ones mostly."""
    rng = np.random.default_rng(0)
    lasts_s = np.where(rng.random(20_000) < 0.5, 0.15, 0.6) * np.exp(0.2 * rng.standard_normal(20_000))
    cut_s = rng.exponential(1.0, 20_000)
    expectation, tally = Expectation(TableSettings(sampler="fifo")), Tally()
    count(tally, lasts_s[lasts_s <= cut_s])
    for age_s in cut_s[cut_s < lasts_s]:
        tally.lost(float(age_s))
    expectation.look(tally, NONE, FACTS, 0, 0.0)
    exact = np.bincount(bucket_of(lasts_s), minlength=len(BUCKETS))
    naive = np.bincount(bucket_of(lasts_s[lasts_s <= cut_s]), minlength=len(BUCKETS))
    assert 0.5 * np.abs(expectation.durations / expectation.durations.sum() - exact / exact.sum()).sum() < 0.015
    assert 0.5 * np.abs(naive / naive.sum() - exact / exact.sum()).sum() > 0.1


def test_the_bucketed_law_is_the_kaplan_meier_curve_at_the_bounds():
    rng = np.random.default_rng(0)
    place, cut = rng.integers(3, 9, 500), rng.random(500) < 0.3
    ended, away = (np.bincount(place[which], minlength=len(BUCKETS)).astype(float) for which in (~cut, cut))
    shares = product_limit(ended, away)
    survival = curve(EventTable.of(place.astype(float), ~cut), censored_leave_first=False)
    np.testing.assert_allclose(np.cumsum(shares)[3:8], 1.0 - survival.at(np.arange(3, 8) + 0.5))
    assert shares.sum() == pytest.approx(1.0)


def test_a_queue_stands_against_all_starts_also_those_without_an_end():
    expectation, tally = Expectation(TableSettings(sampler="fifo")), Tally()
    count(tally, [1.0] * 6, action=[0, 0, 0, 1, 1, 9])
    tally.lost(0.5)
    expectation.look(tally, np.array([10.0]), FACTS, 0, 0.0)
    assert expectation.durations.sum() == pytest.approx(8.0)
    assert law(expectation.durations) == pytest.approx(
        {"1": 6 / 7, "10": 1 / 7}
    )  # what ran for .5 s would have ended like the rest
    assert expectation.labels["action"].tolist() == [3, 2, 0, 0, 0, 0, 0, 0, 1]


def test_a_ring_stands_against_the_starts_that_it_holds_at_each_draw():
    expectation, tally = Expectation(TableSettings(sampler="uniform")), Tally()
    expectation.look(tally, NONE, FACTS, 0, 0.0)
    for second in range(20):  # quick actions for ten seconds, slow ones afterwards, ten a second; the ring holds 50
        count(tally, [1.0 if second < 10 else 20.0] * 10)
        inserted = 10 * (second + 1)
        facts = replace(FACTS, inserted_items=inserted, items=min(50, inserted), sampled_items=inserted if second >= 12 else 0)
        expectation.look(tally, NONE, facts, 0, float(second))
    assert law(expectation.durations)["20"] == pytest.approx((130 * 3 / 5 + 10 * 4 / 5 + 60 * 5 / 5) / 200)


@pytest.mark.parametrize(
    ("settings", "position"),
    [
        (TableSettings(remover="start_age", horizon_s=5.0), "now_s"),
        (TableSettings(remover="version_age", horizon_versions=4), "version"),
    ],
)
def test_horizons_span_seconds_or_versions(settings, position):
    expectation, tally = Expectation(settings), Tally()
    for moment in range(20):
        count(tally, [1.0 if moment < 10 else 20.0])
        facts = replace(FACTS, sampled_items=100 if moment == 19 else 0)
        expectation.look(tally, NONE, facts, moment if position == "version" else 0, float(moment))
    assert law(expectation.durations) == {"20": 1.0}
    assert expectation.durations.sum() == pytest.approx(100)


def test_draws_of_an_earlier_life_are_not_counted():
    expectation, tally = Expectation(TableSettings()), Tally()
    count(tally, [1.0])
    for sampled in (1_000, 1_010):
        expectation.look(tally, NONE, replace(FACTS, inserted_items=1, items=1, sampled_items=sampled), 0, 0.0)
    assert expectation.durations.sum() == pytest.approx(10)


def test_what_is_remembered_of_a_span_stays_bounded():
    expectation, tally = Expectation(TableSettings()), Tally()
    for step in range(20_000):
        count(tally, [1.0])
        expectation.look(tally, NONE, replace(FACTS, inserted_items=step, items=min(step, 1_000), sampled_items=step), 0, 0.0)
    assert len(expectation._points) <= POINTS + 2
