"""What a step is worth: discounts, traces and the running reward rate by literal values."""

import pytest
import torch

from sojourn.algorithms.objectives import RewardRate, StepObjective, start_to_start_s

ONE = torch.ones(1, 1)


def objective(make_config, algorithm: dict | None = None, **sections) -> StepObjective:
    config = make_config(algorithm={"name": "vtrace", "discount": 0.5, **(algorithm or {})}, **sections)
    return StepObjective(config, config.algorithm)


def test_per_attempt_discounts_every_step_alike(make_config):
    found = objective(make_config)
    assert found.rate is None
    worth = found.worth(2 * ONE, 7 * ONE, 8 * ONE, ONE)
    assert (worth.reward.item(), worth.discount.item(), worth.trace.item()) == (2.0, 0.5, 1.0)


@pytest.mark.parametrize(("timing", "reward"), [("start", 2.0), ("end", 0.5)])
def test_discounted_in_time_discounts_by_realised_seconds(make_config, timing, reward):
    duration = {"time_unit_s": 3.0}
    found = objective(make_config, objective="discounted_in_time", reward_timing=timing, duration=duration)
    worth = found.worth(2 * ONE, 6 * ONE, 7 * ONE, ONE)  # .5 ** (6 / 3)
    assert (worth.reward.item(), worth.discount.item()) == (reward, 0.25)


def test_a_trace_per_time_unit_fades_with_duration(make_config):
    settings = {"trace": 0.25, "trace_per": "time_unit"}
    found = objective(make_config, settings).worth(ONE, 0.5 * ONE, 3 * ONE, ONE)
    assert (found.trace.item(), found.discount.item()) == (0.5, 0.5)


def test_a_trace_per_step_fades_alike_however_long_steps_last(make_config):
    worth = objective(make_config, {"trace": 0.25, "trace_per": "step"}).worth(ONE, 0.5 * ONE, 3 * ONE, ONE)
    assert worth.trace.item() == 0.25


def test_per_second_pays_rewards_less_the_rate_read_before_the_batch(make_config):
    found = objective(make_config, objective="per_second")
    step = {
        "reward": torch.tensor([[6.0, 3.0]]),
        "duration_s": torch.full((1, 2), 0.5),
        "tau_s": torch.tensor([[1.0, 2.0]]),  # start to start
        "weight": torch.ones(1, 2),
    }
    first = found.worth(**step)
    assert first.reward.tolist() == [[6.0, 3.0]]  # no rate yet
    second = found.worth(**step)
    assert second.reward.tolist() == [[3.0, -3.0]]  # 9 / 3 a second
    assert second.discount.tolist() == [[1.0, 1.0]]
    assert second.trace.tolist() == [[1.0, 1.0]]


def test_the_rate_is_a_ratio_of_means_and_not_a_mean_of_ratios():
    rate = RewardRate(memory_batches=100)
    rate.observe(torch.tensor([1.0, 1.0, 99.0]), torch.tensor([1.0, 9.0, 99.0]), torch.tensor([1.0, 1.0, 0.0]))
    assert rate.value().item() == pytest.approx(0.2)  # 2 / 10; the mean of 1 / 1 and 1 / 9 would be .56


def test_the_rate_forgets_reward_and_seconds_alike():
    rate = RewardRate(memory_batches=4)
    rate.observe(torch.tensor([4.0]), torch.tensor([4.0]), torch.ones(1))
    rate.observe(torch.tensor([7.0]), torch.tensor([2.0]), torch.ones(1))
    assert rate.value().item() == (0.75 * 4.0 + 7.0) / (0.75 * 4.0 + 2.0)


def test_little_is_not_lost_beside_much():
    rate, steps = RewardRate(memory_batches=4), torch.tensor([2.0**24, 0.25])  # single precision would keep 2 ** 24
    rate.observe(steps, steps, torch.ones(2))
    assert rate.reward.item() == rate.seconds.item() == 2.0**24 + 0.25


def test_a_rate_of_less_than_a_second_is_a_rate():
    rate = RewardRate(memory_batches=4)
    rate.observe(torch.tensor([1.0]), torch.tensor([0.5]), torch.ones(1))
    assert rate.value().item() == 2.0
    assert rate.value().dtype == torch.float32


def test_a_step_lasts_until_the_next_start_where_actors_say_how_long_they_waited():
    assert start_to_start_s({"duration_s": 2 * ONE, "idle_s": 0.5 * ONE}).item() == 2.5
    assert start_to_start_s({"duration_s": 2 * ONE}).item() == 2.0
