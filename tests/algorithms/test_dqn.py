"""DQN: dueling, double and branching by hand, exploration, and that it solves a chain and a branching problem."""

import math

import numpy as np
import pytest
import torch
from gymnasium import spaces

from sojourn.algorithms import TrainBatch, build_algorithm, build_policy
from sojourn.algorithms.captured import updates_of
from sojourn.algorithms.dqn import QNetwork, exploration, q_of, td_loss
from sojourn.config.algorithms import DqnSettings
from sojourn.errors import ConfigError

OBSERVATION = spaces.Discrete(5)


def dqn(**settings) -> dict:
    return {"name": "dqn", "learning_rate": 3e-3, **settings}


def act(policy, size: int, *, deterministic=False, learner_step=1, env_steps=0, seed=0):
    observation = {"observation": np.zeros(size, np.int64)}
    rng = np.random.default_rng(seed)
    return policy.act(observation, deterministic=deterministic, learner_step=learner_step, env_steps=env_steps, rng=rng)


def test_exploration_fades_linearly_and_stays():
    settings = DqnSettings(exploration_start=1.0, exploration_end=0.2, exploration_env_steps=100)
    assert [round(exploration(settings, steps), 6) for steps in (0, 50, 100, 1000)] == [1.0, 0.6, 0.2, 0.2]


def test_loss_is_huber_over_branches_and_weighted_over_items():
    q, target = torch.tensor([[0.0, 3.0], [1.0, 1.0]]), torch.tensor([1.0, 1.0])
    # huber(1) = .5, huber(2) = 1.5: mean 1; the other item has no error
    assert td_loss(q, target, torch.tensor([3.0, 5.0])).item() == 3.0 * 1.0 / 2


def test_dueling_advantages_have_mean_zero_in_each_branch_and_missing_choices_are_never_best(make_config):
    torch.manual_seed(0)
    network = QNetwork(4, [3, 2], make_config(algorithm=dqn()), dueling=True)
    features = torch.randn(6, 4)
    q = network(features)
    value = network.value(network.body(features)[0])
    torch.testing.assert_close(q[:, 0].mean(dim=1), value[:, 0])
    torch.testing.assert_close(q[:, 1, :2].mean(dim=1), value[:, 0])
    assert (q[:, 1, 2] == -torch.inf).all()


