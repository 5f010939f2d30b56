"""What networks give without torch equals what they give in torch, for every kind that is known, and newly loaded parameters count."""

from collections.abc import Callable
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch

from sojourn.algorithms import Policy, build_algorithm, build_policy
from sojourn.algorithms.gaussian import squashed_numpy
from sojourn.algorithms.warm_up import exercise
from sojourn.columns import Schema
from sojourn.config import Config
from sojourn.networks import FEW, forward_pass
from sojourn.networks.forward import dense

NUMBERS = gym.spaces.Box(-np.inf, np.inf, (5,), np.float32)
SEVERAL = gym.spaces.Dict(
    {"far": NUMBERS, "flags": gym.spaces.MultiBinary(3), "near": gym.spaces.Box(-1.0, 1.0, (2, 3), np.float64)}
)
VECTOR = gym.spaces.Box(-1.0, 1.0, (2,), np.float32)
CHOICE = gym.spaces.Discrete(3)

MakeConfig, MakeSchema, Draw = Callable[..., Config], Callable[..., Schema], Callable[..., dict[str, torch.Tensor]]


def in_torch(policy: Policy, columns: dict[str, torch.Tensor]) -> np.ndarray:
    with torch.inference_mode():
        outputs = policy.encoder(columns)
        for module in policy.trunk():
            outputs = module(outputs)
    result: np.ndarray = outputs[0].numpy()
    return result


def observed(policy: Policy, columns: dict[str, torch.Tensor]) -> None:
    """Take observations into the running moments."""
    policy.encoder.observe(columns, torch.ones(len(next(iter(columns.values())))))


@pytest.mark.parametrize(
    ("algorithm", "action", "observation", "sections"),
    [
        ("sac", VECTOR, NUMBERS, {}),
        ("sac", VECTOR, SEVERAL, {}),
        ("sac", VECTOR, NUMBERS, {"environment": {"normalise_observation": True}}),
        ("sac", VECTOR, SEVERAL, {"environment": {"normalise_observation": True}}),
        *(("sac", VECTOR, NUMBERS, {"network": {"activation": name}}) for name in ("tanh", "elu", "silu")),
        ("dqn", CHOICE, NUMBERS, {"network": {"hidden": ()}}),
        ("ppo", CHOICE, NUMBERS, {"network": {"hidden": (7, 40)}}),
        ("vtrace", VECTOR, SEVERAL, {}),
    ],
)
@pytest.mark.parametrize("size", [1, 3, FEW])
def test_outputs_are_those_of_torch(
    make_config: MakeConfig,
    make_schema: MakeSchema,
    random_columns: Draw,
    algorithm: str,
    action: gym.Space,
    observation: gym.Space,
    sections: dict[str, Any],
    size: int,
) -> None:
    policy = build_policy(make_config(algorithm=algorithm, **sections), make_schema(observation, action))
    run = forward_pass(policy.encoder, policy.trunk())
    assert run is not None
    columns = random_columns(observation, "observation", size)
    arrays = {name: leaf.numpy() for name, leaf in columns.items()}
    np.testing.assert_allclose(run(arrays), in_torch(policy, columns), rtol=1e-5, atol=1e-5)
    observed(policy, random_columns(observation, "observation", 64, seed=1))
    np.testing.assert_allclose(run(arrays), in_torch(policy, columns), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("observation", "network"),
    [
        (gym.spaces.Box(0, 255, (8, 8, 3), np.uint8), {}),
        (gym.spaces.Discrete(4), {}),
        (gym.spaces.Tuple((NUMBERS, gym.spaces.Discrete(4))), {}),
        (NUMBERS, {"layer_norm": True}),
    ],
)
def test_what_only_torch_knows_is_left_to_torch(
    make_config: MakeConfig, make_schema: MakeSchema, random_columns: Draw, observation: gym.Space, network: dict[str, Any]
) -> None:
    policy = build_policy(make_config(network=network), make_schema(observation, VECTOR))
    assert forward_pass(policy.encoder, policy.trunk()) is None
    columns = {name: leaf.numpy() for name, leaf in random_columns(observation, "observation", 3).items()}
    acted = policy.act(columns, deterministic=True, learner_step=1, env_steps=0, rng=np.random.default_rng(0))
    assert acted.action["action"].shape == (3, 2)


def test_parameters_that_are_loaded_count_at_once(make_config: MakeConfig, make_schema: MakeSchema, random_columns: Draw) -> None:
    config, schema = make_config(environment={"normalise_observation": True}), make_schema(NUMBERS, VECTOR)
    policy, other = build_policy(config, schema), build_algorithm(config, schema, "cpu", 7).policy
    columns = random_columns(NUMBERS, "observation", 3)
    observed(other, random_columns(NUMBERS, "observation", 64, seed=1))

    def mode(acting: Policy) -> np.ndarray:
        rng = np.random.default_rng(0)
        arrays = {name: leaf.numpy() for name, leaf in columns.items()}
        return acting.act(arrays, deterministic=True, learner_step=1, env_steps=0, rng=rng).action["action"]

    assert not np.allclose(mode(policy), mode(other))
    policy.load(other.dump())
    np.testing.assert_array_equal(mode(policy), mode(other))


def test_every_kernel_of_acting_is_compiled_by_the_warm_up() -> None:
    exercise()
    assert all(compiled.signatures for compiled in (dense, squashed_numpy))
