"""V-trace and PPO: losses by hand, weights, padding, every space, and that they solve a chain, a pointing task and timed arms."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from gymnasium import spaces

from sojourn.algorithms import TrainBatch, build_algorithm
from sojourn.algorithms.actor_critic import clipped_ratio, ratio_of, weighted_mean
from sojourn.algorithms.ppo import surrogate
from sojourn.environments.match import ACTIONS, OBSERVATIONS
from sojourn.errors import ConfigError

BOTH = pytest.mark.parametrize("name", ["vtrace", "ppo"])
PLACES = spaces.Discrete(4, start=1)


@pytest.fixture
def make(make_config, make_schema):
    """An algorithm on segments of a consuming table. Keyword arguments: settings, and sections of the configuration."""

    def build(name, observation, action, length=3, settings=None, **sections):
        table = {"item": "segment", "length": length, "sampler": "fifo", "consume": True, **sections.pop("table", {})}
        config = make_config(algorithm={"name": name, **(settings or {})}, tables={"replay": table}, **sections)
        schema = make_schema(observation, action, config.environment.frame_stack)
        return build_algorithm(config, schema, "cpu", 0), schema

    return build


def test_losses_are_sums_of_weighted_steps_over_their_number():
    assert weighted_mean(torch.tensor([1.0, 2.0, 9.0]), torch.tensor([3.0, 0.5, 0.0]), torch.tensor(2.0)).item() == 2.0


def test_the_clipped_ratio_is_one_minus_the_total_variation_and_ratios_stay_finite():
    ratio = ratio_of(torch.tensor([0.0, 0.0, 99.0]), torch.tensor([0.0, -1.0, -99.0]))
    assert torch.isfinite(ratio).all()
    mask = torch.tensor([True, True, False])
    assert clipped_ratio(torch.tensor([0.5, 3.0, 0.0]), mask).item() == 0.75


def test_the_surrogate_of_the_paper_never_gains_from_ratios_outside_the_clip():
    ratio, advantage = torch.tensor([0.5, 0.5, 1.5, 1.5, 1.1]), torch.tensor([1.0, -1.0, 1.0, -1.0, 1.0])
    assert surrogate(ratio, advantage, 0.2).tolist() == pytest.approx([0.5, -0.8, 1.2, -1.5, 1.1])


def test_a_v_trace_update_has_the_losses_of_its_formula(make):
    """One step, V = 0, uniform policy: target rho r, advantage rho r, both weighted."""
    algorithm, _ = make("vtrace", PLACES, spaces.Discrete(2), length=1, settings={"rho_clip": 0.75})
    torch.nn.init.zeros_(algorithm.parts["critic"].value.weight)
    torch.nn.init.zeros_(algorithm.parts["critic"].value.bias)
    torch.nn.init.zeros_(algorithm.policy.head.logits.weight)
    behaviour = np.log([0.25, 1.0]).astype(np.float32)  # ratios 2 -> .75, and .5
    columns = {
        "observation": torch.ones(2, 2, dtype=torch.int64),
        "action": torch.tensor([[0], [1]]),
        "reward": torch.tensor([[4.0], [2.0]]),
        "duration_s": torch.ones(2, 1),
        "log_prob": torch.from_numpy(behaviour)[:, None],
        "mask": torch.ones(2, 1, dtype=torch.bool),
        "terminated": torch.ones(2, 1, dtype=torch.bool),
        "truncated": torch.zeros(2, 1, dtype=torch.bool),
    }
    update = algorithm.update(TrainBatch(columns, torch.tensor([1.0, 3.0]), torch.tensor([1.0, 2.0])))
    found = {name: float(value) for name, value in update.metrics.items()}
    log_half = float(np.log(0.5))
    assert found["actor_loss"] == pytest.approx(-(1 * 3.0 * log_half + 3 * 1.0 * log_half) / 2)
    assert found["critic_loss"] == pytest.approx(0.5 * (1 * 3.0**2 + 2 * 1.0**2) / 2)
    assert found["clipped_ratio"] == 0.75  # (1 + .5) / 2
    assert update.priority.tolist() == pytest.approx([3.0, 1.0])


def padded(batch: TrainBatch, steps: int) -> TrainBatch:
    """The same segments, with so many more places behind them."""
    longer = {
        name: torch.cat((leaf, torch.zeros(len(leaf), steps, *leaf.shape[2:], dtype=leaf.dtype)), dim=1)
        for name, leaf in batch.columns.items()
    }
    return TrainBatch(longer, batch.loss_weight, batch.value_weight)


@BOTH
def test_padding_changes_nothing(make, random_segments, name):
    settings = {"epochs": 1, "minibatches": 1} if name == "ppo" else {}
    policies = []
    for more in (0, 5):
        algorithm, schema = make(name, PLACES, spaces.Discrete(3, start=2), settings=settings)
        algorithm.update(padded(random_segments(schema), more))
        policies.append(algorithm.policy.state_dict())
    for key, tensor in policies[0].items():
        torch.testing.assert_close(tensor, policies[1][key], atol=1e-6, rtol=1e-5)


@BOTH
def test_a_weight_for_values_leaves_the_policy_loss_alone(make, random_segments, name):
    settings = {"epochs": 1, "minibatches": 1} if name == "ppo" else {}
    metrics = []
    for value_weight in (None, torch.zeros(4)):
        algorithm, schema = make(name, PLACES, spaces.Discrete(3), settings=settings)
        batch = random_segments(schema)
        metrics.append(algorithm.update(TrainBatch(batch.columns, batch.loss_weight, value_weight)).metrics)
    assert float(metrics[0]["actor_loss"]) == pytest.approx(float(metrics[1]["actor_loss"]), rel=1e-5)
    assert float(metrics[0]["critic_loss"]) > float(metrics[1]["critic_loss"]) == 0.0


@BOTH
def test_segments_of_weight_zero_teach_nothing(make, random_segments, name):
    policies = []
    for reward in (0.0, 1e6):
        settings = {"epochs": 1, "minibatches": 1} if name == "ppo" else {}
        algorithm, schema = make(name, PLACES, spaces.Discrete(3), settings=settings)
        batch = random_segments(schema)
        batch.columns["reward"][0] += reward * batch.columns["mask"][0]
        algorithm.update(TrainBatch(batch.columns, torch.tensor([0.0, 1.0, 1.0, 1.0])))
        policies.append(algorithm.policy.dump())
    assert policies[0] == policies[1]


@BOTH
@pytest.mark.parametrize("objective", ["per_attempt", "discounted_in_time", "per_second"])
def test_learning_goes_on_from_a_saved_state_as_if_nothing_had_been(make, random_segments, name, objective):
    algorithm, schema = make(name, PLACES, spaces.Discrete(3), objective=objective)
    algorithm.update(random_segments(schema))
    other, _ = make(name, PLACES, spaces.Discrete(3), objective=objective)
    other.policy.load(algorithm.policy.dump())
    other.load_state({key: tensor.clone() for key, tensor in algorithm.state().items()})
    other.generator.set_state(algorithm.generator.get_state())
    for each in (algorithm, other):
        each.update(random_segments(schema, seed=1))
    assert algorithm.policy.dump() == other.policy.dump()
    assert other.learner_step == 2


@BOTH
def test_a_gradient_that_is_not_finite_changes_nothing(make, random_segments, name):
    algorithm, schema = make(name, PLACES, spaces.Discrete(3))
    batch = random_segments(schema)
    batch.columns["reward"][:, 0] = torch.inf
    before = algorithm.policy.dump()
    update = algorithm.update(batch)
    assert float(update.metrics["skipped"]) == 1.0
    assert not torch.isfinite(update.priority).any()
    assert algorithm.policy.dump() == before


@BOTH
@pytest.mark.parametrize("action", ACTIONS)
@pytest.mark.parametrize("observation", ["vector", "image"])
def test_every_space_trains(make, random_segments, name, observation, action):
    environment = {"normalise_observation": True, "normalise_reward": True, "frame_stack": 2}
    algorithm, schema = make(name, OBSERVATIONS[observation], ACTIONS[action], environment=environment)
    before = algorithm.policy.dump()
    update = algorithm.update(random_segments(schema))
    assert torch.isfinite(update.priority).all()
    assert all(np.isfinite(float(value)) for value in update.metrics.values())
    assert algorithm.policy.dump() != before


@BOTH
def test_segments_are_asked_for(make, name):
    with pytest.raises(ConfigError, match=rf"{name} learns from segment items: write tables\.replay\.item: segment"):
        make(name, PLACES, spaces.Discrete(2), table={"item": "transition"})


def test_ppo_refuses_a_table_that_hands_out_old_steps(make):
    with pytest.raises(ConfigError, match="sampler: fifo and consume: true"):
        make("ppo", PLACES, spaces.Discrete(2), table={"sampler": "uniform", "consume": False})


def test_ppo_refuses_more_minibatches_than_steps(make):
    with pytest.raises(ConfigError, match="minibatches 9 is above the 8 steps"):
        make("ppo", PLACES, spaces.Discrete(2), length=1, settings={"minibatches": 9}, learners={"batch_size": 8})


def one_step(algorithm, observation, pay, rng, learner_step=1):
    """A batch of one-step episodes. pay: actions [B, ...] to (rewards, durations) float32[B]."""
    acted = algorithm.policy.act(
        {"observation": observation}, deterministic=False, learner_step=learner_step, env_steps=0, rng=rng
    )
    reward, duration = pay(acted.action["action"])
    size = len(observation)
    columns = {
        "observation": np.stack((observation, observation), axis=1),
        "action": acted.action["action"][:, None],
        "reward": reward.astype(np.float32)[:, None],
        "duration_s": duration.astype(np.float32)[:, None],
        "log_prob": acted.log_prob[:, None],
        "mask": np.ones((size, 1), bool),
        "terminated": np.ones((size, 1), bool),
        "truncated": np.zeros((size, 1), bool),
    }
    return TrainBatch({key: torch.from_numpy(value) for key, value in columns.items()}, torch.ones(size))


@BOTH
@pytest.mark.parametrize(("objective", "best"), [("per_attempt", 1), ("per_second", 0)])
def test_the_objective_decides_between_a_quick_arm_and_a_slow_better_one(make, name, objective, best):
    """Rewards .62 and .67 in 1 and 20 seconds: the slow arm pays more an attempt, the quick one more a second."""
    settings = {"learning_rate": 0.01, "entropy_cost": 0.0}
    algorithm, _ = make(name, PLACES, spaces.Discrete(2), length=1, settings=settings, objective=objective)
    rng, observation = np.random.default_rng(0), np.ones(64, np.int64)
    pay = lambda arm: (np.array([0.62, 0.67])[arm], np.array([1.0, 20.0])[arm])  # noqa: E731
    for step in range(100 if name == "vtrace" else 30):
        algorithm.update(one_step(algorithm, observation, pay, rng, step))
    with torch.no_grad():
        features = algorithm.policy.encoder({"observation": torch.ones(1, dtype=torch.int64)})
        assert algorithm.policy.distribution(features).mode().tolist() == [[best]]
        assert algorithm.policy.distribution(features).log_choice.exp()[0, 0, best] > 0.8


@BOTH
def test_continuous_actions_point_where_the_observation_says_bounds_included(make, name):
    rate, updates = (0.01, 150) if name == "vtrace" else (0.003, 60)
    settings = {"learning_rate": rate, "entropy_cost": 0.0}
    algorithm, _ = make(name, spaces.Box(-1, 1, (1,)), spaces.Box(-3, 3, (1,)), length=1, settings=settings)
    rng = np.random.default_rng(0)
    for _ in range(updates):
        wanted = rng.choice([-1.0, 0.0, 1.0], (128, 1)).astype(np.float32)
        pay = lambda action, wanted=wanted: (-np.square(action - 3 * wanted)[:, 0], np.ones(len(action)))  # noqa: E731
        algorithm.update(one_step(algorithm, wanted, pay, rng))
    places = {"observation": np.array([[-1.0], [0.0], [1.0]], np.float32)}
    acted = algorithm.policy.act(places, deterministic=True, learner_step=1, env_steps=0, rng=rng)
    np.testing.assert_allclose(acted.action["action"], [[-3.0], [0.0], [3.0]], atol=0.6)


def corridor(policy, rng, episodes, length):
    """Segments of whole episodes: right (1) at place 4 pays 1 and ends, left ends with nothing; after `length` steps it is cut."""
    place, going = np.ones(episodes, np.int64), np.ones(episodes, bool)
    rows = []
    for _ in range(length):
        acted = policy.act({"observation": place}, deterministic=False, learner_step=1, env_steps=0, rng=rng)
        right = acted.action["action"] == 1
        won = right & (place == 4)
        end = going & (won | ~right)
        rows.append((place.copy(), acted.action["action"], (won & going).astype(np.float32), acted.log_prob, going.copy(), end))
        going = going & ~end
        place = np.where(right, np.minimum(place + 1, 4), place)
    names = ("observation", "action", "reward", "log_prob", "mask", "terminated")
    columns = {
        key: torch.from_numpy(np.stack(values, axis=1)) for key, values in zip(names, zip(*rows, strict=True), strict=True)
    }
    columns["observation"] = torch.cat((columns["observation"], torch.from_numpy(place)[:, None]), dim=1)
    columns["duration_s"], columns["truncated"] = torch.ones(episodes, length), torch.zeros(episodes, length, dtype=torch.bool)
    return TrainBatch(columns, torch.ones(episodes))


@BOTH
def test_a_reward_at_the_end_of_a_corridor_is_found_and_valued(make, name):
    settings = {"learning_rate": 0.01, "discount": 0.9, "entropy_cost": 0.0}
    algorithm, _ = make(name, PLACES, spaces.Discrete(2), length=6, settings=settings)
    rng = np.random.default_rng(0)
    for _ in range(150 if name == "vtrace" else 60):
        algorithm.update(corridor(algorithm.policy, rng, 64, 6))
    with torch.no_grad():
        features = algorithm.policy.encoder({"observation": torch.arange(1, 5)})
        assert algorithm.policy.distribution(features).mode().flatten().tolist() == [1, 1, 1, 1]
        value = algorithm.parts["critic"](features)
    torch.testing.assert_close(value, 0.9 ** torch.arange(3.0, -1.0, -1.0), atol=0.1, rtol=0)
    assert all(nearer < further for nearer, further in pairwise(value.tolist()))


def test_v_trace_learns_from_what_a_uniform_policy_did(make):
    """Behaviour never changes: only the correction by the stored probabilities leads to the right values."""
    settings = {"learning_rate": 0.01, "discount": 0.9, "entropy_cost": 0.0}
    algorithm, _ = make("vtrace", PLACES, spaces.Discrete(2), length=6, settings=settings)
    behaviour, _ = make("vtrace", PLACES, spaces.Discrete(2), length=6)
    rng = np.random.default_rng(0)
    for _ in range(200):
        algorithm.update(corridor(behaviour.policy, rng, 128, 6))
    with torch.no_grad():
        features = algorithm.policy.encoder({"observation": torch.arange(1, 5)})
        assert algorithm.policy.distribution(features).mode().flatten().tolist() == [1, 1, 1, 1]
