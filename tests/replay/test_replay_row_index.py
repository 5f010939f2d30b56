"""The row index against a dict, also where survivors of long ago lie among runs of new rows."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from replay.row_index import RowIndex


@given(st.integers(0, 2**32), st.lists(st.tuples(st.integers(1, 40), st.floats(0, 1), st.integers(0, 3)), max_size=40))
@settings(max_examples=100, deadline=None)
def test_finds_what_a_dict_finds(seed, turns):
    rng = np.random.default_rng(seed)
    capacity, number, slow = 96, 1, {}
    index = RowIndex(capacity)
    for run, share_deleted, skipped in turns:
        run = min(run, capacity - len(slow))
        positions = rng.integers(0, 2**31 - 1, run)
        index.insert(number, positions)
        slow.update(zip(range(number, number + run), positions.tolist(), strict=True))
        number += run + skipped * 10_000
        gone = [key for key in slow if rng.random() < share_deleted]
        index.delete(np.array([*gone, number + 5], np.int64))
        for key in gone:
            del slow[key]
        index.check()
        asked = np.array([*slow, *gone, 0, number], np.int64)
        assert index.find(asked).tolist() == [slow.get(int(key), -1) for key in asked]
        assert len(index) == len(slow)


def test_old_rows_among_a_million_newer_ones_are_found_at_once():
    index = RowIndex(20_000)
    index.insert(1, np.arange(100))
    for first in range(101, 1_000_000, 10_000):
        index.insert(first, np.arange(10_000))
        index.delete(np.arange(first, first + 10_000))
    index.check()
    assert index.find(np.array([1, 50, 100, 101])).tolist() == [0, 49, 99, -1]
