"""SAC: losses by literal values, what an update may and may not change, and that it solves a one-step problem."""

import math

import numpy as np
import pytest
import torch
from gymnasium import spaces

from sojourn.algorithms import TrainBatch, build_algorithm, build_policy
from sojourn.algorithms.base import weighs_policy_only
from sojourn.algorithms.sac import actor_loss, critic_loss, soft_value, temperature_loss
from sojourn.errors import ConfigError, ContractError

OBSERVATION = spaces.Box(-1.0, 1.0, (3,))
ACTION = spaces.Box(np.float32([-2.0, 0.0]), np.float32([2.0, 1.0]))
WEIGHT = torch.tensor([1.0, 3.0])


def copied(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {name: tensor.clone() for name, tensor in tensors.items()}


def test_critic_loss_by_hand():
    q, target = torch.tensor([[1.0, 2.0], [0.0, 5.0]]), torch.tensor([0.0, 4.0])
    # errors 1, -2 and 0, 1; weighted halves of squares: (1 + 12) / 2 / 2 and (0 + 3) / 2 / 2
    assert critic_loss(q, target, WEIGHT).item() == 3.25 + 0.75


def test_actor_loss_takes_the_lesser_critic_and_weighs_both_terms():
    q, log_prob = torch.tensor([[1.0, 2.0], [0.0, 5.0]]), torch.tensor([-2.0, 8.0])
    # 1 * (-1 - 0) and 3 * (4 - 2)
    assert actor_loss(log_prob, q, torch.tensor(0.5), WEIGHT).item() == (-1.0 + 6.0) / 2


def test_temperature_rises_when_entropy_is_below_its_target():
    log_temperature = torch.zeros((), requires_grad=True)
    loss = temperature_loss(log_temperature, torch.tensor([5.0, 5.0]), -2.0, WEIGHT)  # entropy -5, wanted -2
    loss.backward()
    assert log_temperature.grad.item() == -(3.0 + 9.0) / 2


def test_soft_value_and_its_centred_form():
    q, log_prob = torch.tensor([[1.0, 5.0], [2.0, 4.0]]), torch.tensor([-3.0, -1.0])
    assert soft_value(q, log_prob, torch.tensor(0.5), 0.0).tolist() == [2.5, 4.5]
    assert soft_value(q, log_prob, torch.tensor(0.5), -2.0).tolist() == [3.5, 5.5]


def test_discrete_actions_are_refused_with_the_right_algorithm(make_config, make_schema):
    with pytest.raises(ConfigError, match="algorithm: dqn"):
        build_policy(make_config(), make_schema(OBSERVATION, spaces.Discrete(3)))


def test_a_table_of_sequences_is_refused(make_config, make_schema):
    config = make_config(tables={"replay": {"item": "sequence"}})
    with pytest.raises(ConfigError, match=r"tables\.replay\.item: transition"):
        build_algorithm(config, make_schema(OBSERVATION, ACTION), "cpu", 0)


def test_the_critics_move_towards_the_target_that_the_rule_gives(make_config, make_schema, random_batch):
    """On terminated items the target is the reward alone, whatever next observation and entropy say."""
    schema = make_schema(OBSERVATION, ACTION)
    algorithm = build_algorithm(make_config(algorithm={"learning_rate": 0.01}), schema, "cpu", 0)
    batch = random_batch(schema, size=16)
    columns = {**batch.columns, "terminated": torch.ones(16, dtype=torch.bool)}
    for _ in range(300):
        update = algorithm.update(TrainBatch(columns, batch.loss_weight))
    assert update.priority.shape == (16,)
    assert update.priority.mean() < 0.05  # the mean over critics of |Q - r|


def test_priority_is_the_mean_over_critics_of_the_absolute_error(make_config, make_schema, random_batch):
    schema = make_schema(OBSERVATION, ACTION)
    algorithm = build_algorithm(make_config(), schema, "cpu", 0)
    batch = random_batch(schema)
    columns = {**batch.columns, "terminated": torch.ones(8, dtype=torch.bool)}
    with torch.no_grad():
        features = algorithm.policy.encoder(columns)
        q = algorithm.parts["critic"](features, algorithm.policy.actions.normalised(columns))
    expected = (q - columns["reward"][:, 0]).abs().mean(dim=0)
    torch.testing.assert_close(algorithm.update(TrainBatch(columns, batch.loss_weight)).priority, expected)


def test_items_of_weight_zero_move_nothing(make_config, make_schema, random_batch):
    schema = make_schema(OBSERVATION, ACTION)
    algorithm = build_algorithm(make_config(), schema, "cpu", 0)
    before = copied(algorithm.policy.state_dict()) | copied(algorithm.parts["critic"].state_dict())
    temperature = algorithm.parts["temperature"].log.item()
    algorithm.update(TrainBatch(random_batch(schema).columns, torch.zeros(8)))
    after = algorithm.policy.state_dict() | algorithm.parts["critic"].state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert algorithm.parts["temperature"].log.item() == temperature


def test_a_weight_for_values_alone_moves_the_critics_and_not_the_actor(make_config, make_schema, random_batch):
    schema = make_schema(OBSERVATION, ACTION)
    algorithm = build_algorithm(make_config(), schema, "cpu", 0)
    policy, critic = copied(algorithm.policy.state_dict()), copied(algorithm.parts["critic"].state_dict())
    algorithm.update(TrainBatch(random_batch(schema).columns, torch.zeros(8), value_weight=torch.ones(8)))
    assert all(torch.equal(tensor, algorithm.policy.state_dict()[name]) for name, tensor in policy.items())
    assert not all(torch.equal(tensor, algorithm.parts["critic"].state_dict()[name]) for name, tensor in critic.items())


@pytest.mark.parametrize(
    ("duration", "policy_only"),
    [
        ({"weight": "linear"}, True),
        ({"weight": "linear", "applies_to": "all"}, False),
        ({"weight": "linear", "apply": "draw"}, False),
        ({"weight": "inclusion"}, False),
    ],
)
def test_linear_applies_to_the_policy_unless_told_otherwise(make_config, duration, policy_only):
    assert weighs_policy_only(make_config(tables={"replay": {"duration": duration}}).tables["replay"]) is policy_only


def test_targets_follow_the_critics_at_the_configured_rate(make_config, make_schema, random_batch):
    schema = make_schema(OBSERVATION, ACTION)
    algorithm = build_algorithm(make_config(algorithm={"target_update_rate": 0.25}), schema, "cpu", 0)
    before = copied(algorithm.parts["target_critic"].state_dict())
    algorithm.update(random_batch(schema))
    online, target = algorithm.parts["critic"].state_dict(), algorithm.parts["target_critic"].state_dict()
    for name, old in before.items():
        torch.testing.assert_close(target[name], 0.75 * old + 0.25 * online[name])


def test_a_batch_that_is_not_finite_leaves_every_tensor_as_it_was(make_config, make_schema, random_batch):
    schema = make_schema(OBSERVATION, ACTION)
    algorithm = build_algorithm(make_config(), schema, "cpu", 0)
    algorithm.update(random_batch(schema))
    batch = random_batch(schema, seed=1)
    kept = ("critic.", "temperature.", "critic_optimiser.", "actor_optimiser.", "temperature_optimiser.")
    before = {name: tensor.clone() for name, tensor in algorithm.state().items() if name.startswith(kept)}
    policy = copied(algorithm.policy.state_dict())
    broken = {**batch.columns, "observation": torch.full_like(batch.columns["observation"], torch.nan)}
    update = algorithm.update(TrainBatch(broken, batch.loss_weight))
    assert update.metrics["skipped"].item() == 1
    assert not torch.isfinite(update.priority).any()
    assert all(torch.equal(tensor, algorithm.state()[name]) for name, tensor in before.items())
    assert all(torch.equal(tensor, algorithm.policy.state_dict()[name]) for name, tensor in policy.items())


def test_equal_seeds_give_equal_parameters_and_the_global_state_is_untouched(make_config, make_schema, random_batch):
    schema = make_schema(OBSERVATION, ACTION)
    global_state = torch.get_rng_state()
    one, two = (build_algorithm(make_config(), schema, "cpu", 7) for _ in range(2))
    for algorithm in (one, two):
        algorithm.update(random_batch(schema))
    assert torch.equal(torch.get_rng_state(), global_state)
    assert all(torch.equal(tensor, two.policy.state_dict()[name]) for name, tensor in one.policy.state_dict().items())


@pytest.mark.parametrize("environment", [{}, {"normalise_observation": True, "normalise_reward": True}])
def test_a_restored_algorithm_goes_on_bit_by_bit(make_config, make_schema, random_batch, environment):
    schema = make_schema(OBSERVATION, ACTION)
    config = make_config(environment=environment)
    straight, resumed = build_algorithm(config, schema, "cpu", 1), build_algorithm(config, schema, "cpu", 2)
    for seed in range(5):
        straight.update(random_batch(schema, seed=seed))
    resumed.policy.load(straight.policy.dump())
    resumed.load_state(copied(straight.state()))
    resumed.generator.set_state(straight.generator.get_state())
    for seed in range(5, 10):
        priorities = [algorithm.update(random_batch(schema, seed=seed)).priority for algorithm in (straight, resumed)]
        assert torch.equal(*priorities)
    assert resumed.learner_step == straight.learner_step == 10
    assert straight.policy.dump() == resumed.policy.dump()


def test_state_of_another_network_is_refused_by_name(make_config, make_schema):
    schema = make_schema(OBSERVATION, ACTION)
    wide = build_algorithm(make_config(network={"hidden": (64,)}), schema, "cpu", 0)
    narrow = build_algorithm(make_config(), schema, "cpu", 0)
    with pytest.raises(ContractError, match=r"critic does not fit: .* there and .* here"):
        narrow.load_state(wide.state())
    with pytest.raises(ContractError, match=r"body\.layers\.0\.weight is \[1, 3, 64\] there and \[1, 3, 32\] here"):
        narrow.policy.load(wide.policy.dump())


def test_an_untrained_policy_draws_uniform_actions_of_the_space(make_config, make_schema):
    policy = build_policy(make_config(), make_schema(OBSERVATION, ACTION))
    observation = {"observation": np.zeros((20_000, 3), np.float32)}
    acted = policy.act(observation, deterministic=False, learner_step=0, env_steps=0, rng=np.random.default_rng(0))
    np.testing.assert_allclose(acted.action["action"].mean(axis=0), [0.0, 0.5], atol=0.03)
    np.testing.assert_allclose(acted.action["action"].std(axis=0), [4 / math.sqrt(12), 1 / math.sqrt(12)], atol=0.03)
    np.testing.assert_allclose(acted.log_prob, -2 * math.log(2.0), rtol=1e-6)


def test_acting_depends_on_the_callers_generator_alone_and_its_mode_on_nothing(make_config, make_schema):
    policy = build_policy(make_config(), make_schema(OBSERVATION, ACTION))
    observation = {"observation": np.ones((4, 3), np.float64)}

    def act(deterministic: bool, seed: int) -> np.ndarray:
        rng = np.random.default_rng(seed)
        return policy.act(observation, deterministic=deterministic, learner_step=1, env_steps=0, rng=rng).action["action"]

    np.testing.assert_array_equal(act(False, 0), act(False, 0))
    assert (act(False, 0) != act(False, 1)).all()
    np.testing.assert_array_equal(act(True, 0), act(True, 1))


def test_a_policy_acts_as_the_one_that_was_published(make_config, make_schema, random_batch):
    schema = make_schema(OBSERVATION, ACTION)
    config = make_config(environment={"normalise_observation": True})
    algorithm = build_algorithm(config, schema, "cpu", 3)
    algorithm.update(random_batch(schema))
    policy = build_policy(config, schema)
    policy.load(algorithm.policy.dump())
    observation = {"observation": np.full((2, 3), 0.5, np.float32)}
    acted = [
        p.act(observation, deterministic=True, learner_step=1, env_steps=0, rng=np.random.default_rng(0))
        for p in (policy, algorithm.policy)
    ]
    np.testing.assert_array_equal(acted[0].action["action"], acted[1].action["action"])
    assert policy.state_dict()["encoder.leaf_encoders.0.moments.count"] > 0


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_sac_learns_where_to_reach(make_config, make_schema, precision):
    """One step: reward is minus the squared distance of the action from a place that the observation tells. Bounds: [-2, 2]."""
    schema = make_schema(spaces.Box(-1.0, 1.0, (1,)), spaces.Box(-2.0, 2.0, (1,)))
    learner = {"precision": precision}
    config = make_config(
        algorithm={"learning_rate": 3e-3, "target_entropy": -3.0}, network={"hidden": (64, 64)}, learners=learner
    )
    algorithm = build_algorithm(config, schema, "cpu", 0)
    rng = np.random.default_rng(0)

    def one_step(size: int, deterministic: bool) -> tuple[dict[str, torch.Tensor], np.ndarray]:
        place = rng.uniform(-1, 1, (size, 1)).astype(np.float32)
        acted = algorithm.policy.act(
            {"observation": place}, deterministic=deterministic, learner_step=algorithm.learner_step, env_steps=0, rng=rng
        )
        miss = np.square(acted.action["action"] - 1.5 * place)
        columns = {"observation": place, "next_observation": place, "action": acted.action["action"], "reward": -miss}
        ends = {"terminated": torch.ones(size, dtype=torch.bool), "mask": torch.ones(size, 1, dtype=torch.bool)}
        return {**{k: torch.from_numpy(v) for k, v in columns.items()}, **ends, "duration_s": torch.ones(size, 1)}, miss

    before = one_step(200, deterministic=True)[1].mean()
    for _ in range(400):
        algorithm.update(TrainBatch(one_step(64, deterministic=False)[0], torch.ones(64)))
    after = one_step(200, deterministic=True)[1].mean()
    assert after < 0.02 < before
