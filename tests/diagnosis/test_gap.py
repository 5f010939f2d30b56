"""The distance between two laws: literal values, the false alarms of chance, and what it finds."""

import numpy as np
import pytest

from sojourn.diagnosis.gap import Gap, gap

LAW = np.array([0.5, 0.3, 0.1, 0.1])


def drawn(seed: int, size: int, law: np.ndarray = LAW) -> np.ndarray:
    return np.random.default_rng(seed).multinomial(size, law).astype(float)


def compared(counts: np.ndarray, **options: float) -> Gap:
    found = gap(LAW * 1e4, counts, counts, np.random.default_rng(0), **options)
    assert found is not None
    return found


def test_the_distance_is_half_the_sum_of_differences_and_knows_its_direction():
    found = compared(np.array([700.0, 200.0, 100.0, 0.0]))
    assert found.distance == pytest.approx(0.2)
    assert found.quicker
    assert found.matters
    assert not compared(np.array([300.0, 400.0, 100.0, 200.0])).quicker


def test_without_anything_on_one_side_there_is_no_distance():
    rng = np.random.default_rng(0)
    assert gap(LAW, np.zeros(4), np.zeros(4), rng) is None
    assert gap(np.zeros(4), LAW, LAW, rng) is None


def test_p_values_of_chance_are_uniform_and_alarms_rare():
    found = [compared(drawn(seed, 2_000)) for seed in range(300)]
    p_values = np.sort([one.p_value for one in found])
    assert np.abs(p_values - np.arange(1, 301) / 300).max() < 1.63 / 300**0.5  # Kolmogorov's test at 1 %
    assert sum(one.beyond_chance for one in found) <= 5


def test_alarms_stay_rare_where_weights_differ_and_where_steps_are_lost_together():
    weighted = []
    for seed in range(200):
        rng = np.random.default_rng(seed)
        places, weights = rng.choice(4, 2_000, p=LAW), rng.lognormal(0.0, 1.0, 2_000)
        together = np.repeat(rng.choice(4, 250, p=LAW), 8)
        sums, squares = np.bincount(places, weights, 4), np.bincount(places, weights**2, 4)
        counts = np.bincount(together, minlength=4).astype(float)
        found = gap(LAW, sums, squares, np.random.default_rng(0))
        weighted += [found.beyond_chance, compared(counts, together=8.0).beyond_chance]
    assert sum(weighted) <= 6


def test_a_bias_of_two_hundredths_is_found_in_ten_thousand_draws_and_not_in_two_hundred():
    skewed = LAW + np.array([0.025, 0.0, 0.0, -0.025])
    assert compared(skewed * 10_000).beyond_chance
    assert not compared(skewed * 200).beyond_chance


def test_draws_without_end_know_no_more_than_the_starts_that_they_came_from():
    skewed = LAW + np.array([0.02, 0.0, 0.0, -0.02])
    assert compared(skewed * 1e7).beyond_chance
    assert not compared(skewed * 1e7, drawn_from=400.0).beyond_chance


def test_what_is_not_settled_yet_is_no_bias_and_estimated_weights_have_an_error():
    skewed = LAW + np.array([0.05, 0.0, 0.0, -0.05])
    assert not compared(skewed * 10_000, unsettled=0.06).beyond_chance
    assert not compared(skewed * 10_000, error=0.02).beyond_chance
    assert compared(skewed * 10_000, unsettled=0.04, error=0.005).beyond_chance


def test_a_gap_without_consequence_is_certain_and_does_not_matter():
    found = compared((LAW + np.array([0.005, 0.0, 0.0, -0.005])) * 1e7)
    assert found.beyond_chance
    assert not found.matters
