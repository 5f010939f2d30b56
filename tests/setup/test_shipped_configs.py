"""Every shipped configuration loads with every profile, names a real environment and samples by priority."""

from pathlib import Path

import gymnasium as gym
import pytest

from replay.shard import check_durable_budget, row_bytes
from sojourn.config.load import load_config, profile_names
from sojourn.environments import make_environment, schema_of

CONFIGS = Path(__file__).parents[2] / "configs"
FILES = sorted(CONFIGS.glob("*.yaml"))


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
@pytest.mark.parametrize("profile", ["laptop", "gpu", "cluster"])
def test_a_shipped_configuration_loads_with_every_profile(file, profile):
    config = load_config(file, [f"profile={profile}"])
    assert config.run.expected_return is not None
    assert {table.sampler for table in config.tables.values()} == {"prioritised"}


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_a_shipped_configuration_fits_its_environment(file):
    config = load_config(file, [])
    environment = make_environment(config.environment)
    discrete = isinstance(environment.action_space, gym.spaces.Discrete)
    assert config.algorithm.name == ("dqn" if discrete else "sac")
    check_durable_budget(config, row_bytes(schema_of(environment, config, config.environment)))
    environment.close()


def test_all_promised_tasks_and_profiles_are_shipped():
    tasks = {"pendulum", "halfcheetah", "hopper", "walker2d", "ant", "humanoid", "cartpole", "pixels"}
    assert {file.stem for file in FILES} >= tasks
    assert profile_names(CONFIGS) == ["cluster", "gpu", "laptop"]
