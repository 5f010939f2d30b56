"""Actions as vectors and as branches: scaling, offsets, order of leaves, and what is refused."""

import numpy as np
import pytest
import torch
from gymnasium import spaces

from sojourn.algorithms.spaces import ContinuousActions, DiscreteActions
from sojourn.errors import ConfigError

OBSERVATION = spaces.Box(-1, 1, (2,))
ARM_AND_GRIP = spaces.Dict(
    {"arm": spaces.Box(-2.0, 4.0, (2, 1)), "grip": spaces.Tuple((spaces.Box(0.0, 1.0, (1,), np.float64),))}
)


def test_the_ends_of_the_range_are_the_bounds_of_every_box(make_schema):
    actions = ContinuousActions(make_schema(OBSERVATION, ARM_AND_GRIP), "sac")
    columns = actions.columns(np.array([[-1, 1, -1], [1, 0, 1]], np.float32))
    assert columns["action.arm"].tolist() == [[[-2.0], [4.0]], [[4.0], [1.0]]]
    assert columns["action.grip.0"].tolist() == [[0.0], [1.0]]
    assert columns["action.grip.0"].dtype == np.float64


def test_normalised_undoes_columns(make_schema):
    actions = ContinuousActions(make_schema(OBSERVATION, ARM_AND_GRIP), "sac")
    vector = np.random.default_rng(0).uniform(-1, 1, (5, 3)).astype(np.float32)
    stored = {name: torch.from_numpy(leaf) for name, leaf in actions.columns(vector).items()}
    np.testing.assert_allclose(actions.normalised(stored).numpy(), vector, atol=1e-6)


def test_rounding_never_leaves_the_box(make_schema):
    bounds = np.float32(0.1), np.float32(0.7)
    actions = ContinuousActions(make_schema(OBSERVATION, spaces.Box(*bounds, (1,))), "sac")
    columns = actions.columns(np.array([[-1.0], [1.0]], np.float32))
    assert columns["action"].min() >= bounds[0]
    assert columns["action"].max() <= bounds[1]


@pytest.mark.parametrize(
    ("space", "message"),
    [
        (spaces.Discrete(3), "'action' is Discrete.*algorithm: dqn"),
        (spaces.Dict({"a": spaces.Box(-1, 1, (1,)), "b": spaces.MultiBinary(2)}), "'action.b' is MultiBinary.*algorithm: dqn"),
        (spaces.Box(-np.inf, np.inf, (1,)), "bounded actions.*TransformAction"),
        (spaces.Box(0, 5, (1,), np.int32), "floating-point actions"),
    ],
)
def test_sac_refuses_what_it_cannot_do_and_names_the_leaf(make_schema, space, message):
    with pytest.raises(ConfigError, match=message):
        ContinuousActions(make_schema(OBSERVATION, space), "sac")


def test_dqn_refuses_boxes_and_names_sac(make_schema):
    with pytest.raises(ConfigError, match=r"'action\.x' is Box.*algorithm: sac"):
        DiscreteActions(make_schema(OBSERVATION, spaces.Dict({"x": spaces.Box(-1, 1, (1,))})), "dqn")


def test_every_discrete_kind_becomes_branches_that_count_from_zero(make_schema):
    space = spaces.Tuple((spaces.Discrete(4, start=-1), spaces.MultiDiscrete([2, 3], start=[5, 0]), spaces.MultiBinary(2)))
    actions = DiscreteActions(make_schema(OBSERVATION, space), "dqn")
    assert actions.sizes == [4, 2, 3, 2, 2]
    columns = actions.columns(np.array([[0, 1, 2, 1, 0], [3, 0, 0, 0, 1]]))
    assert columns["action.0"].tolist() == [-1, 2]
    assert columns["action.1"].tolist() == [[6, 2], [5, 0]]
    assert columns["action.2"].tolist() == [[1, 0], [0, 1]]
    stored = {name: torch.from_numpy(leaf) for name, leaf in columns.items()}
    assert actions.indices(stored).tolist() == [[0, 1, 2, 1, 0], [3, 0, 0, 0, 1]]
