"""Leaves read from a space's JSON are those of the Gymnasium space."""

import numpy as np
import pytest
from gymnasium import spaces

from sojourn.columns import leaves, space_to_json, stacked_space
from sojourn.errors import EnvironmentFault
from sojourn.leaves import leaves_of

SPACES = [
    spaces.Box(-np.inf, np.inf, (3,), np.float64),
    spaces.Box(np.float32([-2.0, 0.0]), np.float32([2.0, 1.0])),
    spaces.Box(0, 255, (8, 8, 3), np.uint8),
    spaces.Box(-1.0, 1.0, (0,)),
    spaces.Discrete(5, start=-2),
    spaces.MultiDiscrete([[2, 3], [4, 5]], start=[[0, 1], [2, 3]]),
    spaces.MultiBinary([2, 3]),
    spaces.Dict({"b": spaces.Discrete(2), "a": spaces.Tuple((spaces.Box(0.0, 1.0, (2,)), spaces.MultiBinary(4)))}),
]


@pytest.mark.parametrize("space", SPACES, ids=str)
def test_a_leaf_has_shape_dtype_and_values_of_its_space(space):
    theirs, ours = list(leaves(space, "x")), list(leaves_of(space_to_json(space), "x"))
    assert [name for name, _ in ours] == [name for name, _ in theirs]
    for (_, leaf), (_, expected) in zip(ours, theirs, strict=True):
        assert (leaf.kind, leaf.shape, leaf.dtype) == (type(expected).__name__, expected.shape, expected.dtype)
        match expected:
            case spaces.Box():
                np.testing.assert_array_equal(leaf.low, expected.low)
                np.testing.assert_array_equal(leaf.high, expected.high)
            case spaces.Discrete():
                assert (leaf.choices, leaf.start) == (expected.n, expected.start)
            case spaces.MultiDiscrete():
                np.testing.assert_array_equal(leaf.choices, expected.nvec)
                np.testing.assert_array_equal(leaf.start, expected.start)
            case spaces.MultiBinary():
                assert (leaf.choices == 2).all()
                assert (leaf.start == 0).all()


def test_stacked_frames_are_a_leading_axis_of_boxes_alone():
    box, integer = spaces.Box(0, 255, (8, 8), np.uint8), spaces.Discrete(3)
    ((_, leaf),) = leaves_of(space_to_json(box), "x")
    stacked, expected = leaf.stacked(4), stacked_space(box, 4)
    assert (stacked.shape, stacked.dtype) == (expected.shape, expected.dtype)
    np.testing.assert_array_equal(stacked.high, expected.high)
    ((_, leaf),) = leaves_of(space_to_json(integer), "x")
    with pytest.raises(EnvironmentFault, match=r"got Discrete\(3\)"):
        leaf.stacked(4)
