"""Do loss weights have the values that the formulas say?"""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from replay.ess_floor import EssFloor, largest_exponent
from replay.facts import TableFacts
from replay.inclusion import ones
from replay.normaliser import RunningMean, normalise
from replay.weighting import Weigher, annealed, effective_shares, importance_weights
from sojourn.config.schema import TableDurationSettings, TableSettings
from sojourn.errors import ConfigError
from sojourn.experience import SampleInfo

FACTS = TableFacts(name="replay", items=4, total_priority=4.0, env_steps=0)


def info(probability: list[float], duration_s: list[float], table_items: float = 4.0) -> SampleInfo:
    size = len(probability)
    return SampleInfo(
        key=np.arange(1, size + 1, dtype=np.uint64),
        probability=np.array(probability),
        table_items=table_items,
        times_sampled=np.ones(size, np.uint32),
        policy_version=np.ones(size, np.int64),
        delay_s=np.array(duration_s),
        age_s=np.zeros(size),
        duration_s=np.array(duration_s),
        task=np.zeros(size, np.int64),
        shard=np.zeros(size, np.uint32),
        draw_id=np.zeros(size, np.uint64),
        redelivered=np.zeros(size, bool),
    )


def table(weight: str = "inclusion", cap: float | None = None, apply: str = "weight", **settings: object) -> TableSettings:
    return TableSettings(duration=TableDurationSettings(weight=weight, cap=cap, apply=apply), **settings)


def test_importance_weights_are_n_times_p_to_the_minus_exponent():
    probability = np.array([0.5, 0.25, 0.25])

    assert importance_weights(probability, 4, 1.0) == pytest.approx([0.5, 1.0, 1.0])
    assert importance_weights(probability, 4, 0.5) == pytest.approx([0.70710678, 1.0, 1.0])
    assert importance_weights(probability, 4, 0.0) == pytest.approx([1.0, 1.0, 1.0])
    assert importance_weights(probability, 4, 0.5).dtype == np.float32


def test_an_importance_exponent_outside_its_range_is_refused_with_its_value():
    with pytest.raises(ValueError, match=r"\[0, 1\], got 1.5"):
        importance_weights(np.array([0.5]), 2, 1.5)


def test_the_importance_exponent_rises_linearly_to_its_end_and_stays():
    assert [annealed(0.4, 1.0, steps, 100) for steps in (0, 50, 100, 1_000)] == pytest.approx([0.4, 0.7, 1.0, 1.0])


def test_uniform_draws_of_a_table_that_loses_nothing_weigh_exactly_one():
    weigher = Weigher(table("inclusion"), total_env_steps=100)

    for _ in range(3):
        weighted = weigher.weigh({}, info([1 / 7] * 7, [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0], table_items=7.0), FACTS)

        assert (weighted.loss_weight == np.float32(1.0)).all()
        assert (weighted.factors["duration"] == np.float32(1.0)).all()
        assert weighted.ess_share == 1.0


def test_linear_divides_by_the_mean_of_the_batches_before():
    weigher = Weigher(table("linear"), total_env_steps=100)
    durations = [[1.0, 3.0], [4.0, 8.0], [4.0, 4.0]]  # batch means 2, 6, 4

    factors = [weigher.weigh({}, info([0.25] * 2, batch), FACTS).factors["duration"] for batch in durations]

    assert factors[0] == pytest.approx([0.5, np.sqrt(2)])  # own mean 2, there is no other; 1.5 is cut at sqrt(B)
    assert factors[1] == pytest.approx([np.sqrt(2), np.sqrt(2)])  # mean 2: 2 and 4, both cut
    assert factors[2] == pytest.approx([1.0, 1.0])  # mean of 2 and 6


def test_factors_multiply_to_the_loss_weight():
    weigher = Weigher(table("linear", cap=100.0, importance_exponent=1.0), total_env_steps=100)

    weighted = weigher.weigh({}, info([0.5, 0.125, 0.125, 0.25], [1.0, 1.0, 2.0, 4.0]), FACTS)

    assert weighted.factors["priority"] == pytest.approx(np.array([0.5, 2.0, 2.0, 1.0]) / 1.375)
    assert weighted.factors["duration"] == pytest.approx(np.array([1.0, 1.0, 2.0, 4.0]) / 2.0)
    assert weighted.loss_weight == pytest.approx(np.array([0.25, 1.0, 2.0, 2.0]) / 1.375)
    assert weighted.capped == 0


