"""What stands in for a configuration on a machine without pydantic is the configuration."""

from types import SimpleNamespace
from typing import Any

import pytest

from benchmarks.gpu.plain import plain_config, plain_schema


def differences(plain: Any, real: Any, path: str = "") -> list[str]:
    """Values that are others in the real one, by path."""
    if isinstance(plain, SimpleNamespace):
        plain = vars(plain)
        return [found for name, value in plain.items() for found in differences(value, getattr(real, name), f"{path}.{name}")]
    if isinstance(plain, dict) and plain and isinstance(next(iter(plain.values())), SimpleNamespace):
        return [found for name, value in plain.items() for found in differences(value, real[name], f"{path}.{name}")]
    return [] if plain == real else [f"{path}: {plain!r}, not {real!r}"]


def test_the_plain_configuration_has_the_defaults():
    config = pytest.importorskip("sojourn.config", reason="needs pydantic", exc_type=ImportError)
    assert differences(plain_config(), config.Config()) == []


def test_the_plain_schema_has_the_spaces_in_their_form():
    pytest.importorskip("gymnasium", exc_type=ImportError)
    import gymnasium as gym
    import numpy as np

    from sojourn.columns import space_to_json

    spaces = gym.spaces.Box(-np.inf, np.inf, (17,), np.float32), gym.spaces.Box(-1.0, 1.0, (6,), np.float32)
    assert [space_to_json(space) for space in spaces] == [plain_schema().observation, plain_schema().action]
