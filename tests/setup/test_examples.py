"""The examples do what their comments say."""

from pathlib import Path

import numpy as np
import pytest

from sojourn.config.load import load_config
from sojourn.environments import make_environment, read_extras, schema_of

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.fixture
def coffee(monkeypatch):
    monkeypatch.syspath_prepend(EXAMPLES.parent)
    config = load_config(EXAMPLES / "coffee.yaml", ["environment.kwargs.speed=1000"])
    environment = make_environment(config.environment)
    environment.reset(seed=0)
    return config, environment


def test_the_right_waits_make_a_perfect_cup(coffee):
    _, environment = coffee
    wait_s = 0.1 / 8
    action = np.array([2 * (wait_s - 0.002) / 0.038 - 1], np.float32)
    steps = [environment.step(action) for _ in range(8)]
    assert sum(reward for _, reward, *_ in steps) == pytest.approx(1.0, abs=1e-6)
    assert [terminated for _, _, terminated, *_ in steps] == [False] * 7 + [True]


def test_its_extra_column_reaches_the_schema(coffee):
    config, environment = coffee
    *_, info = environment.step(np.zeros(1, np.float32))
    assert read_extras(config.environment, info)["waited_s"] == pytest.approx(0.021)
    assert [column.name for column in schema_of(environment, config, config.environment).extras] == ["waited_s"]