@settings(deadline=None)
@given(
    durations=arrays(np.float64, (3, 4), elements=st.one_of(st.sampled_from([0.0, 1e-300, 1e-6, 1e300]), st.floats(0.0, 1e6))),
    weight=st.sampled_from(["none", "linear", "inclusion"]),
)
def test_batches_weigh_together_what_they_weigh_one_by_one(durations: np.ndarray, weight: str):
    settings, probability = table(weight, sampler="prioritised"), [0.5, 0.25, 0.125, 0.125]
    together, alone = Weigher(settings, total_env_steps=1), Weigher(settings, total_env_steps=1)

    found = together.weigh_several(info(probability * 3, durations.ravel().tolist()), FACTS, 3)

    for weighted, batch in zip(found, durations, strict=True):
        wanted = alone.weigh({}, info(probability, batch.tolist()), FACTS)
        np.testing.assert_array_equal(weighted.loss_weight, wanted.loss_weight)
        np.testing.assert_equal(dict(weighted.factors), dict(wanted.factors))
        assert (weighted.ess_share, weighted.capped, weighted.repaired) == (wanted.ess_share, wanted.capped, wanted.repaired)


@pytest.mark.parametrize(("weight", "ess_floor"), [("math:sqrt", 0.0), ("linear", 0.5)])
def test_a_weighting_from_outside_and_a_floor_see_batch_by_batch(weight: str, ess_floor: float):
    assert not Weigher(table(weight), 1, ess_floor).takes_several


def test_without_a_floor_weights_are_raised_to_one():
    assert Weigher(table("linear"), 1).exponent == 1.0
    assert Weigher(table("linear"), 1).takes_several


def test_fifo_tables_have_no_priority_factor():
    weighted = Weigher(table("none", sampler="fifo"), 100).weigh({}, info([0.5, 0.1], [1.0, 2.0]), FACTS)

    assert set(weighted.factors) == {"duration"}
    assert weighted.loss_weight.tolist() == [1.0, 1.0]


def test_a_weight_is_cut_at_the_cap_and_counted():
    factor, capped, repaired = normalise(np.array([[1.0, 1.0, 1.0, 9.0], [3.0, 3.0, 3.0, 3.0]]), RunningMean(), cap=2.0)

    assert factor == pytest.approx(np.array([[1 / 3, 1 / 3, 1 / 3, 2.0], [1.0] * 4]))
    assert (list(capped), list(repaired)) == ([1, 0], [0, 0])


def test_a_weight_at_the_cap_is_not_cut():
    factor, capped, _ = normalise(np.array([[2.0] * 4, [4.0, 2.0, 6.0, 2.0]]), RunningMean(), cap=2.0)

    assert factor.tolist() == [[1.0] * 4, [2.0, 1.0, 2.0, 1.0]]
    assert factor.dtype == np.float32
    assert list(capped) == [0, 1]


def test_weights_whose_mean_has_no_reciprocal_are_zero_and_the_largest_is_good():
    tiny, _, _ = normalise(np.array([[1e-31, 1e-31]]), RunningMean(), cap=2.0)
    large, _, repaired = normalise(np.array([[1e30, 1e30, 1.1e30]]), RunningMean(), cap=2.0)

    assert tiny.tolist() == [[0.0, 0.0]]
    assert large == pytest.approx(np.ones((1, 3)))
    assert repaired == [1]


def test_a_batch_of_bad_weights_alone_counts_as_ones():
    mean = RunningMean()

    factor, _, repaired = normalise(np.array([[np.nan, -1.0]]), mean, cap=2.0)

    assert (factor.tolist(), repaired, mean.before(0.0)) == ([[1.0, 1.0]], [2], 1.0)


def test_the_factor_of_nothing_lost_is_shared_and_cannot_be_written():
    assert ones(3) is ones(3)
    assert (ones(3).dtype, ones(3).flags.writeable) == (np.float32, False)


def test_bad_weights_count_as_average_ones_and_poison_no_mean():
    mean = RunningMean()

    factor, _, repaired = normalise(np.array([[2.0, np.nan, np.inf, -1.0, 4.0]]), mean, cap=10.0)

    assert factor[0] == pytest.approx([2 / 3, 1.0, 1.0, 1.0, 4 / 3])
    assert repaired == [3]
    assert mean.before(0.0) == 3.0


def test_absurd_weights_count_as_average_ones_and_poison_no_mean():
    mean = RunningMean()

    factor, _, repaired = normalise(np.array([[1e308, 2.0, 1e308, 4.0]]), mean, cap=10.0)

    assert factor[0] == pytest.approx([1.0, 2 / 3, 1.0, 4 / 3])
    assert repaired == [2]
    assert mean.before(0.0) == 3.0


