"""Environments whose actions take time: laws with the promised mean, durations that are said, time that passes or does not."""

import time

import gymnasium as gym
import numpy as np
import pytest

import sojourn.environments  # noqa: F401  registers the ids
from sojourn.environments.laws import Clock, Law
from sojourn.environments.slow import make_action_repeat


@pytest.mark.parametrize(
    ("name", "spread"), [("constant", 1.0), ("exponential", 1.0), ("lognormal", 0.7), ("pareto", 3.0), ("bimodal", 20.0)]
)
def test_every_law_has_mean_one_and_no_duration_of_zero(name, spread):
    rng, law = np.random.default_rng(1), Law(name, spread)
    drawn = np.array([law.draw(rng) for _ in range(60_000)])
    assert drawn.min() > 0
    assert drawn.mean() == pytest.approx(1.0, abs=4.3 * drawn.std() / len(drawn) ** 0.5 + 1e-9)


@pytest.mark.parametrize(("name", "spread"), [("weibull", 1.0), ("pareto", 1.0), ("bimodal", 0.5)])
def test_a_law_that_cannot_be_is_refused(name, spread):
    with pytest.raises(ValueError, match=r"law|spread"):
        Law(name, spread)


def test_the_real_clock_sleeps_and_the_simulated_one_only_says_so():
    assert Clock("simulated", 0.05).spend(2e9) == {"duration_s": 1e8}  # three years
    started_s = time.monotonic()
    assert Clock("real", 0.05).spend(2.0) == {"duration_s": 0.1}
    assert time.monotonic() - started_s >= 0.1


def test_an_arm_says_how_long_it_took_and_ends_the_episode():
    environment = gym.make("sojourn/Arms-v0", durations=(1.0, 20.0), rewards=(0.62, 0.67))
    environment.reset(seed=3)
    observation, reward, terminated, truncated, info = environment.step(1)
    assert (observation.tolist(), reward, terminated, truncated) == ([1.0], 0.67, True, False)
    assert info["duration_s"] == 20.0


def test_task_pools_draw_their_task_anew_or_keep_the_given_one():
    drawn = gym.make("sojourn/TaskPools-v0")
    tasks = [drawn.reset(seed=seed)[1]["task"] for seed in range(40)]
    assert set(tasks) == {0, 1}
    kept = gym.make("sojourn/TaskPools-v0", task=1)
    observation, info = kept.reset(seed=0)
    assert (observation.tolist(), info["task"]) == ([0.0, 1.0], 1)
    assert kept.step(0)[4] == {"duration_s": 10.0, "task": 1}


def test_slow_steps_leave_the_environment_as_it_was():
    plain, slow = gym.make("Pendulum-v1"), gym.make("sojourn/SlowSteps-v0", environment="Pendulum-v1", clock="simulated")
    first, second = plain.reset(seed=5)[0], slow.reset(seed=5)[0]
    assert np.array_equal(first, second)
    action = np.array([0.3], np.float32)
    stepped, waited = plain.step(action), slow.step(action)
    assert np.array_equal(stepped[0], waited[0])
    assert stepped[1] == waited[1]
    assert waited[4]["duration_s"] > 0


def test_a_slow_actor_stays_slow_and_a_share_of_the_fleet_is_slower():
    def mean_s(seed: int, **settings: object) -> float:
        environment = gym.make("sojourn/SlowSteps-v0", environment="Pendulum-v1", clock="simulated", mean_s=1.0, **settings)
        environment.reset(seed=seed)
        return float(np.mean([environment.step(np.zeros(1, np.float32))[4]["duration_s"] for _ in range(5)]))

    assert mean_s(1, per="actor") != mean_s(2, per="actor")
    fleet = [mean_s(seed, law="constant", slow_probability=0.3, slow_factor=10.0) for seed in range(60)]
    assert set(fleet) == {1.0, 10.0}


def test_action_repeat_sums_its_frames_and_says_their_time():
    plain = gym.make("HalfCheetah-v5")
    repeated = gym.make("sojourn/ActionRepeat-v0", environment="HalfCheetah-v5", most=4)
    plain.reset(seed=7)
    repeated.reset(seed=7)
    action = np.full(6, 0.2, np.float32)
    rewards = [plain.step(action)[1] for _ in range(3)]
    observation, reward, _, _, info = repeated.step(np.append(action, 0.25).astype(np.float32))
    assert info["frames"] == 3
    assert info["duration_s"] == pytest.approx(3 * 0.05)
    assert reward == pytest.approx(sum(rewards))
    assert observation.shape == plain.observation_space.shape


def test_action_repeat_in_real_time_takes_the_time_of_its_frames():
    repeated = gym.make("sojourn/ActionRepeat-v0", environment="Pendulum-v1", most=4, frame_s=0.01, clock="real")
    repeated.reset(seed=1)
    began_s = time.monotonic()
    _, _, _, _, info = repeated.step(np.array([0.0, 1.0], np.float32))
    assert info["duration_s"] == pytest.approx(0.04)
    assert time.monotonic() - began_s >= 0.04


def test_every_number_of_frames_has_an_equal_share_of_the_choice():
    wrapper = make_action_repeat("Pendulum-v1", most=4)
    counts = np.bincount([wrapper.frames_of(choice) for choice in np.linspace(-1, 1, 4001)])
    assert counts[1:] == pytest.approx([1000, 1000, 1000, 1001], abs=1)


def test_discounted_frames_are_summed_exactly():
    plain, repeated = (
        gym.make("Pendulum-v1"),
        gym.make("sojourn/ActionRepeat-v0", environment="Pendulum-v1", most=2, discount_per_frame=0.9),
    )
    plain.reset(seed=2)
    repeated.reset(seed=2)
    first, second = (plain.step(np.zeros(1, np.float32))[1] for _ in range(2))
    assert repeated.step(np.array([0.0, 1.0], np.float32))[1] == pytest.approx(first + 0.9 * second)


def test_action_repeat_of_discrete_actions_is_refused():
    with pytest.raises(ValueError, match="flat Box"):
        gym.make("sojourn/ActionRepeat-v0", environment="CartPole-v1")
