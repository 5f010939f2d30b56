"""Does the outage buffer keep what is unacknowledged, in order, within its budget?"""

import pytest
from hypothesis import given, settings

from replay.outage_buffer import OutageBuffer
from sojourn.errors import ValidationError
from tests.replay_client.outage import calls_of, followed, message


def filled(*numbers: int) -> OutageBuffer:
    buffer = OutageBuffer(budget_bytes=100)
    for number in numbers:
        buffer.append(message(number, 10))
    return buffer


def test_messages_come_back_in_order_until_they_are_acknowledged():
    buffer = filled(1, 2, 3)

    assert buffer.acknowledge(2).number == 2  # 1 and 3 are left
    assert buffer.after(0).number == 1
    assert buffer.after(1).number == 3
    assert buffer.after(3) is None
    assert (len(buffer), buffer.bytes) == (2, 20)


def test_acknowledging_twice_is_noticed():
    buffer = filled(1)

    assert buffer.acknowledge(1) is not None
    assert buffer.acknowledge(1) is None


def test_what_the_service_already_has_leaves_at_once():
    buffer = filled(4, 5, 6)

    assert [kept.number for kept in buffer.acknowledge_through(5)] == [4, 5]
    assert buffer.after(0).number == 6


def test_the_budget_binds_but_never_an_empty_buffer():
    buffer = OutageBuffer(budget_bytes=25)

    assert buffer.has_room(1_000)
    buffer.append(message(1, 20))
    assert buffer.has_room(5)
    assert not buffer.has_room(6)


def test_a_number_that_does_not_rise_is_refused():
    with pytest.raises(ValidationError, match="message 3 cannot follow message 3"):
        filled(3).append(message(3, 10))


@settings(max_examples=100, deadline=None)
@given(calls_of("append", "acknowledge", "through"))
def test_any_sequence_of_calls_agrees_with_a_plain_dictionary(calls: list[tuple[str, int]]):
    for _ in followed(OutageBuffer(10_000), calls):
        pass
