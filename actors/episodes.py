"""How well does a policy do? Plays whole episodes with the deterministic policy, several at once with batched inference.

Blocks in the environments' own code; draws no random numbers itself (the seed fixes the episodes' starts). No files, no network.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from actors.rollout import actions_of
from actors.stacking import Observations
from actors.steps import CheckedEnvironment, make_checked
from sojourn.algorithms import Policy
from sojourn.columns import Schema
from sojourn.config.schema import EnvironmentSettings
from sojourn.seeds import lane_seed

AT_ONCE = 16  # episodes that are played side by side
MOST_STEPS = 100_000  # of an episode, where the environment has no limit of its own


@dataclass(frozen=True)
class Evaluation:
    """Returns and lengths of whole episodes, in the order of their seeds. Never empty."""

    returns: tuple[float, ...]
    lengths: tuple[int, ...]
    seconds: float

    @property
    def return_mean(self) -> float:
        return float(np.mean(self.returns))

    @property
    def return_std(self) -> float:
        """Standard deviation over the episodes (n in the denominator), as evaluations are usually reported."""
        return float(np.std(self.returns))

    @property
    def length_mean(self) -> float:
        return float(np.mean(self.lengths))


def never() -> bool:
    return False


def evaluate(
    policy: Policy,
    schema: Schema,
    settings: EnvironmentSettings,
    *,
    episodes: int,
    seed: int,
    stopped: Callable[[], bool] = never,
    progress: Callable[[], None] = lambda: None,
) -> Evaluation | None:
    """Play `episodes` whole episodes with the policy as it is loaded, exploration off.

    seed: equal seeds give equal starts.  stopped: asked between steps; once it says True there is no result (None).
    progress: called after every call of an environment, so that somebody can see that none hangs.
    Raises EnvironmentFault when an environment fails.
    """
    started_s = time.monotonic()
    played: list[tuple[float, int]] = []
    for first in range(0, episodes, AT_ONCE):
        seeds = [episode_seed(seed, episode) for episode in range(first, min(first + AT_ONCE, episodes))]
        with Playing(policy, schema, settings, seeds, progress) as playing:
            while playing.left and not stopped():
                playing.turn()
            if playing.left:
                return None
            played += playing.results
    returns, lengths = zip(*played, strict=True)
    return Evaluation(returns, lengths, time.monotonic() - started_s)


def episode_seed(seed: int, episode: int) -> int:
    """Seed of one episode of an evaluation."""
    return lane_seed(seed, "evaluation episode", 0, 0, episode)


class Playing:
    """Episodes under way, one environment each. Invariant: `left` names those that have not ended."""

    def __init__(
        self,
        policy: Policy,
        schema: Schema,
        settings: EnvironmentSettings,
        seeds: Sequence[int],
        progress: Callable[[], None],
        make: Callable[[EnvironmentSettings, Schema], CheckedEnvironment] = make_checked,
    ) -> None:
        self._policy = policy
        self._action_space = schema.action_space
        self._progress = progress
        self._observations = Observations(schema, len(seeds))
        self._rng = np.random.default_rng(0)  # a deterministic policy draws nothing from it
        self._returns, self._lengths = [0.0] * len(seeds), [0] * len(seeds)
        self.environments: list[CheckedEnvironment] = []
        for episode, seed in enumerate(seeds):
            self.environments.append(make(settings, schema))
            self._observations.restart(episode, self.environments[episode].reset(seed).observation)
            progress()
        self.left = list(range(len(seeds)))

    @property
    def results(self) -> list[tuple[float, int]]:
        """Return and length of every episode."""
        return list(zip(self._returns, self._lengths, strict=True))

    def turn(self) -> None:
        """One inference and one step of every episode that is left."""
        acted = self._policy.act(
            self._observations.batch(self.left), deterministic=True, learner_step=1, env_steps=0, rng=self._rng
        )
        actions = actions_of(self._action_space, acted.action, len(self.left))
        self.left = [episode for episode, action in zip(self.left, actions, strict=True) if self._goes_on(episode, action)]

    def _goes_on(self, episode: int, action: Any) -> bool:
        outcome = self.environments[episode].step(action, time.monotonic())
        self._progress()
        self._observations.push(episode, outcome.observation)
        self._returns[episode] += outcome.reward
        self._lengths[episode] += 1
        return not (outcome.terminated or outcome.truncated or self._lengths[episode] >= MOST_STEPS)

    def __enter__(self) -> "Playing":
        return self

    def __exit__(self, *exception: object) -> None:
        for environment in self.environments:
            environment.close()
