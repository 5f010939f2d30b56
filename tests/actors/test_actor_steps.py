"""A step that breaks the environment's promise is a fault with the values, never a row."""

from collections.abc import Callable
from typing import Any

import gymnasium as gym
import numpy as np
import pytest

from actors.steps import CheckedEnvironment, _Leaf, make_checked
from sojourn.config import Config
from sojourn.environments import describe
from sojourn.errors import EnvironmentFault

ACTION = np.zeros(2, np.float32)


def checked(config: Config) -> CheckedEnvironment:
    schema = describe(config.environment, config)
    environment = make_checked(config.environment, schema, simulated_clock=config.duration.clock == "env")
    environment.reset(5)
    return environment


@pytest.mark.parametrize(
    ("fault", "sentence"),
    [
        ("raise", "step raised RuntimeError: the robot fell over"),
        ("sysexit", "step raised SystemExit: 1"),
        ("nan", "observation holds nan at flat index 1"),
        ("inf", "observation holds inf at flat index 1"),
        ("reward", "reward is nan"),
        ("huge reward", r"reward -1e\+39 is larger than the float32"),
        ("shape", r"observation has shape \(4,\), the space says \(3,\)"),
        ("dtype", "observation has dtype <U32, stored is float32"),
        ("tuple", "step raised ValueError: not enough values"),
    ],
)
def test_each_broken_promise_is_named(configured: Callable[..., Config], fault: str, sentence: str):
    environment = checked(configured({"fault": fault, "fault_at": 2}))
    environment.step(ACTION, 0.0)
    with pytest.raises(EnvironmentFault, match=sentence):
        environment.step(ACTION, 0.0)


@pytest.mark.parametrize(
    ("returned", "sentence"),
    [
        (
            (np.zeros(3), 0.0, np.array([True, False]), False, {}),
            "step returned what cannot be read: ValueError: The truth value",
        ),
        ((np.zeros(3), 0.0, False, False, None), "step returned what cannot be read: TypeError: argument of type 'NoneType'"),
        ((np.zeros(3), np.array([1.0, 2.0]), False, False, {}), "reward .* is no number"),
        ((None, 0.0, False, False, {}), "observation has shape"),
    ],
)
def test_whatever_a_step_returns_only_its_slot_ends(configured: Callable[..., Config], returned: Any, sentence: str):
    extras = [{"name": "cost", "dtype": "float32"}]
    environment = checked(configured({"extras": extras}))
    environment.environment.unwrapped.step = lambda action: returned
    with pytest.raises(EnvironmentFault, match=sentence):
        environment.step(ACTION, 0.0)


@pytest.mark.parametrize("reward", [np.array([2.5]), np.array(2.5, np.float32), np.float16(2.5), 2.5])
def test_a_reward_may_be_an_array_of_one_number(configured: Callable[..., Config], reward: Any):
    environment = checked(configured({}))
    environment.environment.unwrapped.step = lambda action: (np.zeros(3), reward, np.array([True]), False, {})
    outcome = environment.step(ACTION, 0.0)
    assert (outcome.reward, outcome.terminated) == (2.5, True)


def test_a_reset_without_an_info_is_a_fault(configured: Callable[..., Config]):
    environment = checked(configured({"extras": [{"name": "level", "dtype": "int64", "scope": "episode"}]}))
    environment.environment.unwrapped.reset = lambda **_: (np.zeros(3), None)
    with pytest.raises(EnvironmentFault, match="reset returned what cannot be read: TypeError"):
        environment.reset(1)


def test_a_float64_that_overflows_its_stored_float32_is_a_fault(configured: Callable[..., Config]):
    environment = checked(configured({}))
    environment.environment.unwrapped._observe = lambda: np.array([1e300, 0.0, 0.0])
    with pytest.raises(EnvironmentFault, match="observation holds inf at flat index 0"), np.errstate(over="ignore"):
        environment.step(ACTION, 0.0)


def test_an_integer_that_its_stored_dtype_cannot_hold_is_a_fault(configured: Callable[..., Config]):
    narrow = gym.spaces.Box(-100, 100, (2,), np.int16)
    leaf = _Leaf("observation", narrow, "int16")
    assert leaf.checked(np.array([100, -100], np.int64)).tolist() == [100, -100]
    with pytest.raises(EnvironmentFault, match="more than its stored int16 holds"):
        leaf.checked(np.array([0, 70_000], np.int64))


@pytest.mark.filterwarnings("ignore:overflow encountered")  # NumPy says once that the quick check did not suffice
def test_large_finite_values_are_no_fault(configured: Callable[..., Config]):
    environment = checked(configured({}))
    environment.environment.unwrapped._observe = lambda: np.full(3, 3e38)
    assert environment.step(ACTION, 0.0).observation["observation"].tolist() == np.full(3, 3e38, np.float32).tolist()


def test_a_value_outside_a_discrete_space_is_a_fault():
    config = Config.model_validate({"environment": {"id": "sojourn/Match-v0", "kwargs": {"observation": "discrete"}}})
    environment = checked(config)
    environment.environment.unwrapped._observe = lambda cell: 9
    with pytest.raises(EnvironmentFault, match=r"observation is 9, outside Discrete\(9\)"):
        environment.step(ACTION, 0.0)


def test_wall_clock_durations_are_measured_and_simulated_ones_are_read(configured: Callable[..., Config]):
    config = configured({"slow_s": 0.02})
    measured = checked(config)
    started_s = measured.finished_at_s
    outcome = measured.step(ACTION, started_s)
    assert outcome.duration_s == measured.finished_at_s - started_s
    simulated = checked(config.model_copy(update={"duration": config.duration.model_copy(update={"clock": "env"})}))
    assert simulated.step(ACTION, started_s).duration_s == 101.0


@pytest.mark.parametrize("said", [{}, *({"duration_s": value} for value in (-1.0, float("nan"), float("inf"), 1.1e9, "long"))])
def test_a_simulated_duration_that_is_none_is_a_fault(said: dict):
    config = Config.model_validate({"environment": {"id": "Pendulum-v1"}, "duration": {"clock": "env"}})
    schema = describe(config.environment, config)
    environment = gym.make("Pendulum-v1")
    environment.step = lambda action: (np.zeros(3, np.float32), 0.0, False, False, said)
    with pytest.raises(EnvironmentFault, match="duration_s"):
        CheckedEnvironment(environment, schema, config.environment, simulated_clock=True).step(ACTION, 0.0)


def test_extras_are_read_by_scope(configured: Callable[..., Config]):
    extras = [
        {"name": "level", "dtype": "int64", "scope": "episode"},
        {"name": "parts", "dtype": "int32", "ragged_max": 4},
        {"name": "pair", "shape": (2,)},
    ]
    config = configured({"extras": extras})
    schema = describe(config.environment, config)
    environment = make_checked(config.environment, schema)
    environment.reset(1)
    assert environment.reset(2).extras["level"] == 10
    outcome = environment.step(ACTION, 0.0)
    assert {name: value.tolist() for name, value in outcome.extras.items()} == {"parts": [0], "pair": [1.0, -1.0]}


def test_an_unknown_environment_is_named_before_anything_starts():
    config = Config.model_validate({"environment": {"id": "HalfCheeta-v5"}})
    with pytest.raises(EnvironmentFault, match="did you mean HalfCheetah-v5"):
        describe(config.environment, config)
