"""Starts are admitted by count alone: what was admitted never exceeds (eta + updates + 1) B."""

import random

import pytest

from replay.client_records import Counts
from replay.gate import Gate
from sojourn.config import Config

ONE, OTHER = ("actor-0", 1), ("actor-1", 1)


def counts(started: int, completed: int = 0, crashed: int = 0) -> Counts:
    return Counts(started, (completed, 0, 0, 0, crashed))


def test_a_lone_actor_may_start_what_one_more_than_eta_updates_need():
    gate = Gate(most_lag=4, steps_per_update=32)
    assert gate.grant(ONE, counts(0), lanes=64, on_the_way=0, accepted=0) == 160
    assert gate.grant(ONE, counts(64), lanes=64, on_the_way=0, accepted=0) == 96
    assert gate.grant(ONE, counts(160, 100), lanes=64, on_the_way=0, accepted=100) == 0


def test_each_update_admits_another_batch():
    gate = Gate(most_lag=0, steps_per_update=32)
    assert gate.grant(ONE, counts(32, 32), lanes=4, on_the_way=0, accepted=32) == 0
    gate.learner_reported(0, consumed=0)
    gate.learner_reported(1, consumed=32)
    assert gate.grant(ONE, counts(32, 32), lanes=4, on_the_way=0, accepted=32) == 32


def test_rows_on_the_way_and_what_was_dropped_are_no_room_and_room():
    gate = Gate(most_lag=0, steps_per_update=10)
    assert gate.grant(ONE, counts(10, 8), lanes=1, on_the_way=8, accepted=0) == 0
    assert gate.grant(ONE, counts(10, 10), lanes=1, on_the_way=0, accepted=10 - 3) == 3


def test_what_crashed_makes_room_again():
    gate = Gate(most_lag=0, steps_per_update=10)
    gate.grant(ONE, counts(10), lanes=2, on_the_way=0, accepted=0)
    assert gate.grant(ONE, counts(10, 0, crashed=4), lanes=2, on_the_way=0, accepted=0) == 4


def test_actors_share_what_is_free_by_their_lanes_and_keep_what_they_were_given():
    gate = Gate(most_lag=0, steps_per_update=40)
    assert gate.grant(ONE, counts(0), lanes=1, on_the_way=0, accepted=0) == 40  # nobody else is known yet
    assert gate.grant(OTHER, counts(0), lanes=3, on_the_way=0, accepted=0) == 0
    gate.left(ONE)
    assert gate.grant(OTHER, counts(0), lanes=3, on_the_way=0, accepted=0) == 40
    assert gate.grant(ONE, counts(0), lanes=1, on_the_way=0, accepted=0) == 0


def test_after_a_resume_updates_count_from_the_resumed_step():
    gate = Gate(most_lag=1, steps_per_update=10)
    gate.learner_reported(0, consumed=0)
    gate.learner_reported(50, consumed=500)
    gate.learner_began()
    gate.learner_reported(40, consumed=500)  # ten updates are lost with the learner, what they consumed is gone

    assert gate.grant(ONE, counts(500, 500), lanes=1, on_the_way=0, accepted=500) == 20
    gate.learner_reported(41, consumed=510)
    assert gate.grant(ONE, counts(520, 510), lanes=1, on_the_way=0, accepted=510) == 10


def test_the_bound_holds_over_any_order_of_starts_ends_and_updates():
    """Against a list of what is where, with three actors, actions of any length, crashes and late rows."""
    rng = random.Random(7)
    gate, batch, eta = Gate(most_lag=2, steps_per_update=8), 8, 2
    lives = {("actor", number): [0, 0, 0, 0] for number in range(3)}  # started, completed, crashed, arrived
    leave = dict.fromkeys(lives, 0)
    updates = consumed = most = 0
    gate.learner_reported(0, 0)
    for _ in range(20_000):
        stream = rng.choice(list(lives))
        started, completed, crashed, arrived = life = lives[stream]
        accepted = sum(other[3] for other in lives.values())
        match rng.randrange(6):
            case 0 if started < leave[stream]:
                life[0] += 1
            case 1 if completed + crashed < started:
                life[1] += 1
            case 2 if completed + crashed < started and rng.random() < 0.1:
                life[2] += 1
            case 3 if arrived < completed:
                life[3] += 1
            case 4 if accepted - consumed >= batch:
                consumed, updates = consumed + batch, updates + 1
                gate.learner_reported(updates, consumed)
            case 5:
                granted = gate.grant(stream, counts(started, completed, crashed), 4, completed - arrived, accepted)
                leave[stream] = started + granted
        admitted = sum(life[0] - life[2] for life in lives.values())
        most = max(most, admitted - (eta + updates + 1) * batch)
    assert most <= 0
    assert updates > 200


def test_a_gate_is_for_tables_that_consume_in_order():
    with pytest.raises(ValueError, match="needs sampler: fifo"):
        Config.model_validate({"tables": {"replay": {"max_staleness": 4}}})
