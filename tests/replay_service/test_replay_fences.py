"""Incarnations and message numbers: who may insert, what is a resend, what is missing."""

import pytest

from replay.fences import Fence, Fences, Verdict, field_of, stream_of
from sojourn.errors import ContractError

CLOCK_US = 1_000


def test_a_new_life_is_above_the_clock_the_shard_and_the_client() -> None:
    fences = Fences()
    assert fences.open_new("actor-0", 0, CLOCK_US) == ("actor-0", 1_000)
    assert fences.open_new("actor-0", 0, CLOCK_US) == ("actor-0", 1_001)  # the clock stood still
    assert fences.open_new("actor-0", 5_000, CLOCK_US) == ("actor-0", 5_001)  # the client was on another shard
    assert fences.open_new("actor-1", 0, 0) == ("actor-1", 1)


def test_lives_are_open_until_their_final_message() -> None:
    fences = Fences()
    one, other = fences.open_new("actor-0", 0, CLOCK_US), fences.open_new("actor-1", 0, CLOCK_US)
    fences.take(one, 1, final=True)
    assert (fences.closed_streams(), fences.open_streams()) == ([one], [other])


def test_numbers_go_up_by_one_and_a_resend_is_recognised() -> None:
    fences = Fences()
    stream = fences.open_new("actor-0", 0, CLOCK_US)
    for number in (1, 2, 3):
        assert fences.judge(stream, number) is Verdict.NEXT
        fences.take(stream, number, final=False)
    assert fences.judge(stream, 3) is Verdict.DUPLICATE
    assert fences.judge(stream, 1) is Verdict.DUPLICATE
    with pytest.raises(ContractError, match="message 5 of actor-0/1000 came, but 4 is next"):
        fences.judge(stream, 5)


def test_only_what_is_durable_is_told_to_a_client_that_comes_back() -> None:
    fences = Fences()
    stream = fences.open_new("actor-0", 0, CLOCK_US)
    fences.take(stream, 1, final=False)
    assert fences[stream].stored == 0
    fences.store(stream, 1)
    assert fences[stream].stored == 1


def test_a_life_that_was_replaced_is_refused() -> None:
    fences = Fences()
    old = fences.open_new("actor-0", 0, CLOCK_US)
    fences.admit(old)
    fences.admit(fences.open_new("actor-0", 0, CLOCK_US))
    with pytest.raises(
        ContractError,
        match=r"1000 of actor-0 was replaced by 1001; its rows are refused unless the new life declares in Hello .*inherit_incarnation\)$",
    ):
        fences.admit(old)
    with pytest.raises(ContractError, match="was replaced by 1001: say hello as a new life"):
        fences.go_on(old, last_incarnation=1_000)  # the old life itself reconnects


def test_a_successor_may_drain_what_an_older_life_left() -> None:
    fences = Fences()
    old = fences.open_new("actor-0", 0, CLOCK_US)
    fences.take(old, 1, final=False)
    new = fences.open_new("actor-0", 0, CLOCK_US)
    fences.go_on(old, last_incarnation=new[1])
    fences.admit(old)
    assert fences.judge(old, 2) is Verdict.NEXT
    assert fences.open_before(*new) == []  # its lanes stay open while it drains


def test_lives_whose_lanes_are_still_open_are_older_ones_that_nobody_closed() -> None:
    fences = Fences()
    first, second, third = (fences.open_new("actor-0", 0, CLOCK_US) for _ in range(3))
    assert fences.open_before(*third) == [first, second]
    fences.close(first)
    assert fences.closed_streams() == [first]
    assert fences.open_before(*third) == [second]
    assert fences.open_before("actor-1", 5_000) == []


def test_a_reconnect_of_the_same_life_goes_on() -> None:
    fences = Fences()
    stream = fences.open_new("actor-0", 0, CLOCK_US)
    fences.take(stream, 1, final=False)
    fences.go_on(stream, last_incarnation=stream[1])
    assert fences.judge(stream, 2) is Verdict.NEXT


def test_a_life_that_the_shard_has_forgotten_begins_at_any_number() -> None:
    """Level `memory` after a restart: the numbers before are gone with the rows."""
    fences = Fences()
    fences.go_on(("actor-0", 500), last_incarnation=500)
    assert fences.judge(("actor-0", 500), 57) is Verdict.NEXT
    fences.take(("actor-0", 500), 57, final=False)
    with pytest.raises(ContractError):
        fences.judge(("actor-0", 500), 59)


def test_an_unknown_life_must_say_hello() -> None:
    with pytest.raises(ContractError, match="say hello first"):
        Fences().admit(("actor-0", 500))


def test_nothing_follows_a_final_message() -> None:
    fences = Fences()
    stream = fences.open_new("actor-0", 0, CLOCK_US)
    fences.take(stream, 1, final=True)
    assert fences.judge(stream, 1) is Verdict.DUPLICATE
    with pytest.raises(ContractError, match=r"^actor-0/1000 was finished by message 1"):
        fences.judge(stream, 2)
    assert fences.closed_streams() == [stream]


def test_fences_survive_a_restart_as_text() -> None:
    fences = Fences()
    old = fences.open_new("actor-0", 0, CLOCK_US)
    fences.take(old, 4, final=True)
    new = fences.open_new("actor-0", 0, CLOCK_US)
    assert fences.to_texts() == {"actor-0/1000": "4 closed", "actor-0/1001": "0 live"}
    assert fences.to_texts([new]) == {"actor-0/1001": "0 live"}
    again = Fences(fences.to_texts())
    assert again[old] == Fence(taken=4, stored=4, closed=True)
    assert again[new] == Fence()
    assert again.newest("actor-0") == new[1]


def test_a_restart_believes_what_was_stored_or_written_and_a_close_with_its_last_message() -> None:
    fence = Fence(taken=5, stored=3, closed=True)
    assert fence.durable(0) == Fence(taken=3, stored=3)
    assert fence.durable(4) == Fence(taken=4, stored=4)
    assert fence.durable(5) == Fence(taken=5, stored=5, closed=True)
    assert Fence(taken=5, stored=5).durable(0) == Fence(taken=5, stored=5)
    fences = Fences({"actor-0/7": "2 live", "actor-1/7": "1 closed"})
    fences.take(("actor-0", 7), 4, final=True)
    assert fences.durable_texts({("actor-0", 7): 3}) == {"actor-0/7": "3 live", "actor-1/7": "1 closed"}
    assert fences.durable_texts({}) == {"actor-0/7": "2 live", "actor-1/7": "1 closed"}


def test_a_client_id_may_hold_what_separates_the_field() -> None:
    assert stream_of(field_of(("host:1/actor", 7))) == ("host:1/actor", 7)
