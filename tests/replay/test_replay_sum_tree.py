"""The sum tree against an array: same totals, same draws; zero is never drawn; rounding does not pile up."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from replay.sum_tree import SumTree, aligned, last_positive

priorities = st.one_of(st.just(0.0), st.floats(1e-12, 1e9))


@given(st.integers(1, 700), st.data())
@settings(max_examples=60, deadline=None)
def test_draws_fall_where_the_running_sum_of_an_array_says(capacity, data):
    tree, slow = SumTree(capacity), np.zeros(capacity)
    for _ in range(data.draw(st.integers(1, 4))):
        size = data.draw(st.integers(1, 40))
        positions = np.array(data.draw(st.lists(st.integers(0, capacity - 1), min_size=size, max_size=size)))
        values = np.array(data.draw(st.lists(priorities, min_size=size, max_size=size)))
        tree.set(positions, values)
        for position, value in zip(positions, values, strict=True):
            slow[position] = value
        tree.check()
    assert tree.total == pytest.approx(slow.sum(), rel=1e-12)
    assert tree.positive == np.count_nonzero(slow)
    if tree.positive:
        fractions = np.array(data.draw(st.lists(st.floats(0, 1), min_size=1, max_size=20)))
        drawn, probability = tree.draw(fractions)
        edges = np.concatenate([[0.0], np.cumsum(slow)])
        slack = 1e-9 * slow.sum()
        assert (slow[drawn] > 0).all()
        assert (edges[drawn] - slack <= fractions * slow.sum()).all()
        assert (fractions * slow.sum() <= edges[drawn + 1] + slack).all()
        assert probability == pytest.approx(slow[drawn] / slow.sum(), rel=1e-9)


def test_shares_of_many_draws_are_the_priorities():
    tree = SumTree(5)
    tree.set(np.arange(5), np.array([1.0, 0.0, 2.0, 3.0, 4.0]))
    drawn, _ = tree.draw((np.arange(10_000) + 0.5) / 10_000)
    assert np.bincount(drawn, minlength=5).tolist() == [1000, 0, 2000, 3000, 4000]


def test_a_draw_on_an_edge_takes_the_leaf_that_begins_there():
    values = np.arange(300) % 8 * 1.0  # every eighth is zero
    values[299] += 2048.0 - values.sum()  # a power of two, so that fractions are exact
    tree = SumTree(300)
    tree.set(np.arange(300), values)
    drawn, probability = tree.draw(np.arange(2048) / 2048)
    assert drawn.tolist() == np.repeat(np.arange(300), values.astype(int)).tolist()
    assert probability.tolist() == (values[drawn] / 2048).tolist()


def test_priorities_are_read_as_they_were_set_and_however_small_are_drawn():
    tree = SumTree(40)
    tree.set(np.array([17]), np.array([1e-300]))  # the second group alone
    tree.check()
    assert tree.total == 1e-300
    assert tree.get(np.array([16, 17])).tolist() == [0.0, 1e-300]
    assert tree.draw(np.array([0.5]))[0].tolist() == [17]


def test_a_fraction_of_one_takes_the_last_positive_leaf():
    tree = SumTree(300)
    tree.set(np.array([7, 250]), np.array([1.0, 2.0]))
    assert tree.draw(np.array([0.0, 1.0]))[0].tolist() == [7, 250]


def test_the_total_is_exact_after_a_million_updates():
    tree, rng = SumTree(4096), np.random.default_rng(0)
    for _ in range(500):
        tree.set(rng.integers(0, 4096, 2000), rng.random(2000) * 1e6)
    tree.set(np.arange(4096), np.full(4096, 0.5))
    assert tree.total == 2048.0


def test_of_a_position_given_twice_the_last_value_stays():
    tree = SumTree(16)
    tree.set(np.array([3, 3]), np.array([5.0, 2.0]))
    assert tree.total == 2.0
    assert tree.positive == 1


def test_an_empty_tree_refuses_to_draw():
    with pytest.raises(ValueError, match="sum of priorities is 0"):
        SumTree(8).draw(np.array([0.5]))


def test_behind_the_end_of_a_group_the_last_positive_leaf_of_it_is_taken():
    nodes = np.zeros(80)
    nodes[16 + 3] = 1.0  # of the group before
    assert last_positive(nodes, 16, 40) == 32  # none: the first
    nodes[16 + 35] = 0.25
    assert last_positive(nodes, 16, 40) == 35
    nodes[16 + 47] = 0.25
    assert last_positive(nodes, 16, 40) == 47


@pytest.mark.parametrize("fill", [0.0, 2.5])
def test_arrays_start_on_a_cache_line(fill):
    arrays = [aligned(size, fill) for size in range(1, 40)]
    assert [len(array) for array in arrays] == list(range(1, 40))
    assert all(array.ctypes.data % 64 == 0 and array.dtype == np.float64 and (array == fill).all() for array in arrays)


@pytest.mark.parametrize(
    ("node", "value", "message"),
    [
        (7, -1.0, "^negative or NaN leaf"),
        (8, 3.0, "^count of positive leaves"),
        (7, 1e-20 * (1 + 1e-9), "^level 0 does not sum up"),
    ],
)
def test_a_tree_proves_its_invariant(node, value, message):
    tree = SumTree(300)
    tree.set(np.array([7]), np.array([1e-20]))
    tree.check()
    tree._nodes[node] = value
    with pytest.raises(AssertionError, match=message):
        tree.check()


def test_the_root_is_a_part_of_the_invariant():
    tree = SumTree(300)
    tree.set(np.array([7]), np.array([1.0]))
    tree._nodes[tree._offsets[-2]] = 1.1
    with pytest.raises(AssertionError, match="level 2 does not sum up"):
        tree.check()
