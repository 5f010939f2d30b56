"""Every kind of observation and action trains: one update and one action each, stacked frames included."""

import numpy as np
import pytest
import torch
from gymnasium import spaces

from sojourn.algorithms import build_algorithm, build_policy
from sojourn.environments.match import ACTIONS, OBSERVATIONS
from sojourn.errors import ConfigError

NESTED = spaces.Dict(
    {
        "camera": spaces.Box(0, 255, (3, 20, 24), np.uint8),
        "body": spaces.Tuple((spaces.Box(-np.inf, np.inf, (2, 3), np.float64), spaces.MultiBinary(4))),
        "mode": spaces.Discrete(3, start=2),
    }
)
FLOATS_AND_IMAGES = spaces.Dict({"camera": OBSERVATIONS["image"], "position": OBSERVATIONS["vector"]})


def trains(config, schema, batch) -> None:
    """An update changes the policy and gives finite numbers; the policy, carried over, gives actions of the space."""
    algorithm = build_algorithm(config, schema, "cpu", 0)
    before = algorithm.policy.dump()
    update = algorithm.update(batch)
    assert torch.isfinite(update.priority).all()
    assert all(np.isfinite(float(value)) for value in update.metrics.values())
    assert algorithm.policy.dump() != before
    policy = build_policy(config, schema)
    policy.load(algorithm.policy.dump())
    observation = {name: leaf.numpy() for name, leaf in batch.columns.items() if name.startswith("observation")}
    acted = policy.act(observation, deterministic=False, learner_step=1, env_steps=0, rng=np.random.default_rng(0))
    stored = {column.name: column for column in schema.action_columns()}
    assert {name: (leaf.dtype.name, leaf.shape[1:]) for name, leaf in acted.action.items()} == {
        name: (column.dtype, column.shape) for name, column in stored.items()
    }
    assert np.isfinite(acted.log_prob).all()


@pytest.mark.parametrize("observation", [*OBSERVATIONS, "nested"])
@pytest.mark.parametrize("action", ["box", "multi_discrete"])
def test_every_observation_trains_under_both_algorithms(make_config, make_schema, random_batch, observation, action):
    schema = make_schema(NESTED if observation == "nested" else OBSERVATIONS[observation], ACTIONS[action])
    environment = {"normalise_observation": True, "normalise_reward": True}
    config = make_config(algorithm="sac" if action == "box" else "dqn", environment=environment)
    trains(config, schema, random_batch(schema, steps=3))


@pytest.mark.parametrize("action", ACTIONS)
def test_every_action_trains(make_config, make_schema, random_batch, action):
    schema = make_schema(OBSERVATIONS["vector"], ACTIONS[action])
    trains(make_config(algorithm="sac" if action == "box" else "dqn"), schema, random_batch(schema))


@pytest.mark.parametrize("algorithm", ["sac", "dqn"])
def test_stacked_frames_train(make_config, make_schema, random_batch, algorithm):
    schema = make_schema(FLOATS_AND_IMAGES, ACTIONS["box" if algorithm == "sac" else "discrete"], frame_stack=4)
    config = make_config(algorithm=algorithm, network={"hidden": (16, 16), "layer_norm": True, "activation": "silu"})
    trains(config, schema, random_batch(schema))


def test_the_critics_train_the_encoder_and_the_actor_does_not(make_config, make_schema, random_batch):
    schema = make_schema(OBSERVATIONS["image"], ACTIONS["box"])
    algorithm = build_algorithm(make_config(), schema, "cpu", 0)
    critics, actor = algorithm.parts["critic_optimiser"].parameters, algorithm.parts["actor_optimiser"].parameters
    encoder = {id(parameter) for parameter in algorithm.policy.encoder.parameters()}
    assert encoder <= {id(parameter) for parameter in critics}
    assert encoder.isdisjoint(id(parameter) for parameter in actor)


def test_an_algorithm_from_outside_must_be_one(make_config, make_schema):
    schema = make_schema(OBSERVATIONS["vector"], ACTIONS["box"])
    with pytest.raises(ConfigError, match="must be a subclass of"):
        build_policy(make_config(algorithm="collections:OrderedDict"), schema)
    outside = make_config(algorithm="sojourn.algorithms.sac:Missing")
    with pytest.raises(ConfigError, match="cannot find algorithm"):
        build_policy(outside, schema)
