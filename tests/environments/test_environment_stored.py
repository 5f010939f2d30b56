"""What is stored of an environment: its schema and its declared extra columns."""

import numpy as np
import pytest

from sojourn.columns import Column, Schema, flatten, unflatten
from sojourn.config import Config
from sojourn.config.schema import EnvironmentSettings, ExtraColumn
from sojourn.environments import make_environment, read_extras, schema_of
from sojourn.environments.match import ACTIONS, OBSERVATIONS
from sojourn.errors import EnvironmentFault


@pytest.mark.parametrize("observation", OBSERVATIONS)
@pytest.mark.parametrize("action", ACTIONS)
def test_match_stores_and_returns_values_of_every_space(observation, action):
    settings = EnvironmentSettings(id="sojourn/Match-v0", kwargs={"observation": observation, "action": action})
    environment = make_environment(settings)
    schema = Schema.from_json(schema_of(environment, Config(), settings).to_json())
    seen, _ = environment.reset(seed=3)
    environment.action_space.seed(3)
    columns = flatten(schema.action_space, environment.action_space.sample(), "action")
    assert [column.name for column in schema.action_columns()] == list(columns)
    _, reward, *_ = environment.step(unflatten(schema.action_space, columns, "action"))
    assert 0.0 <= reward <= 1.0
    stored = flatten(schema.observation_space, seen, "observation")
    assert {name: value.shape for name, value in stored.items()} == {c.name: c.shape for c in schema.observation_columns()}


def test_the_schema_carries_stacking_storage_and_extras():
    settings = EnvironmentSettings(
        id="sojourn/Catch-v0",
        frame_stack=4,
        storage_dtype="same",
        extras=(ExtraColumn(name="cost"), ExtraColumn(name="task", dtype="int64", task=True, scope="episode")),
    )
    schema = schema_of(make_environment(settings), Config(environment=settings), settings)
    assert schema.policy_observation_space.shape == (4, 42, 42, 1)
    assert schema.observation_space.shape == (42, 42, 1)
    assert schema.extras == (Column("cost", "float32"), Column("task", "int64", scope="episode"))
    assert schema.task_column == "task"


def test_frames_of_something_else_than_a_box_cannot_be_stacked():
    settings = EnvironmentSettings(id="sojourn/Match-v0", kwargs={"observation": "discrete"}, frame_stack=2)
    with pytest.raises(EnvironmentFault, match="frame_stack needs Box"):
        schema_of(make_environment(settings), Config(), settings)


def test_two_task_columns_are_refused():
    extras = (ExtraColumn(name="first", task=True), ExtraColumn(name="second", task=True))
    settings = EnvironmentSettings(extras=extras)
    with pytest.raises(EnvironmentFault, match="first, second"):
        schema_of(make_environment(settings), Config(), settings)


EXTRAS = EnvironmentSettings(
    extras=(
        ExtraColumn(name="cost", default=0.5),
        ExtraColumn(name="terms", shape=(2,), info_key="reward_terms"),
        ExtraColumn(name="tokens", dtype="int32", ragged_max=3),
        ExtraColumn(name="task", dtype="int64", scope="episode"),
    )
)


def test_extras_are_read_with_their_declared_type():
    read = read_extras(EXTRAS, {"cost": 2, "reward_terms": [1, 2.5], "tokens": [7, 8], "task": np.int8(4), "other": "x"})
    assert {name: (value.dtype.name, value.tolist()) for name, value in read.items()} == {
        "cost": ("float32", 2.0),
        "terms": ("float32", [1.0, 2.5]),
        "tokens": ("int32", [7, 8]),
        "task": ("int64", 4),
    }


def test_a_missing_key_gives_the_default():
    read = read_extras(EXTRAS, {})
    assert read["cost"] == np.float32(0.5)
    assert read["terms"].tolist() == [0.0, 0.0]
    assert read["tokens"].shape == (0,)


def test_a_scope_reads_only_its_columns():
    assert list(read_extras(EXTRAS, {}, "episode")) == ["task"]
    assert list(read_extras(EXTRAS, {}, "step")) == ["cost", "terms", "tokens"]


@pytest.mark.parametrize(
    ("info", "said"),
    [
        ({"cost": [1.0]}, r"shape \(1,\), declared \(\)"),
        ({"reward_terms": [1.0, 2.0, 3.0]}, r"shape \(3,\), declared \(2,\)"),
        ({"tokens": [1, 2, 3, 4]}, "ragged with at most 3"),
        ({"tokens": 1}, "ragged with at most 3"),
        ({"cost": "much"}, "is no float32"),
        ({"cost": float("nan")}, "NaN or infinity"),
    ],
)
def test_a_value_that_does_not_fit_its_declaration_is_a_fault(info, said):
    with pytest.raises(EnvironmentFault, match=said):
        read_extras(EXTRAS, info)


def test_an_extra_column_cannot_take_the_name_of_a_stored_one():
    with pytest.raises(ValueError, match="choose another"):
        ExtraColumn(name="reward")
