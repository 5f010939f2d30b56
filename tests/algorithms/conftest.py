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


@pytest.fixture
def random_segments(random_columns: Callable[..., dict[str, torch.Tensor]]) -> Callable[..., TrainBatch]:
    """A batch of B random segments padded to L steps with zeros, as the replay service pads them."""

    def draw(schema: Schema, size: int = 4, length: int = 3, seed: int = 0) -> TrainBatch:
        generator = torch.Generator().manual_seed(seed)
        mask = torch.arange(length) < torch.randint(1, length + 1, (size, 1), generator=generator)
        seen = torch.cat((torch.ones(size, 1, dtype=torch.bool), mask), dim=1)
        stacked = stacked_space(schema.observation_space, schema.frame_stack)
        spaces = ((stacked, "observation", seen), (schema.action_space, "action", mask))
        columns = {
            name: (leaf.unflatten(0, held.shape) * held.view(*held.shape, *[1] * (leaf.dim() - 1))).to(leaf.dtype)
            for space, kind, held in spaces
            for name, leaf in random_columns(space, kind, held.numel(), seed).items()
        }
        real = {name: torch.randn(size, length, generator=generator) * mask for name in ("reward", "log_prob")}
        columns |= {"mask": mask, "reward": real["reward"], "log_prob": -1.0 - real["log_prob"].abs()}
        columns["duration_s"] = torch.rand(size, length, generator=generator) * mask
        columns["terminated"] = (torch.rand(size, length, generator=generator) < 0.2) & mask
        columns["truncated"] = torch.zeros_like(mask)
        return TrainBatch(columns, torch.rand(size, generator=generator) + 0.5)

    return draw