def test_q_of_picks_the_chosen_value_of_each_branch():
    q = torch.tensor([[[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]])
    assert q_of(q, torch.tensor([[2, 0]])).tolist() == [[3.0, 4.0]]


@pytest.mark.parametrize(("double", "expected"), [(True, 10.0), (False, 20.0)])
def test_double_lets_the_online_network_choose_and_the_target_value(make_config, make_schema, random_batch, double, expected):
    schema = make_schema(OBSERVATION, spaces.Discrete(2))
    algorithm = build_algorithm(make_config(algorithm=dqn(double=double, dueling=False, discount=0.5)), schema, "cpu", 0)
    for network, bias in ((algorithm.policy.q, [1.0, 0.0]), (algorithm.parts["target_q"], [10.0, 20.0])):
        torch.nn.init.zeros_(network.advantage.weight)
        network.advantage.bias.data = torch.tensor(bias)
    batch = random_batch(schema, size=1)
    columns = {**batch.columns, "reward": torch.zeros(1, 1), "action": torch.zeros(1, dtype=torch.int64)}
    columns["terminated"] = torch.zeros(1, dtype=torch.bool)
    update = algorithm.update(TrainBatch(columns, torch.ones(1)))
    torch.testing.assert_close(update.priority, torch.tensor([0.5 * expected - 1.0]))  # |r + gamma Q' - Q|


def test_boxes_are_refused_with_the_right_algorithm(make_config, make_schema):
    with pytest.raises(ConfigError, match="algorithm: sac"):
        build_policy(make_config(algorithm=dqn()), make_schema(OBSERVATION, spaces.Box(-1, 1, (2,))))


def test_a_weight_for_the_policy_alone_has_nothing_to_apply_to(make_config, make_schema):
    schema = make_schema(OBSERVATION, spaces.Discrete(2))
    for duration in ({"weight": "linear"}, {"weight": "inclusion", "applies_to": "policy"}):
        with pytest.raises(ConfigError, match=r"tables\.replay\.duration\.applies_to: all"):
            build_algorithm(make_config(algorithm="dqn", tables={"replay": {"duration": duration}}), schema, "cpu", 0)


def test_the_target_is_renewed_every_so_many_steps(make_config, make_schema, random_batch):
    schema = make_schema(OBSERVATION, spaces.Discrete(2))
    algorithm = build_algorithm(make_config(algorithm=dqn(target_update_every=3)), schema, "cpu", 0)
    equal = []
    for seed in range(6):
        algorithm.update(random_batch(schema, seed=seed))
        online, target = algorithm.policy.q.state_dict(), algorithm.parts["target_q"].state_dict()
        equal.append(all(torch.equal(online[name], target[name]) for name in online))
    assert equal == [False, False, True, False, False, True]


def test_choices_and_log_probs_are_those_of_epsilon_greedy(make_config, make_schema):
    schema = make_schema(OBSERVATION, spaces.MultiDiscrete([4, 2]))
    settings = dqn(exploration_start=0.5, exploration_end=0.5)
    policy = build_policy(make_config(algorithm=settings), schema)
    greedy = act(policy, 1, deterministic=True)
    acted = act(policy, 40_000)
    best = acted.action["action"] == greedy.action["action"]
    np.testing.assert_allclose(best.mean(axis=0), [0.5 + 0.5 / 4, 0.5 + 0.5 / 2], atol=0.01)
    expected = np.log(np.where(best, 0.5, 0.0) + 0.5 / np.array([4, 2])).sum(axis=1)
    np.testing.assert_allclose(acted.log_prob, expected, rtol=1e-5)
    assert greedy.log_prob.tolist() == [0.0]


def test_an_untrained_policy_draws_uniformly(make_config, make_schema):
    policy = build_policy(make_config(algorithm=dqn()), make_schema(OBSERVATION, spaces.Discrete(4, start=1)))
    acted = act(policy, 20_000, learner_step=0)
    np.testing.assert_allclose(np.bincount(acted.action["action"], minlength=5) / 20_000, [0, 0.25, 0.25, 0.25, 0.25], atol=0.01)
    np.testing.assert_allclose(acted.log_prob, -math.log(4), rtol=1e-6)


def chain_item(rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Three steps on five places in a row: a random choice, then right. Right at the last place pays 1 and ends."""
    start = place = int(rng.integers(5))
    first = choice = int(rng.integers(2))
    rewards, length, terminated = np.zeros(3, np.float32), 0, False
    while length < 3 and not terminated:
        terminated = choice == 1 and place == 4
        rewards[length] = float(terminated)
        place, length, choice = min(max(place + 2 * choice - 1, 0), 4), length + 1, 1
    fields = {"observation": start, "next_observation": place, "action": first, "terminated": terminated}
    steps = {"reward": rewards, "mask": np.arange(3) < length, "duration_s": np.ones(3, np.float32)}
    return {name: np.asarray(value) for name, value in fields.items()} | steps


def test_dqn_finds_the_far_end_of_a_chain(make_config, make_schema):
    schema = make_schema(OBSERVATION, spaces.Discrete(2))
    config = make_config(algorithm=dqn(discount=0.9, target_update_every=20, learning_rate=0.01))
    algorithm = build_algorithm(config, schema, "cpu", 0)
    rng = np.random.default_rng(0)
    for _ in range(300):
        items = [chain_item(rng) for _ in range(32)]
        columns = {name: torch.from_numpy(np.stack([i[name] for i in items])) for name in items[0]}
        algorithm.update(TrainBatch(columns, torch.ones(32)))
    places = {"observation": np.arange(5)}
    acted = algorithm.policy.act(places, deterministic=True, learner_step=300, env_steps=0, rng=rng)
    assert acted.action["action"].tolist() == [1, 1, 1, 1, 1]
    with torch.no_grad():
        q = algorithm.policy.q(algorithm.policy.encoder({"observation": torch.arange(5)}))[:, 0, 1]
    torch.testing.assert_close(q, 0.9 ** torch.arange(4.0, -1.0, -1.0), atol=0.08, rtol=0)


@pytest.mark.parametrize(
    "action",
    [spaces.MultiDiscrete([5, 3]), spaces.MultiBinary(3), spaces.Dict({"a": spaces.Discrete(5), "b": spaces.MultiBinary(1)})],
)
def test_branches_learn_their_own_part_of_an_action(make_config, make_schema, random_columns, action):
    """One step: each branch pays 1 if it equals the observation modulo its choices."""
    schema = make_schema(OBSERVATION, action)
    algorithm = build_algorithm(make_config(algorithm=dqn(learning_rate=0.01)), schema, "cpu", 0)
    sizes = torch.tensor(algorithm.policy.actions.sizes)
    generator = torch.Generator().manual_seed(0)
    for step in range(200):
        columns = {"observation": torch.randint(5, (64,), generator=generator), **random_columns(action, "action", 64, step)}
        right = algorithm.policy.actions.indices(columns) == columns["observation"][:, None] % sizes
        columns |= {"reward": right.sum(1, keepdim=True, dtype=torch.float32), "next_observation": columns["observation"]}
        columns |= {"mask": torch.ones(64, 1, dtype=torch.bool), "duration_s": torch.ones(64, 1)}
        columns["terminated"] = torch.ones(64, dtype=torch.bool)
        algorithm.update(TrainBatch(columns, torch.ones(64)))
    with torch.no_grad():
        best = algorithm.policy.q(algorithm.policy.encoder({"observation": torch.arange(5)})).argmax(dim=2)
    assert torch.equal(best, torch.arange(5)[:, None] % sizes)


def test_reward_per_second_is_refused_with_what_to_write_instead(make_config, make_schema):
    schema = make_schema(spaces.Box(-1.0, 1.0, (3,)), spaces.Discrete(2))
    with pytest.raises(ConfigError, match="write per_attempt or discounted_in_time"):
        build_algorithm(make_config(algorithm="dqn", objective="per_second"), schema, "cpu", 0)


def test_updates_that_differ_from_one_to_the_next_are_not_captured(make_config, make_schema):
    """Targets are renewed now and then."""
    algorithm = build_algorithm(
        make_config(algorithm="dqn"), make_schema(spaces.Box(-1.0, 1.0, (3,)), spaces.Discrete(3)), "cpu", 0
    )
    with pytest.raises(ConfigError, match=r"learners\.cuda_graphs: false"):
        updates_of(algorithm, torch.device("cuda"), capture=True)
    assert updates_of(algorithm, torch.device("cpu"), capture=True) == algorithm.update
