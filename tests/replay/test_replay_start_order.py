"""Order by start: what may be running unknown holds back what began later, behind a gate."""

import pytest

from replay.client_records import Running
from replay.start_order import StartOrder
from sojourn.experience import EndKind

A, B = ("actor-0", 1), ("actor-1", 1)


def test_what_runs_holds_back_what_began_later():
    order = StartOrder(strict=False)
    assert order.known_until_s == float("inf")
    order.reported(A, [Running(0, 1, 5.0, 0), Running(1, 1, 2.0, 0)], 10.0, 0.0)
    order.reported(B, [Running(0, 1, 7.0, 0, ended=EndKind.ABORTED)], 11.0, 0.0)
    assert order.known_until_s == 5.0
    order.reported(A, [], 12.0, 0.0)
    assert order.known_until_s == float("inf")


def test_behind_a_gate_what_no_report_can_list_yet_holds_back_too():
    order = StartOrder(strict=True)
    order.reported(A, [Running(0, 1, 5.0, 0)], 10.0, 0.0)
    order.reported(B, [], 11.0, 0.0)
    assert order.known_until_s == 5.0
    order.reported(A, [], 12.0, 0.0)
    assert order.known_until_s == pytest.approx(
        10.8
    )  # younger than 0.1 s is not listed, and a report is under way for 0.1 s at most


def test_a_report_that_is_sent_again_knows_no_more_than_before():
    order = StartOrder(strict=True)
    order.reported(A, [], 10.0, 0.0)
    order.reported(A, [], 13.0, 3.0)
    assert order.known_until_s == pytest.approx(9.8)
    order.reported(A, [], 14.0, float("nan"))
    assert order.known_until_s == pytest.approx(9.8)


def test_a_life_that_is_over_holds_nothing_back_and_its_late_words_count_no_more():
    order = StartOrder(strict=True)
    order.reported(A, [Running(0, 1, 5.0, 0)], 10.0, 0.0)
    newer = ("actor-0", 2)
    order.reported(newer, [], 20.0, 0.0)
    order.reported(A, [Running(0, 1, 15.0, 0)], 20.0, 0.0)
    order.closed(A)
    assert order.known_until_s == pytest.approx(19.8)
    order.closed(newer)
    assert order.known_until_s == float("inf")
