"""A data set that somebody else made, to begin a run with."""

from pathlib import Path

import gymnasium as gym
import numpy as np
from minari.data_collector.episode_buffer import EpisodeBuffer
from minari.dataset.minari_storage import MinariStorage


def foreign_episodes(folder: Path, episodes: int, steps: int) -> None:
    """A Minari dataset of Pendulum: nothing in it tells of durations."""
    environment, rng = gym.make("Pendulum-v1"), np.random.default_rng(7)
    spaces = {"observation_space": environment.observation_space, "action_space": environment.action_space}
    storage = MinariStorage.new(folder, **spaces, data_format="hdf5")
    storage.update_episodes(
        EpisodeBuffer(
            observations=rng.uniform(-1.0, 1.0, (steps + 1, 3)).astype(np.float32),
            actions=rng.uniform(-2.0, 2.0, (steps, 1)).astype(np.float32),
            rewards=np.zeros(steps),
            terminations=np.zeros(steps, bool),
            truncations=np.arange(steps) == steps - 1,
        )
        for _ in range(episodes)
    )
