"""Every shipped configuration loads with every profile, names a real environment and samples as its algorithm learns."""

from pathlib import Path

import gymnasium as gym
import pytest

from replay.shard import check_durable_budget, row_bytes
from sojourn.algorithms import build_algorithm
from sojourn.config.load import load_config, profile_names
from sojourn.environments import make_environment, schema_of

CONFIGS = Path(__file__).parents[2] / "configs"
ON_POLICY = ("vtrace", "ppo")
FILES = sorted(CONFIGS.glob("*.yaml"))


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
@pytest.mark.parametrize("profile", ["laptop", "gpu", "cluster"])
def test_a_shipped_configuration_loads_with_every_profile(file, profile):
    config = load_config(file, [f"profile={profile}"])
    assert config.run.expected_return is not None
    wanted = ("fifo", True) if config.algorithm.name in ON_POLICY else ("prioritised", False)
    assert {(table.sampler, table.consume) for table in config.tables.values()} == {wanted}


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_a_shipped_configuration_fits_its_environment(file):
    config = load_config(file, [])
    environment = make_environment(config.environment)
    discrete = isinstance(environment.action_space, gym.spaces.Discrete)
    assert config.algorithm.name in (*ON_POLICY, "dqn" if discrete else "sac")
    build_algorithm(config, schema_of(environment, config, config.environment), "cpu", 0)
    check_durable_budget(config, row_bytes(schema_of(environment, config, config.environment)))
    environment.close()


def test_all_promised_tasks_and_profiles_are_shipped():
    tasks = {
        "pendulum",
        "halfcheetah",
        "hopper",
        "walker2d",
        "ant",
        "humanoid",
        "cartpole",
        "pixels",
        "arms",
        "cartpole_ppo",
        "mixed_fleet",
    }
    assert {file.stem for file in FILES} >= tasks
    assert profile_names(CONFIGS) == ["cluster", "gpu", "laptop"]


def test_in_the_mixed_fleet_a_tenth_of_the_slots_is_ten_times_slower():
    actors = load_config(CONFIGS / "mixed_fleet.yaml", []).actors
    fleets = {fleet.speed_class: fleet for fleet in (actors, *actors.fleets.values())}
    slots = {name: fleet.replicas * fleet.environments for name, fleet in fleets.items()}
    assert slots == {"fast": 9, "slow": 1}
    assert fleets["slow"].environment.kwargs["mean_s"] == 10 * fleets["fast"].environment.kwargs["mean_s"]
    for fleet in fleets.values():
        make_environment(fleet.environment).close()
