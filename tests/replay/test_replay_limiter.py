"""The rate limiter step by step, and in any order of admitted messages and batches."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from replay.limiter import RateLimiter, Traffic, make_limiter
from sojourn.config.schema import LimiterSettings
from sojourn.errors import ConfigError


def limiter(**given: object) -> RateLimiter:
    return RateLimiter(LimiterSettings(**{"samples_per_insert": 2.0, "min_size": 1, "tolerance": 2.0, **given}), 1.0)


def test_inserts_wait_until_the_learner_catches_up():
    rate = limiter()
    rate.charge_insert(3, 0.0)  # surplus 4, over 2
    assert rate.surplus == 4.0
    assert not rate.can_insert()
    rate.charge_sample(2, 0.0)  # surplus 2
    assert rate.can_insert()
    rate.charge_sample(1, 0.0)
    assert rate.sampled_items == 3


def test_samples_wait_for_inserts_and_pass_the_bound_by_one_batch_at_most():
    rate = limiter()
    rate.charge_insert(1, 0.0)  # surplus 0
    assert rate.can_sample()
    rate.charge_sample(2, 0.0)  # -2: not below the bound
    assert rate.can_sample()
    rate.charge_sample(2, 0.0)  # -4
    assert not rate.can_sample()
    rate.charge_insert(1, 0.0)  # -2
    assert rate.can_sample()


def test_nothing_is_drawn_before_min_size_items_and_inserts_are_free_until_then():
    rate = limiter(min_size=10, samples_per_insert=100.0)
    rate.charge_insert(9, 0.0)
    assert not rate.can_sample()
    assert rate.can_insert()
    rate.charge_insert(1, 0.0)
    assert rate.can_sample()
    assert rate.surplus == 0.0


def test_further_batches_of_a_message_are_looked_at_as_if_the_earlier_ones_were_charged():
    rate = limiter(tolerance=4.0)
    rate.charge_insert(1, 0.0)
    assert rate.can_sample(ahead=4.0)
    assert not rate.can_sample(ahead=5.0)


def test_a_message_behind_others_is_looked_at_as_if_they_were_charged():
    rate = limiter(min_size=4, tolerance=4.0)
    rate.charge_insert(3, 0.0)  # surplus -2
    assert rate.can_insert(ahead=3)  # 4
    assert not rate.can_insert(ahead=4)  # 6


def test_items_ahead_count_the_mean_seconds_so_far_and_the_free_ones_nothing():
    rate = limiter(unit="seconds", samples_per_insert=1.0, tolerance=10.0, min_size=4)
    rate.charge_insert(2, 20.0)  # two more are free
    assert rate.can_insert(ahead=3)  # 10
    assert not rate.can_insert(ahead=4)  # 20
    rate.charge_insert(3, 30.0)  # surplus 10, none is free any more
    assert rate.can_insert()
    assert not rate.can_insert(ahead=1)


def test_without_a_ratio_only_min_size_holds():
    rate = limiter(samples_per_insert=None, min_size=5)
    rate.charge_insert(5, 0.0)
    rate.charge_sample(10_000, 0.0)
    assert rate.can_sample()
    assert rate.can_insert(ahead=10_000)
    assert rate.surplus == 0.0


def test_where_no_inserts_are_taken_what_is_there_may_be_drawn_at_any_rate():
    rate = limiter(min_size=5)
    rate.takes_no_inserts = True
    assert rate.can_sample(ahead=10_000.0)


def test_seconds_are_charged_as_they_were_given():
    rate = limiter(unit="seconds", samples_per_insert=1.0, tolerance=10.0, min_size=2)
    rate.charge_insert(4, 40.0)  # the first two items' 20 s are free
    assert rate.surplus == 20.0
    assert not rate.can_insert()
    rate.charge_sample(1, 10.0)
    assert rate.surplus == 10.0
    assert rate.can_insert()


def test_only_the_first_items_are_free_of_seconds_in_however_many_messages_they_come():
    rate = limiter(unit="seconds", samples_per_insert=1.0, min_size=3)
    rate.charge_insert(2, 20.0)
    rate.charge_insert(2, 8.0)  # of which 4 s are free
    rate.charge_insert(1, 5.0)
    assert rate.surplus == 9.0


def test_the_default_tolerance_is_two_messages():
    assert make_limiter(LimiterSettings(), "replay", Traffic(batch_size=4, batches_per_message=3)).tolerance == 24.0


def test_the_default_tolerance_in_seconds_grows_with_the_items():
    rate = make_limiter(LimiterSettings(unit="seconds", min_size=1), "replay", Traffic(batch_size=4, batches_per_message=2))
    rate.charge_insert(1, 5.0)
    assert rate.tolerance == pytest.approx(5.0 * make_limiter(LimiterSettings(), "replay", Traffic(4, 2)).tolerance)
    rate.charge_insert(9, 25.0)
    assert rate.tolerance == pytest.approx(3.0 * make_limiter(LimiterSettings(), "replay", Traffic(4, 2)).tolerance)


def test_a_tolerance_below_one_batch_is_refused_at_construction():
    with pytest.raises(
        ConfigError, match=r"tolerance 10 is below one batch of 256: .* for each other for ever; raise it or leave it out$"
    ):
        make_limiter(LimiterSettings(tolerance=10.0), "replay", Traffic())
    assert make_limiter(LimiterSettings(tolerance=256.0), "replay", Traffic()).tolerance == 256.0


def test_another_life_goes_on_with_the_same_counts():
    first, second = limiter(unit="seconds"), limiter(unit="seconds")
    first.charge_insert(7, 9.5)
    first.charge_sample(3, 2.25)
    second.restore(first.state())
    assert (second.surplus, second.inserted_items, second.sampled_items) == (first.surplus, 7, 3)


@given(
    st.floats(0.1, 300.0),
    st.integers(1, 50),
    st.floats(1.0, 500.0),
    st.lists(st.tuples(st.booleans(), st.integers(0, 40)), max_size=200),
)
@settings(max_examples=100, deadline=None)
def test_whatever_is_admitted_in_whatever_order_both_bounds_hold_within_one_charge(ratio, min_size, tolerance, turns):
    rate = limiter(samples_per_insert=ratio, min_size=min_size, tolerance=tolerance)
    inserted = sampled = 0
    largest_message, largest_batch = 40 * ratio, 40
    for is_insert, size in turns:
        rate.check()
        if is_insert and rate.can_insert():
            rate.charge_insert(size, 0.0)
            inserted += size
        elif not is_insert and rate.can_sample():
            rate.charge_sample(size, 0.0)
            sampled += size
        surplus = (inserted - min_size) * ratio - sampled
        assert rate.surplus == pytest.approx(surplus, abs=1e-6)
        assert inserted < min_size or -tolerance - largest_batch <= surplus <= tolerance + largest_message
        assert sampled == 0 or inserted >= min_size


def test_what_other_shards_have_counted_admits_a_new_shards_inserts_and_holds_back_draws_over_all():
    rate = limiter(min_size=10)
    rate.charge_insert(14, 0.0)
    assert rate.surplus == 8.0
    assert not rate.can_insert()  # alone it would wait for draws that follow priorities, which lie elsewhere
    rate.others(inserted_items=1_000, sampled_items=2_006)
    assert rate.surplus == (14 + 1_000 - 10) * 2.0 - 2_006
    assert rate.can_insert()
    assert rate.can_sample()
    rate.others(inserted_items=1_000, sampled_items=2_011)
    assert not rate.can_sample()
    assert rate.can_insert()


def test_min_size_counts_over_all_shards():
    rate = limiter(min_size=10)
    rate.charge_insert(4, 0.0)
    assert not rate.can_sample()
    rate.others(inserted_items=6, sampled_items=0)
    assert rate.can_sample()


def test_seconds_are_counted_by_each_shard_alone():
    rate = limiter(unit="seconds", min_size=1)
    rate.charge_insert(1, 5.0)
    rate.others(inserted_items=1_000, sampled_items=0)
    assert rate.surplus == 0.0


def test_what_a_run_begins_with_is_free_and_counts_towards_the_first_items():
    rate = limiter(min_size=10, samples_per_insert=2.0)
    rate.inserts_are_imports = True
    rate.charge_insert(500, 0.0)
    assert (rate.surplus, rate.can_insert(), rate.can_sample()) == (0.0, True, True)
    rate.charge_sample(4, 0.0)  # -4: nothing more before actors have inserted
    assert not rate.can_sample()
    rate.inserts_are_imports = False
    rate.charge_insert(3, 0.0)  # 2: the first ten were imported
    assert (rate.surplus, rate.can_sample()) == (2.0, True)
    assert (rate.inserted_items, rate.imported_items) == (503, 500)
    again = limiter(min_size=10, samples_per_insert=2.0)
    again.restore(rate.state())
    assert (again.surplus, again.imported_items) == (2.0, 500)


def test_fewer_imported_items_than_the_first_ones_leave_the_rest_of_these_free():
    rate = limiter(min_size=10, samples_per_insert=2.0)
    rate.inserts_are_imports = True
    rate.charge_insert(4, 0.0)
    rate.inserts_are_imports = False
    rate.charge_insert(7, 0.0)
    assert rate.surplus == 2.0  # the eleventh


def test_imported_seconds_are_free():
    rate = limiter(unit="seconds", samples_per_insert=2.0, tolerance=5.0, min_size=1)
    rate.inserts_are_imports = True
    rate.charge_insert(100, 50.0)
    assert (rate.surplus, rate.can_insert()) == (0.0, True)
    rate.inserts_are_imports = False
    rate.charge_insert(1, 0.5)
    assert rate.surplus == 1.0


def test_what_other_shards_were_begun_with_is_free_here_too():
    rate = limiter(min_size=10, samples_per_insert=2.0, tolerance=100.0)
    rate.others(inserted_items=300, sampled_items=8, imported_items=290)
    assert rate.can_sample()
    assert rate.surplus == 12.0  # (300 - 290) x 2 - 8
    rate.inserts_are_imports = True
    rate.charge_insert(20, 0.0)
    rate.others(inserted_items=5, sampled_items=0)
    assert rate.surplus == 10.0  # of these five nobody says that they were imported


def test_a_snapshot_of_before_imports_were_counted_has_none():
    rate = limiter(min_size=10, samples_per_insert=2.0)
    rate.charge_insert(12, 0.0)
    old = rate.state()
    del old["imported_items"]
    again = limiter(min_size=10, samples_per_insert=2.0)
    again.restore(old)
    assert (again.surplus, again.imported_items) == (4.0, 0)
