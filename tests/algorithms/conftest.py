"""Schemas, configurations and random batches for the tests of algorithms."""

from collections.abc import Callable
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch

from sojourn.algorithms import TrainBatch
from sojourn.columns import Schema, flatten, space_to_json, stacked_space
from sojourn.config import Config


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture
def make_config() -> Callable[..., Config]:
    """Configuration with one small hidden layer; keyword arguments are top-level sections."""

    def make(**sections: Any) -> Config:
        network = {"hidden": (32,), "image_features": 16, **sections.pop("network", {})}
        return Config.model_validate({"network": network, **sections})

    return make


@pytest.fixture
def make_schema() -> Callable[..., Schema]:
    def make(observation: gym.Space, action: gym.Space, frame_stack: int = 1) -> Schema:
        return Schema(space_to_json(observation), space_to_json(action), frame_stack=frame_stack)

    return make


@pytest.fixture
def random_columns() -> Callable[..., dict[str, torch.Tensor]]:
    """B values of a space, as leaves [B, ...]."""

    def draw(space: gym.Space, name: str, size: int, seed: int = 0) -> dict[str, torch.Tensor]:
        space.seed(seed)
        drawn = [flatten(space, space.sample(), name) for _ in range(size)]
        return {key: torch.from_numpy(np.stack([row[key] for row in drawn])) for key in drawn[0]}

    return draw


@pytest.fixture
def random_batch(random_columns: Callable[..., dict[str, torch.Tensor]]) -> Callable[..., TrainBatch]:
    """A batch of B random items with n steps, as the schema describes them; steps behind an early end are NaN."""

    def draw(schema: Schema, size: int = 8, steps: int = 1, seed: int = 0) -> TrainBatch:
        generator = torch.Generator().manual_seed(seed)
        seen = stacked_space(schema.observation_space, schema.frame_stack)
        length = torch.randint(1, steps + 1, (size,), generator=generator)
        mask = torch.arange(steps) < length[:, None]
        behind = torch.where(mask, 0.0, torch.nan)
        columns = {
            **random_columns(seen, "observation", size, seed),
            **random_columns(seen, "next_observation", size, seed + 1),
            **random_columns(schema.action_space, "action", size, seed),
            "reward": torch.randn(size, steps, generator=generator) + behind,
            "duration_s": torch.rand(size, steps, generator=generator) + behind,
            "mask": mask,
            "terminated": torch.rand(size, generator=generator) < 0.3,
        }
        return TrainBatch(columns, torch.rand(size, generator=generator) + 0.5)

    return draw
