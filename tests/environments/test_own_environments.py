"""Catch and Match: an optimal player gets what their docstrings promise, and a seed repeats an episode."""

import gymnasium as gym
import numpy as np
import pytest

import sojourn.environments  # noqa: F401  registers the ids
from sojourn.columns import flatten
from sojourn.environments.catch import LEFT, RIGHT, STAY
from sojourn.environments.match import OBSERVATIONS


def play(environment: gym.Env, choose, episodes: int, seed: int = 0) -> list[float]:
    returns = []
    observation, _ = environment.reset(seed=seed)
    for _ in range(episodes):
        total, ended = 0.0, False
        while not ended:
            observation, reward, terminated, truncated, _ = environment.step(choose(observation))
            total += reward
            ended = terminated or truncated
        returns.append(total)
        observation, _ = environment.reset()
    return returns


def under_the_ball(image: np.ndarray) -> int:
    """Move the paddle (last row) towards the ball (any other row)."""
    cells = image[::6, ::6, 0]
    ball, paddle = int(cells[:-1].max(axis=0).argmax()), int(cells[-1].argmax())
    return LEFT if ball < paddle else RIGHT if ball > paddle else STAY


def test_whoever_follows_the_ball_always_catches_it():
    assert play(gym.make("sojourn/Catch-v0"), under_the_ball, episodes=30) == [1.0] * 30


def test_standing_still_catches_one_ball_in_seven():
    returns = play(gym.make("sojourn/Catch-v0"), lambda image: STAY, episodes=700)
    assert set(returns) == {-1.0, 1.0}
    assert returns.count(1.0) / 700 == pytest.approx(1 / 7, abs=0.04)


def test_repeating_the_cell_that_is_seen_gets_the_full_return():
    environment = gym.make("sojourn/Match-v0", observation="multi_discrete", action="multi_discrete")
    assert play(environment, lambda cell: cell, episodes=5) == [8.0] * 5
    environment = gym.make("sojourn/Match-v0", observation="vector", action="box")
    assert play(environment, lambda vector: vector, episodes=5) == [8.0] * 5


def test_match_pays_for_closeness():
    environment = gym.make("sojourn/Match-v0", observation="multi_discrete", action="multi_discrete")
    cell, _ = environment.reset(seed=1)
    _, reward, *_ = environment.step((cell + 1) % 3)
    assert reward == 1.0 - np.abs(cell - (cell + 1) % 3).mean() / 2


@pytest.mark.parametrize("name", ["sojourn/Catch-v0", "sojourn/Match-v0"])
def test_a_seed_repeats_the_episode(name):
    first, second = (gym.make(name).reset(seed=5)[0] for _ in range(2))
    assert np.array_equal(first, second)
    others = [gym.make(name).reset(seed=seed)[0] for seed in range(6, 16)]
    assert any(not np.array_equal(first, other) for other in others)


@pytest.mark.parametrize("observation", OBSERVATIONS)
def test_every_cell_looks_different(observation):
    environment = gym.make("sojourn/Match-v0", observation=observation, action="discrete", length=200)
    environment.reset(seed=0)
    seen = (flatten(environment.observation_space, environment.step(0)[0], "observation") for _ in range(200))
    assert len({b"".join(leaf.tobytes() for leaf in leaves.values()) for leaves in seen}) == 9
