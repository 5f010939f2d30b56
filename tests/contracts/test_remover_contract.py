"""What the table expects of any remover. A new one adds a line to REMOVERS and passes as it is."""

import numpy as np
import pytest

from replay.items import LIVE, Items, make_items
from replay.removers import REMOVERS, Remover

CAPACITY, BLOCK_ROWS = 512, 64


@pytest.fixture(params=sorted(REMOVERS))
def remover(request: pytest.FixtureRequest) -> Remover:
    return REMOVERS[request.param](CAPACITY)


def add(remover: Remover, positions: list[int], priorities: list[float] | None = None) -> Items:
    """The items as the table keeps them, added to the remover."""
    items = make_items(CAPACITY, CAPACITY // BLOCK_ROWS)
    chosen = np.array(positions, np.int64)
    items.state[chosen] = LIVE
    items.priority[chosen] = priorities or [1.0] * len(positions)
    np.add.at(items.in_block, chosen // BLOCK_ROWS, 1)
    remover.add(chosen, items.priority[chosen].astype(np.float64))
    return items


def test_what_is_popped_was_added_and_comes_once(remover):
    add(remover, [9, 400, 3, 77])
    popped = np.concatenate([remover.pop(3), remover.pop(3)])
    assert popped.dtype == np.int64
    assert sorted(popped.tolist()) == [3, 9, 77, 400]
    assert len(remover.pop(1)) == 0
    remover.check()


def test_what_was_discarded_does_not_leave_again(remover):
    add(remover, [9, 400, 3, 77])
    remover.discard(np.array([400, 3, 500]))
    assert sorted(remover.pop(9).tolist()) == [9, 77]
    remover.check()


def test_a_position_can_hold_another_item_later(remover):
    add(remover, [9, 400])
    remover.pop(2)
    add(remover, [400, 9])
    assert sorted(remover.pop(2).tolist()) == [9, 400]


def test_updates_keep_what_is_held(remover):
    add(remover, [9, 400, 3])
    remover.update(np.array([9, 3]), np.array([0.5, 7.0]))
    assert sorted(remover.pop(3).tolist()) == [3, 9, 400]
    remover.check()


def test_making_room_takes_something_out_unless_there_is_nothing(remover):
    items = add(remover, [9, 70, 71, 400], [5.0, 1.0, 1.0, 3.0])
    victims = remover.pop_for_room(items)
    assert len(victims) >= 1
    assert set(victims.tolist()) <= {9, 70, 71, 400}
    assert sorted([*victims.tolist(), *remover.pop(9).tolist()]) == [9, 70, 71, 400]
    items.state[:] = 0
    assert len(remover.pop_for_room(items)) == 0
    remover.check()
