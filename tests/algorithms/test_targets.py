"""n-step targets against sums written out step by step, and against literal values."""

import math

import pytest
import torch

from sojourn.algorithms.targets import TargetRule, bootstrapped, n_step_sums, reward_factors, step_discounts

ONES = torch.ones(1, 3)


def slow_target(
    rule: TargetRule, reward: list[float], duration: list[float], length: int, terminated: bool, value: float
) -> float:
    """Section 6 of the theory, one step at a time."""
    total, gamma_to_here = 0.0, 1.0
    for k in range(length):
        if rule.objective == "per_attempt":
            g = rule.discount
        else:
            g = math.exp(math.log(rule.discount) / rule.time_unit_s * duration[k])
        c = {"start": 1.0, "end": g, "spread": (1 - g) / -math.log(g)}[rule.reward_timing]
        total += gamma_to_here * c * reward[k]
        gamma_to_here *= g
    return total + gamma_to_here * (0.0 if terminated else 1.0) * value


@pytest.mark.parametrize("objective", ["per_attempt", "discounted_in_time"])
@pytest.mark.parametrize("timing", ["start", "end", "spread"])
def test_targets_equal_the_sum_written_out_on_irregular_durations(objective, timing):
    rule = TargetRule(0.9, objective, 2.0, timing)
    generator = torch.Generator().manual_seed(3)
    reward = torch.randn(20, 5, generator=generator, dtype=torch.float64)
    duration = 3.0 * torch.rand(20, 5, generator=generator, dtype=torch.float64)
    length = torch.randint(1, 6, (20,), generator=generator)
    terminated = torch.rand(20, generator=generator) < 0.5
    value = torch.randn(20, generator=generator, dtype=torch.float64)
    columns = {"duration_s": duration, "mask": torch.arange(5) < length[:, None], "terminated": terminated}
    expected = [
        slow_target(rule, reward[b].tolist(), duration[b].tolist(), int(length[b]), bool(terminated[b]), float(value[b]))
        for b in range(20)
    ]
    torch.testing.assert_close(rule.target(reward, columns, value), torch.tensor(expected, dtype=torch.float64))


def test_the_rule_is_the_configured_one(make_config):
    given = {"objective": "discounted_in_time", "reward_timing": "spread", "duration": {"time_unit_s": 3.0}}
    rule = TargetRule.of(make_config(algorithm={"name": "sac", "discount": 0.875}, **given))
    assert rule == TargetRule(0.875, "discounted_in_time", 3.0, "spread")


def test_three_steps_at_a_half():
    reward = torch.tensor([[1.0, 2.0, 4.0]])
    total, discount = n_step_sums(reward, 0.5 * ONES, ONES, torch.ones(1, 3, dtype=torch.bool))
    assert total.tolist() == [1.0 + 1.0 + 1.0]
    assert discount.tolist() == [0.125]


def test_steps_behind_an_early_end_do_not_count_whatever_they_hold():
    reward = torch.tensor([[1.0, 2.0, torch.nan]])
    step_discount = torch.tensor([[0.5, 0.5, torch.nan]])
    total, discount = n_step_sums(reward, step_discount, ONES, torch.tensor([[True, True, False]]))
    assert total.tolist() == [2.0]
    assert discount.tolist() == [0.25]


def test_truncation_bootstraps_and_termination_does_not():
    terminated = torch.tensor([False, True])  # the first was truncated: its flag is False
    target = bootstrapped(torch.tensor([1.0, 1.0]), torch.tensor([0.5, 0.5]), terminated, torch.tensor([10.0, torch.inf]))
    assert target.tolist() == [6.0, 1.0]


def test_a_unit_of_time_discounts_like_a_step():
    duration = torch.tensor([[2.0, 1.0, 0.0]])
    discounts = step_discounts(duration, 0.9, 1.0, "discounted_in_time")
    torch.testing.assert_close(discounts, torch.tensor([[0.81, 0.9, 1.0]]))
    assert step_discounts(torch.ones(1, 1, dtype=torch.float64), 0.9, 1.0, "discounted_in_time").item() == 0.9


@pytest.mark.parametrize("discount", [0.0, 1.0])
def test_extreme_discounts_stay_finite(discount):
    duration = torch.tensor([[0.0, 1.0, 300.0]])
    for objective in ("per_attempt", "discounted_in_time"):
        g = step_discounts(duration, discount, 1.0, objective)
        for timing in ("start", "end", "spread"):
            assert torch.isfinite(reward_factors(g, timing)).all()


def test_a_spread_reward_is_the_integral_of_its_discount():
    g = torch.tensor([[0.3, 0.9, 1.0]], dtype=torch.float64)
    moments = torch.linspace(0, 1, 100_001, dtype=torch.float64)
    integral = torch.stack([torch.trapezoid(value**moments, moments) for value in g[0]])
    torch.testing.assert_close(reward_factors(g, "spread")[0], integral, rtol=1e-8, atol=1e-8)


def test_per_second_discounts_each_attempt_and_knows_no_moment_inside_of_it():
    rule = TargetRule(0.5, "per_second", 1.0, "end")
    columns = {
        "duration_s": torch.tensor([[9.0, 9.0]]),
        "mask": torch.ones(1, 2, dtype=torch.bool),
        "terminated": torch.tensor([False]),
    }
    assert rule.target(torch.tensor([[1.0, 2.0]]), columns, torch.tensor([8.0])).tolist() == [1.0 + 1.0 + 2.0]
