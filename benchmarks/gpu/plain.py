"""What SAC reads of a configuration and of a schema, as plain values: a machine with a GPU may lack pydantic and Gymnasium.

The values are the defaults of `sojourn.config.Config`, and HalfCheetah's spaces; tests/gpu/test_plain.py compares them. Imports nothing of ours.
"""

from types import SimpleNamespace
from typing import Any

OBSERVATION, ACTION = 17, 6


class PlainNetwork(SimpleNamespace):
    """Of one width for actor and critics."""

    def of_critic(self) -> "PlainNetwork":
        return self


def plain_config(*, hidden: tuple[int, ...] = (256, 256), precision: str = "float32", **algorithm: Any) -> SimpleNamespace:
    """A configuration of SAC with these hidden layers and settings of the algorithm."""
    sac = {
        "name": "sac",
        "discount": 0.99,
        "learning_rate": 3e-4,
        "max_gradient_norm": None,
        "weight_decay": 0.0,
        "target_update_rate": 0.005,
        "target_entropy": None,
        "initial_temperature": 1.0,
        "entropy": "standard",
        "rate_memory_batches": 100,
    }
    return SimpleNamespace(
        algorithm=SimpleNamespace(**{**sac, **algorithm}),
        network=PlainNetwork(name="mlp", hidden=hidden, activation="relu", image_features=256, layer_norm=False),
        environment=SimpleNamespace(normalise_observation=False, normalise_reward=False),
        duration=SimpleNamespace(time_unit_s=1.0),
        objective="per_attempt",
        reward_timing="start",
        learners=SimpleNamespace(table="replay", precision=precision),
        tables={"replay": SimpleNamespace(item="transition")},
    )


def plain_schema(observation: int = OBSERVATION, action: int = ACTION) -> SimpleNamespace:
    """Of float32 observations without bounds and actions in [-1, 1]."""
    box = {"type": "Box", "dtype": "float32"}
    return SimpleNamespace(
        observation={**box, "shape": [observation], "low": "-inf", "high": "inf"},
        action={**box, "shape": [action], "low": -1.0, "high": 1.0},
        frame_stack=1,
    )