def test_behind_weights_of_zero_alone_a_batch_is_scaled_by_itself_and_capped():
    """Durations of 0 first: the mean is 0, and 1e5 s must not count 1e5 times."""
    weigher = Weigher(table("linear", sampler="fifo"), total_env_steps=1)
    nothing, something = info([0.25] * 4, [0.0] * 4), info([0.25] * 4, [0.0, 0.0, 1e5, 3e5])

    assert weigher.weigh({}, nothing, FACTS).loss_weight.tolist() == [0.0] * 4
    assert weigher.weigh({}, something, FACTS).loss_weight == pytest.approx([0.0, 0.0, 1.0, 2.0])


@settings(deadline=None)
@given(
    durations=arrays(np.float64, (3, 4), elements=st.one_of(st.sampled_from([0.0, 1e-300, 1e-6, 1e5, 1e300]), st.floats())),
    single=st.booleans(),
    ess_floor=st.sampled_from([0.0, 0.5]),
)
def test_no_weight_is_ever_negative_infinite_or_above_its_cap(durations: np.ndarray, single: bool, ess_floor: float):
    weigher = Weigher(table("linear", sampler="fifo"), total_env_steps=1, ess_floor=ess_floor)
    for batch in durations:
        facts = info([0.25] * 4, batch.tolist())
        with np.errstate(over="ignore"):
            facts = replace(facts, duration_s=facts.duration_s.astype(np.float32)) if single else facts
        weight = weigher.weigh({}, facts, FACTS).loss_weight
        assert ((weight >= 0.0) & (weight <= 2.0)).all(), weight


def test_a_running_mean_forgets_exponentially_behind_its_memory():
    mean = RunningMean(memory=2)

    assert [mean.before(value) for value in (4.0, 8.0, 2.0, 0.0)] == [4.0, 4.0, 6.0, 4.0]


@pytest.mark.parametrize("batch_size", [4, 32])
def test_the_running_normaliser_does_not_shrink_the_gradient(batch_size: int):
    """docs/duration.md: a batch's own mean gives .408 and .775 of the truth with pi = .8/.2, d = 1/20."""
    rng = np.random.default_rng(5)
    policy, mean_duration = np.array([0.8, 0.2]), np.array([1.0, 20.0])
    drawn = policy / mean_duration / (policy / mean_duration).sum()
    weigher = Weigher(table("linear", cap=1e9), total_env_steps=1)
    slow_weight = []
    for _ in range(4_000):
        slow = rng.random(batch_size) < drawn[1]
        batch = info([0.25] * batch_size, mean_duration[slow.astype(int)].tolist())
        slow_weight.append((weigher.weigh({}, batch, FACTS).loss_weight * slow).mean())

    truth = policy[1]
    error = np.std(slow_weight) / np.sqrt(len(slow_weight)) / truth
    assert np.mean(slow_weight[200:]) / truth == pytest.approx(1.0, abs=4.3 * error + 0.03)


@pytest.mark.parametrize(("ratio", "share"), [(2, 0.889), (5, 0.556), (10, 0.331), (20, 0.181), (100, 0.039)])
def test_effective_share_of_duration_weights_is_the_harmonic_over_the_arithmetic_mean(ratio: int, share: float):
    weight = np.array([1.0] * ratio + [ratio])  # consumed in proportion to 1/d

    assert effective_shares(weight[None])[0] == pytest.approx(share, abs=5e-4)


def test_no_weight_at_all_has_no_effective_share():
    assert effective_shares(np.zeros((1, 3))) == [0.0]
    assert effective_shares(np.full((1, 3), 2.0**-10)) == [1.0]  # however small they are


def test_the_floor_needs_the_exponent_that_the_theory_names():
    """docs/duration.md: ratio 20, floor .3 needs b = .83."""
    log_weight = np.log(np.array([1.0] * 20 + [20.0]))

    assert largest_exponent(log_weight, 0.3) == pytest.approx(0.83, abs=0.005)
    assert largest_exponent(log_weight + 500.0, 0.3) == pytest.approx(0.83, abs=0.005)  # shares know no scale
    assert largest_exponent(log_weight, 0.1) == 1.0


def test_the_floor_is_chosen_from_earlier_batches_and_keeps_the_share_above_it():
    weigher = Weigher(table("linear", cap=1e9), total_env_steps=1, ess_floor=0.3)
    durations = [1.0] * 20 + [20.0]

    first = weigher.weigh({}, info([0.25] * 21, durations), FACTS)
    second = weigher.weigh({}, info([0.25] * 21, durations), FACTS)

    assert first.ess_share == pytest.approx(0.181, abs=5e-4)
    assert second.ess_share == pytest.approx(0.3, abs=2e-3)
    assert weigher.exponent == pytest.approx(0.83, abs=0.005)


