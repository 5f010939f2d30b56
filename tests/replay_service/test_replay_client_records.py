"""What clients report of themselves, and what the shard counts of it."""

from replay.client_records import ClientRecords, Counts, Identity, Running
from sojourn.experience import EndKind

ACTOR = Identity("actor", host="box")


def counts(started: int, completed: int, killed: int = 0) -> Counts:
    return Counts(started, (completed, killed, 0, 0, 0))


def test_totals_grow_by_what_each_report_says_more() -> None:
    records = ClientRecords()
    records.hello("actor-0", 7, ACTOR, 0.0)
    records.heartbeat("actor-0", 7, counts(5, 4), [], 1.0)
    records.heartbeat("actor-0", 7, counts(9, 7, 1), [], 2.0)
    records.heartbeat("actor-0", 7, counts(9, 7, 1), [], 3.0)  # repeated
    records.heartbeat("actor-0", 7, counts(5, 4), [], 4.0)  # late
    assert records.totals == counts(9, 7, 1)


def test_actions_that_a_replaced_life_left_open_have_crashed() -> None:
    records = ClientRecords()
    records.hello("actor-0", 7, ACTOR, 0.0)
    records.heartbeat("actor-0", 7, counts(5, 3), [], 1.0)
    records.hello("actor-0", 8, ACTOR, 2.0)
    assert records.totals.ended[EndKind.CRASHED] == 2
    records.heartbeat("actor-0", 7, counts(6, 6), [], 3.0)  # the old life speaks no more
    records.heartbeat("actor-0", 8, counts(1, 1), [], 3.0)
    assert records.totals == Counts(6, (4, 0, 0, 0, 2))


def test_a_restarted_service_counts_on() -> None:
    before = ClientRecords()
    before.hello("actor-0", 7, ACTOR, 0.0)
    before.heartbeat("actor-0", 7, counts(5, 3), [], 1.0)
    after = ClientRecords.from_json(before.to_json())
    after.hello("actor-0", 7, ACTOR, 10.0)
    after.heartbeat("actor-0", 7, counts(8, 7), [], 11.0)
    assert after.totals == counts(8, 7)


def test_the_oldest_running_action_goes_on_ageing_between_reports() -> None:
    records = ClientRecords()
    records.hello("actor-0", 7, ACTOR, 0.0)
    records.heartbeat("actor-0", 7, counts(2, 0), [Running(0, 1, 3.0, 1), Running(1, 1, 1.0, 1)], 10.0)
    assert records.oldest_running_s(now_s=12.0) == 5.0
    assert records.running_actions() == 2
    records.heartbeat("actor-0", 7, counts(2, 2), [], 13.0)
    assert records.oldest_running_s(now_s=14.0) == 0.0


def test_the_twenty_most_remarkable_clients_are_listed() -> None:
    records = ClientRecords()
    for index in range(30):
        records.hello(f"actor-{index}", 1, ACTOR, now_s=float(index))
    records.heartbeat("actor-29", 1, counts(1, 0), [Running(0, 1, 500.0, 1)], 29.0)
    listed = [record.client_id for record in records.most_remarkable(now_s=30.0)]
    assert listed[:3] == ["actor-29", "actor-0", "actor-1"]
    assert len(listed) == 20


def test_draining_an_older_life_leaves_the_newer_one_in_place() -> None:
    records = ClientRecords()
    records.hello("actor-0", 8, ACTOR, 0.0)
    records.hello("actor-0", 7, ACTOR, 1.0)
    assert records["actor-0"].incarnation == 8
