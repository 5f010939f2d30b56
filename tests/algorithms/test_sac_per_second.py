"""SAC on reward per second: the rate of the newest policies, read before the batch, and a choice that only the clock decides."""

import numpy as np
import pytest
import torch
from gymnasium import spaces

from sojourn.algorithms import TrainBatch, build_algorithm
from sojourn.algorithms.sac import newest
from sojourn.errors import ConfigError

OBSERVATION = spaces.Box(-1.0, 1.0, (1,))
ACTION = spaces.Box(-1.0, 1.0, (1,))
PER_SECOND = {"objective": "per_second", "algorithm": {"name": "sac", "entropy": "centred", "learning_rate": 0.003}}


def terminated(reward, duration_s, waited_s, policy_version, action=None) -> TrainBatch:
    """Items of one step each, after which the episode ends."""
    size = len(reward)
    columns = {
        "observation": torch.ones(size, 1),
        "next_observation": torch.ones(size, 1),
        "action": torch.zeros(size, 1) if action is None else action[:, None],
        "reward": torch.tensor(reward)[:, None],
        "duration_s": torch.tensor(duration_s)[:, None],
        "idle_s": torch.tensor(waited_s)[:, None],
        "mask": torch.ones(size, 1, dtype=torch.bool),
        "terminated": torch.ones(size, dtype=torch.bool),
        "policy_version": torch.tensor(policy_version),
    }
    return TrainBatch(columns, torch.ones(size))


def test_the_newest_sixteenth_is_at_least_one_item_and_all_of_its_versions():
    assert newest(torch.tensor([3, 5, 5, 1])).tolist() == [False, True, True, False]
    assert newest(torch.arange(32)).nonzero().flatten().tolist() == [30, 31]
    assert newest(torch.arange(33)).nonzero().flatten().tolist() == [30, 31, 32]


def test_the_rate_counts_waits_and_the_newest_policy_alone_and_is_read_before_the_batch(make_config, make_schema):
    algorithm = build_algorithm(make_config(**PER_SECOND), make_schema(OBSERVATION, ACTION), "cpu", 0)
    batch = terminated([6.0, 3.0, 100.0], [1.0, 2.0, 1.0], [2.0, 1.0, 0.0], [7, 7, 3])
    found = algorithm._less_seconds(batch["reward"], batch)
    assert found.flatten().tolist() == [6.0, 3.0, 100.0]  # no rate yet
    assert algorithm.parts["reward_rate"].value().item() == 1.5  # 9 in 3 + 3 seconds
    again = algorithm._less_seconds(batch["reward"], batch)
    assert again.flatten().tolist() == [1.5, -1.5, 98.5]


def test_steps_behind_an_early_end_count_for_nothing_whatever_they_hold(make_config, make_schema):
    algorithm = build_algorithm(make_config(**PER_SECOND), make_schema(OBSERVATION, ACTION), "cpu", 0)
    batch = terminated([4.0], [2.0], [0.0], [1])
    columns = dict(batch.columns)
    for name, behind in (("reward", torch.nan), ("duration_s", torch.nan), ("idle_s", 5.0)):
        columns[name] = torch.cat((columns[name], torch.tensor([[behind]])), dim=1)
    columns["mask"] = torch.tensor([[True, False]])
    algorithm._less_seconds(columns["reward"], TrainBatch(columns, batch.loss_weight))
    assert algorithm.parts["reward_rate"].value().item() == 2.0


def test_an_entropy_bonus_for_every_action_is_refused(make_config, make_schema):
    config = make_config(objective="per_second")
    with pytest.raises(ConfigError, match=r"algorithm\.entropy: centred"):
        build_algorithm(config, make_schema(OBSERVATION, ACTION), "cpu", 0)


@pytest.mark.parametrize(("objective", "positive"), [("per_attempt", True), ("per_second", False)])
def test_the_clock_decides_between_a_quick_and_a_slow_better_action(make_config, make_schema, objective, positive):
    """Actions above 0 pay 1 in 10 seconds, those below .8 in 1 second: per attempt the slow one is better, per second the quick."""
    config = make_config(**{**PER_SECOND, "objective": objective})
    algorithm = build_algorithm(config, make_schema(OBSERVATION, ACTION), "cpu", 0)
    observation, rng = {"observation": np.ones((64, 1), np.float32)}, np.random.default_rng(0)
    for version in range(300):
        acted = algorithm.policy.act(observation, deterministic=False, learner_step=1, env_steps=0, rng=rng)
        action = torch.from_numpy(acted.action["action"][:, 0])
        slow = action > 0
        reward, seconds = torch.where(slow, 1.0, 0.8), torch.where(slow, 10.0, 1.0)
        algorithm.update(terminated(reward.tolist(), seconds.tolist(), [0.0] * 64, [version] * 64, action))
    chosen = algorithm.policy.act(observation, deterministic=True, learner_step=1, env_steps=0, rng=rng)
    assert (chosen.action["action"][0, 0] > 0) == positive


def test_n_step_targets_on_irregular_seconds_equal_the_sum_written_out(make_config, make_schema):
    config = make_config(**PER_SECOND, tables={"replay": {"n_step": 4}})
    algorithm = build_algorithm(config, make_schema(OBSERVATION, ACTION), "cpu", 0)
    generator = torch.Generator().manual_seed(5)
    draw = lambda: torch.rand(12, 4, generator=generator)  # noqa: E731
    length = torch.randint(1, 5, (12,), generator=generator)
    columns = {
        "reward": draw(),
        "duration_s": 10 ** (3 * draw() - 2),
        "idle_s": draw(),
        "mask": torch.arange(4) < length[:, None],
        "terminated": torch.rand(12, generator=generator) < 0.5,
        "policy_version": torch.zeros(12, dtype=torch.int64),
    }
    batch = TrainBatch(columns, torch.ones(12))
    algorithm._less_seconds(columns["reward"], batch)  # now there is a rate
    rho = algorithm.parts["reward_rate"].value().item()
    value = torch.rand(12, generator=generator)
    found = algorithm._rule.target(algorithm._less_seconds(columns["reward"], batch), columns, value)
    for item in range(12):
        steps = range(int(length[item]))
        tau_s = [(columns["duration_s"] + columns["idle_s"])[item, k].item() for k in steps]
        total = sum(0.99**k * (columns["reward"][item, k].item() - rho * tau_s[k]) for k in steps)
        total += 0.0 if columns["terminated"][item] else 0.99 ** len(steps) * value[item].item()
        assert found[item].item() == pytest.approx(total, rel=1e-5, abs=1e-5)