def test_the_floor_is_chosen_again_only_now_and_then_from_all_that_it_remembers():
    floor, even, uneven = EssFloor(0.3), np.ones(21), np.array([1.0] * 20 + [40.0])

    floor.temper({"duration": even})
    for _ in range(31):
        floor.temper({"duration": uneven})
        assert floor.exponent == 1.0
    floor.temper({"duration": uneven})

    assert floor.exponent == largest_exponent(np.log(np.concatenate([even, *[uneven] * 32])), 0.3)


def test_the_floor_remembers_no_bad_weights_and_is_silent_about_them():
    floor, good = EssFloor(0.3), [1.0] * 20 + [20.0]

    floor.temper({"duration": np.array([*good, 0.0, np.inf, np.nan, -1.0])})
    with np.errstate(invalid="raise"):
        tempered = floor.temper({"duration": np.array([-1.0, 4.0])})["duration"]

    assert floor.exponent == largest_exponent(np.log(good), 0.3)
    assert tempered == pytest.approx([np.nan, 4.0**floor.exponent], nan_ok=True)


@pytest.mark.parametrize("floor", [0.0, 1.0, -0.5])
def test_a_floor_that_no_weights_could_have_is_refused(floor: float):
    with pytest.raises(ValueError, match="floor"):
        EssFloor(floor)


def test_inclusion_has_no_answer_for_a_rule_that_is_not_known():
    losing = TableFacts(name="replay", inclusion_rule="whim", window_s=20.0)

    with pytest.raises(ConfigError, match="'whim'"):
        Weigher(table("inclusion"), 100).weigh({}, info([0.5], [1.0]), losing)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"weight": "nowhere.module:weigh"}, "cannot import weighting"),
    ],
)
def test_a_weighting_that_is_not_there_is_refused_at_construction(settings: dict[str, str], message: str):
    with pytest.raises(ConfigError, match=message):
        Weigher(table(**settings), 100)


@pytest.fixture
def own_weightings(tmp_path, monkeypatch: pytest.MonkeyPatch) -> str:
    (tmp_path / "own_weightings.py").write_text(
        "def by_cost(columns, info, facts):\n    return columns['cost'].sum(axis=1) + facts.items\n\n\n"
        "def scalar(columns, info, facts):\n    return info.duration_s.mean()\n\n\n"
        "def listed(columns, info, facts):\n    return [1, 3]\n\n\n"
        "def words(columns, info, facts):\n    return ['much', 'little']\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    return "own_weightings"


def test_a_weighting_from_outside_sees_extra_columns_and_facts(own_weightings: str):
    weigher = Weigher(table(f"{own_weightings}:by_cost", cap=10.0), 100)

    weighted = weigher.weigh({"cost": np.array([[1.0, 1.0], [3.0, 3.0]])}, info([0.25] * 2, [1.0, 1.0]), FACTS)

    assert weighted.factors["duration"] == pytest.approx([6 / 8, 10 / 8])


def test_a_weighting_must_return_one_weight_an_item(own_weightings: str):
    with pytest.raises(ConfigError, match=r"shape \(2,\), got \(\)"):
        Weigher(table(f"{own_weightings}:scalar"), 100).weigh({}, info([0.25] * 2, [1.0, 1.0]), FACTS)


def test_a_weighting_may_return_any_numbers(own_weightings: str):
    weighted = Weigher(table(f"{own_weightings}:listed", sampler="fifo", cap=10.0), 100).weigh(
        {}, info([0.25] * 2, [1.0, 1.0]), FACTS
    )

    assert weighted.loss_weight == pytest.approx([0.5, 1.5])


def test_a_weighting_that_asks_for_a_column_that_is_not_there_hears_which_there_are(own_weightings: str):
    with pytest.raises(
        ConfigError,
        match=r"raised KeyError: 'cost'; it gets columns duration_s, reward, the facts of the draws and those of the table$",
    ):
        Weigher(table(f"{own_weightings}:by_cost"), 100).weigh(
            {"reward": np.ones(2), "duration_s": np.ones(2)}, info([0.25] * 2, [1.0, 1.0]), FACTS
        )


def test_a_weighting_that_returns_no_numbers_is_named(own_weightings: str):
    with pytest.raises(ConfigError, match=r"own_weightings:words.*must return numbers"):
        Weigher(table(f"{own_weightings}:words"), 100).weigh({}, info([0.25] * 2, [1.0, 1.0]), FACTS)
