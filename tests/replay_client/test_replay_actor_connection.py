"""Does an actor's experience reach a real service exactly once and in order, whatever happens in between?"""

import logging
import threading
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import pytest

from replay import actor_connection
from replay.client import ActorConnection, LaneCounts, RunningAction
from sojourn.columns import Column, Schema
from sojourn.errors import ContractError, UnavailableError, ValidationError
from sojourn.experience import EndKind, Segment
from sojourn.metrics import Metrics
from tests.replay_client.outage import Stepping
from tests.waiting import DEADLINE_S, UNHURRIED_S, eventually

MakeSegment = Callable[..., Segment]


def counted(metrics: Metrics, name: str, **labels: str) -> float:
    return metrics.registry.get_sample_value(name, labels) or 0.0


@pytest.fixture
def actor(service: Any):
    connection = service.actor(fleet={"flush_age_s": UNHURRIED_S})
    yield connection
    connection.close()


def test_what_is_inserted_is_acknowledged_and_counted(service: Any, actor: ActorConnection, make_segment: MakeSegment):
    for lane in (0, 1):
        for first in range(0, 40, 8):
            actor.insert(make_segment(lane, first))

    assert actor.drain(DEADLINE_S)
    info = service.info()
    assert (info.env_steps, info.rows, info.refused, info.gaps) == (80, 80, 0, 0)
    assert actor.pace().env_steps == 80


def test_one_message_holds_rows_of_many_lanes(service: Any, make_segment: MakeSegment):
    actor = service.actor(fleet={"environments": 20, "flush_age_s": UNHURRIED_S})
    for lane in range(20):
        actor.insert(make_segment(lane, 0))
    actor.drain(DEADLINE_S)

    assert service.info().clients[0].message_number == 1
    actor.close()


def test_a_message_goes_out_with_a_segment_of_every_slot(service: Any, make_segment: MakeSegment):
    actor = service.actor(fleet={"environments": 2, "segment_steps": 8, "flush_age_s": UNHURRIED_S})
    actor.insert(make_segment(0, 0))
    actor.insert(make_segment(1, 0))

    eventually(lambda: service.info().env_steps == 16)
    actor.close()


def test_an_actor_waits_for_a_service_that_is_there_and_not_for_one_that_is_away(make_service: Any, make_segment: MakeSegment):
    """The limiter admits no insert: the actor's segments would only grow old. In an outage it goes on collecting."""
    limiter = {"min_size": 8, "samples_per_insert": 1.0, "tolerance": 16.0}
    service = make_service(tables={"replay": {"capacity_steps": 4_096, "limiter": limiter}}, learners={"batch_size": 8})
    actor = service.actor(fleet={"segment_steps": 8})
    stepping = Stepping(actor, partial(make_segment, 0), range(0, 800, 8))
    eventually(lambda: any(table.insert_blocked for table in service.info().tables))
    assert not stepping.is_over(within_s=0.5)
    assert len(stepping.inserted) < 20  # what the limiter admitted, and a few messages ahead

    service.stop()
    assert stepping.is_over()
    assert len(stepping.inserted) == 100
    actor.close()


def test_a_message_goes_out_when_it_is_large_enough(service: Any, make_segment: MakeSegment):
    actor = service.actor(fleet={"flush_bytes": 2_000, "flush_age_s": UNHURRIED_S})
    for first in range(0, 80, 8):
        actor.insert(make_segment(0, first))

    eventually(lambda: service.info().env_steps >= 16)
    actor.close()


def test_a_message_goes_out_when_it_is_old_enough(service: Any, make_segment: MakeSegment):
    actor = service.actor(fleet={"flush_age_s": 0.05})
    actor.insert(make_segment(0, 0))

    eventually(lambda: service.info().env_steps == 8)
    actor.close()


