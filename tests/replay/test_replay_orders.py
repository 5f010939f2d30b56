"""The arrival queue and the least tree against lists."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from replay.orders import ArrivalQueue, LeastTree

CAPACITY = 24
operations = st.lists(st.tuples(st.sampled_from(["add", "discard", "pop"]), st.sets(st.integers(0, CAPACITY - 1))), max_size=40)


@given(operations)
@settings(max_examples=150, deadline=None)
def test_the_queue_gives_positions_in_the_order_of_a_list(turns):
    queue, slow = ArrivalQueue(CAPACITY), []
    for what, positions in turns:
        chosen = np.array(sorted(positions), np.int64)
        if what == "add":
            new = chosen[~np.isin(chosen, slow)]
            queue.add(new)
            slow += new.tolist()
        elif what == "discard":
            queue.discard(chosen)
            slow = [position for position in slow if position not in positions]
        else:
            assert queue.pop(len(chosen)).tolist() == slow[: len(chosen)]
            slow = slow[len(chosen) :]
        queue.check()
        assert len(queue) == len(slow)


@given(operations, st.integers(0, 2**32))
@settings(max_examples=150, deadline=None)
def test_the_tree_gives_the_least_values_first(turns, seed):
    tree, slow, rng = LeastTree(CAPACITY), {}, np.random.default_rng(seed)
    for what, positions in turns:
        chosen = np.array(sorted(positions), np.int64)
        if what == "add":
            values = rng.permutation(1000)[: len(chosen)] / 7.0
            tree.set(chosen, values)
            slow.update(zip(chosen.tolist(), values.tolist(), strict=True))
        elif what == "discard":
            tree.discard(chosen)
            slow = {position: value for position, value in slow.items() if position not in positions}
        else:
            expected = sorted(slow.values())[: len(chosen)]
            popped = tree.pop(len(chosen)).tolist()
            assert [slow.pop(position) for position in popped] == expected
        tree.check()
        assert tree.count(50.0) == sum(value < 50.0 for value in slow.values())