def test_closing_sends_what_waits_as_the_final_message(service: Any, make_segment: MakeSegment, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(actor_connection, "FAREWELL_S", DEADLINE_S)
    actor = service.actor(fleet={"flush_age_s": UNHURRIED_S})
    actor.insert(make_segment(0, 0))
    actor.close()

    assert service.info().env_steps == 8
    with pytest.raises(UnavailableError, match="closed"):
        actor.insert(make_segment(0, 8))


def test_a_refused_message_is_counted_and_logged_and_the_next_one_is_accepted(
    service: Any, make_segment: MakeSegment, caplog: pytest.LogCaptureFixture
):
    metrics = Metrics("actor")
    actor = service.actor(metrics=metrics)
    poisoned = make_segment(0, 0)
    poisoned.reward[3] = np.nan
    with caplog.at_level(logging.WARNING, "sojourn.replay.client"):
        actor.insert(poisoned)
        assert actor.drain(DEADLINE_S)
    actor.insert(make_segment(1, 0))
    assert actor.drain(DEADLINE_S)
    actor.close()

    assert counted(metrics, "sojourn_actor_inserts_acknowledged_total", outcome="refused") == 1
    assert counted(metrics, "sojourn_actor_inserts_acknowledged_total", outcome="accepted") >= 1
    assert service.info().env_steps == 8
    assert "message 1 was refused" in caplog.text
    assert "reward" in caplog.text


def test_a_segment_of_another_shape_is_named_and_spoils_no_other(service: Any, actor: ActorConnection, make_segment: MakeSegment):
    actor.insert(make_segment(0, 0))
    wrong = make_segment(1, 0, observation={"observation": np.zeros((9, 3), np.float32)})

    with pytest.raises(ValidationError, match=r"'observation'.* must have shape \(9, 2\), got \(9, 3\)"):
        actor.insert(wrong)
    with pytest.raises(ValidationError, match=r"'action' .*got none"):
        actor.insert(make_segment(1, 0, action={}))
    assert actor.drain(DEADLINE_S)
    assert service.info().env_steps == 8


def test_a_segment_above_the_size_limit_is_refused_with_the_remedy(make_service: Any, make_segment: MakeSegment):
    actor = make_service(replay={"max_message_bytes": 65_536}).actor()

    with pytest.raises(ValidationError, match=r"refuses messages above 65536: lower actors\.segment_steps"):
        actor.insert(make_segment(0, 0, steps=2_000))
    actor.close()


def test_many_segments_above_the_size_limit_together_travel_in_several_messages(make_service: Any, make_segment: MakeSegment):
    service = make_service(replay={"max_message_bytes": 65_536})
    actor = service.actor(fleet={"flush_bytes": 1 << 30, "flush_age_s": UNHURRIED_S})
    for lane in range(10):
        actor.insert(make_segment(lane, 0, steps=200))

    assert actor.drain(DEADLINE_S)
    assert service.info().env_steps == 2_000
    assert service.info().clients[0].message_number >= 3
    actor.close()


def test_a_wrong_schema_is_refused_at_once_with_the_difference(service: Any, actor: ActorConnection):
    other = replace(Schema.from_json(service.info().schema_json), extras=(Column("cost", "float32"),))

    with pytest.raises(ContractError, match="cost"):
        service.actor("actor-1", schema=other)


def test_another_run_is_refused_at_once_with_both_names(service: Any):
    with pytest.raises(ContractError, match=r"'another'.*'run'"):
        service.actor(run_id="another")


def test_no_service_in_time_is_said_with_the_reason(service: Any):
    with pytest.raises(UnavailableError, match=r"no replay service within 0\.3 s"):
        service.actor(address=lambda: "127.0.0.1:1", timeout_s=0.3)


def test_an_address_that_is_not_known_yet_is_asked_again(service: Any):
    asked = []

    def address() -> str:
        asked.append(None)
        if len(asked) < 3:
            raise UnavailableError("replay-0 has not started")
        return service.address()

    service.actor(address=address).close()
    assert len(asked) >= 3


def test_a_life_that_was_replaced_learns_so_at_its_next_insert(service: Any, actor: ActorConnection, make_segment: MakeSegment):
    successor = service.actor()  # the same client id
    assert successor.incarnation > actor.incarnation

    def refused() -> bool:
        try:
            actor.insert(make_segment(0, 0))
            actor.flush()
        except ContractError as error:
            return "was replaced by" in str(error)
        return False

    eventually(refused)
    assert not actor.drain(0.1)
    successor.close()


def test_a_full_buffer_blocks_inserts_until_the_service_is_back(service: Any, make_segment: MakeSegment):
    actor = service.actor(buffer_bytes=3_000, fleet={"flush_bytes": 1_000, "flush_age_s": 0.01})
    actor.insert(make_segment(0, 0))
    assert actor.drain(DEADLINE_S)
    service.stop()
    stepping = Stepping(actor, partial(make_segment, 0), range(8, 88, 8))
    eventually(lambda: len(stepping.inserted) >= 2)
    assert not stepping.is_over(within_s=0.3)  # blocked
    assert len(stepping.inserted) < 10

    service.start()
    assert stepping.is_over()
    assert actor.drain(DEADLINE_S)
    assert service.info().env_steps == 80  # this life of a service in memory: all but the first segment
    actor.close()


def test_a_stop_ends_the_wait_and_keeps_the_segment(service: Any, make_segment: MakeSegment):
    stop = threading.Event()
    actor = service.actor(buffer_bytes=10, stop=stop)
    actor.insert(make_segment(0, 0))
    assert actor.drain(DEADLINE_S)
    service.stop()
    actor.insert(make_segment(0, 8))  # an empty buffer takes any; this one is full now
    actor.flush()
    waiting = Stepping(actor, partial(make_segment, 0), [16])
    stop.set()
    assert waiting.is_over()

    service.start()
    assert actor.drain(DEADLINE_S)
    assert service.info().env_steps == 16  # this life of a service in memory: all but the first segment
    actor.close()


def test_no_more_messages_are_under_way_than_the_window_allows(make_service: Any, make_segment: MakeSegment):
    """The limiter admits no insert, so that nothing is acknowledged."""
    limiter = {"min_size": 8, "samples_per_insert": 1.0, "tolerance": 16.0}
    service = make_service(tables={"replay": {"capacity_steps": 4_096, "limiter": limiter}}, replay={"insert_window": 2})
    metrics = Metrics("actor")
    actor = service.actor(metrics=metrics, fleet={"flush_bytes": 1_024, "flush_age_s": 0.01})
    stepping = Stepping(actor, partial(make_segment, 0, steps=40), range(0, 800, 40))
    eventually(lambda: any(table.insert_blocked for table in service.info().tables))

    def under_way() -> float:
        sent = counted(metrics, "sojourn_actor_inserts_sent_total")
        return sent - counted(metrics, "sojourn_actor_inserts_acknowledged_total", outcome="accepted")

    eventually(lambda: under_way() == 2)
    assert not actor.drain(0.3)
    assert under_way() == 2

    learner = service.learner()  # draws, and so lets the inserts go on
    eventually(lambda: learner.sample(DEADLINE_S) and service.info().env_steps == 800)
    assert stepping.is_over()
    assert actor.drain(DEADLINE_S)
    learner.close()
    actor.close()


def test_counters_and_running_actions_reach_the_service(service: Any, actor: ActorConnection):
    actor.report(
        [LaneCounts(lane=0, started=10, completed=8, failed=1), LaneCounts(lane=1, started=5, completed=5)],
        [RunningAction(lane=0, action_number=10, age_s=2.0, policy_version=3), RunningAction(1, 6, 0.01, 3)],
    )

    client = eventually(lambda: next((client for client in service.info().clients if client.started), None))
    assert (client.client_id, client.role, client.started, client.ended) == ("actor-0", "actor", 15, 14)
    assert client.oldest_running_s >= 2.0


def test_ages_go_on_between_report_and_heartbeat(service: Any, actor: ActorConnection):
    """Nothing new is reported, so the heartbeats of later seconds must reckon the age themselves."""
    actor.report([LaneCounts(lane=0, started=1)], [RunningAction(0, 1, age_s=1.0, policy_version=0)])

    assert eventually(lambda: [client for client in service.info().clients if client.oldest_running_s > 2.0])


def test_an_action_that_ended_without_a_row_is_told_even_if_the_next_report_forgets_it(service: Any, actor: ActorConnection):
    actor.report([LaneCounts(0, started=1)], [RunningAction(0, 1, age_s=5.0, policy_version=0)])
    eventually(lambda: service.info().clients[0].running == 1)
    ended = RunningAction(0, 1, age_s=5.5, policy_version=0, ended=EndKind.FAILED)
    actor.report([LaneCounts(0, started=1, failed=1)], [ended])
    actor.report([LaneCounts(0, started=1, failed=1)], [])

    client = eventually(lambda: next((client for client in service.info().clients if client.ended), None))
    assert (client.ended, client.running) == (1, 0)


def test_a_report_is_known_to_the_service_once_it_was_heard(service: Any, actor: ActorConnection):
    """Though it says nothing new that would send a heartbeat at once."""
    for started in range(1, 6):
        actor.report([LaneCounts(0, started=started, completed=started)], [])
        assert actor.heard(DEADLINE_S)
        assert service.info().clients[0].started == started


def test_nobody_hears_a_report_while_the_service_is_down(service: Any, actor: ActorConnection):
    service.stop()
    actor.report([LaneCounts(0, started=1)], [])
    assert not actor.heard(0.2)
    service.start()
    assert actor.heard(DEADLINE_S)
    assert service.info().clients[0].started == 1
