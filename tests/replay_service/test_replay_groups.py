"""How is each message of a group judged, what does it count, and what is left in the queue? A real shard, messages by hand."""

from collections import deque
from types import SimpleNamespace
from typing import Any

import pytest

from replay import groups
from replay.arrow import decode_chunk
from replay.commit import StoredChunk
from replay.groups import Group, Waiting, next_group
from replay.insert_calls import InsertCall, Outcome
from replay.shard import Clock, Shard, Totals
from sojourn.errors import ContractError
from sojourn.metrics import Metrics

ACTOR, OTHER = ("actor-0", 7), ("actor-1", 7)
STEPS = 10


class World:
    """A shard that knows two lives, and what waits in front of its committer."""

    def __init__(self, kit: SimpleNamespace, **limiter: Any) -> None:
        self._kit = kit
        table = {"capacity_steps": 256, "limiter": {"samples_per_insert": None, "min_size": 1, **limiter}}
        config = kit.config(tables={"replay": table}, learners={"batch_size": 1})
        clock = Clock(now_s=lambda: 10.0, unix_s=lambda: 1_000.0)
        self.shard = Shard(config, run_id="run", index=0, incarnation=1, metrics=Metrics("replay"), clock=clock)
        self.shard.recovering = ""
        self.shard.install(kit.schema, self.shard.make_store(kit.schema))
        for client_id, incarnation in (ACTOR, OTHER):
            self.shard.fences.open_new(client_id, 0, incarnation)
        self.calls = {stream: InsertCall(stream) for stream in (ACTOR, OTHER)}
        self.queue: deque[Waiting] = deque()

    def send(self, number: int, *lanes: tuple[int, int], stream: Any = ACTOR, **told: Any) -> Waiting:
        """lanes: (lane, first sequence) of segments of ten steps."""
        body = self._kit.body(*(self._kit.segment(lane, first, STEPS) for lane, first in lanes)) if lanes else b""
        rows = decode_chunk(self._kit.schema, body) if lanes else None
        call = self.calls[stream]
        call.took()
        waiting = Waiting(stream, call, 4.0, number, 0.5, body, rows, **told)
        self.queue.append(waiting)
        return waiting

    def take(self) -> Group:
        return next_group(self.shard, self.queue)

    def taken(self, stream: Any = ACTOR) -> int:
        return self.shard.fences[stream].taken


@pytest.fixture
def world(kit: SimpleNamespace) -> World:
    return World(kit)


def test_a_server_that_lost_something_hears_of_no_message_that_is_not_durable(world: World) -> None:
    world.send(1, (0, 0))
    world.send(2, (0, STEPS), final=True)
    world.take()
    told = [world.shard.standing(written).fences["actor-0/7"] for written in ({}, {ACTOR: 1}, {ACTOR: 2})]
    assert told == ["0 live", "1 live", "2 closed"]


def test_accepted_messages_are_numbered_and_counted_in_their_order(world: World) -> None:
    first, second = world.send(1, (0, 0)), world.send(2, (0, STEPS), (3, 5), final=True)
    other = world.send(1, (0, 0), stream=OTHER)
    group = world.take()

    assert group.entries == [first, second, other]
    assert [waiting.outcome for waiting in group.entries] == [Outcome.ACCEPTED] * 3
    assert group.chunks == [
        StoredChunk(1, 10, "actor-0", 7, 1, 1_000.0, 6.5, first.body),
        StoredChunk(11, 20, "actor-0", 7, 2, 1_000.0, 6.5, second.body),
        StoredChunk(31, 10, "actor-1", 7, 1, 1_000.0, 6.5, other.body),
    ]
    assert group.totals == Totals(next_row=41, env_steps=40, episodes=0)
    assert group.lanes == {(ACTOR, 0): 19, (ACTOR, 3): 14, (OTHER, 0): 9}
    assert group.chunk_bytes == group.taken_bytes == sum(len(waiting.body) for waiting in group.entries)
    assert (world.taken(), world.taken(OTHER)) == (2, 1)
    assert (world.shard.fences[ACTOR].closed, world.shard.fences[OTHER].closed) == (True, False)


def test_a_resend_brings_nothing_even_a_bad_one(world: World) -> None:
    world.send(1, (0, 0))
    again, bad = world.send(1, (0, 0)), world.send(1, refusal="no rows")
    group = world.take()
    assert [waiting.outcome for waiting in (again, bad)] == [Outcome.DUPLICATE] * 2
    assert group.entries[1:] == [again, bad]
    assert (len(group.chunks), group.totals.env_steps, world.taken()) == (1, STEPS, 1)
    assert group.taken_bytes == 2 * group.chunk_bytes


def test_a_message_out_of_turn_ends_its_call_and_no_other(world: World) -> None:
    world.send(2, (0, 0))
    world.send(3, (0, STEPS))
    other = world.send(1, (0, 0), stream=OTHER)
    group = world.take()
    assert group.entries == [other]
    assert isinstance(world.calls[ACTOR].error, ContractError)
    assert (world.calls[ACTOR].waiting, world.calls[OTHER].waiting) == (0, 1)
    world.send(3, (0, 0), stream=OTHER)
    world.take()
    assert world.shard.counts.message_gaps == 2  # calls, not messages
    assert world.shard.metrics.registry.get_sample_value("sojourn_replay_message_gaps_total") == 2.0


def test_a_refused_message_consumes_its_number_and_says_why(world: World) -> None:
    unread = world.send(1, refusal="not Arrow")
    back = [world.send(2, (0, 4)), world.send(3, (0, 13)), world.send(4, (0, 14))]
    group = world.take()
    assert (unread.outcome, unread.refusal) == (Outcome.REFUSED, "not Arrow")
    assert [waiting.outcome for waiting in back] == [Outcome.ACCEPTED, Outcome.REFUSED, Outcome.ACCEPTED]
    assert back[1].refusal == "lane 0 begins at sequence 13, but 13 of it came before"
    assert back[1].rows is None
    assert [chunk.message_number for chunk in group.chunks] == [2, 4]
    assert world.taken() == 4


def test_rows_that_the_store_cannot_take_are_refused(world: World) -> None:
    waiting = world.send(1, (0, 0))
    world.shard.append(world.shard.serving_store(), waiting.rows, ACTOR, 10.0, 0.0)
    group = world.take()
    assert waiting.outcome is Outcome.REFUSED
    assert "sequence" in waiting.refusal
    assert group.chunks == []


def test_a_final_message_without_rows_and_a_close_have_no_chunk(world: World) -> None:
    final, close = world.send(1, final=True), Waiting(OTHER, None, 4.0, final=True)
    world.queue.append(close)
    group = world.take()
    assert group.entries == [final, close]
    assert final.outcome is Outcome.ACCEPTED
    assert group.chunks == []
    assert (world.taken(), world.taken(OTHER)) == (1, 0)
    assert world.shard.fences.closed_streams() == [ACTOR, OTHER]


def test_a_group_ends_where_the_limiter_would_admit_no_more(kit: SimpleNamespace) -> None:
    world = World(kit, samples_per_insert=1.0, tolerance=20.0)
    first = world.send(1, (0, 0))
    world.take()
    world.shard.append(world.shard.serving_store(), first.rows, ACTOR, 10.0, 0.0)  # 9 items: surplus 8
    for number in range(1, 5):
        world.send(number + 1, (0, number * STEPS))
    assert [waiting.number for waiting in world.take().entries] == [2, 3]  # 28 is over 20, by one message
    assert [waiting.number for waiting in world.queue] == [4, 5]


def test_a_group_ends_behind_its_bytes(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    size = len(world.send(1, (0, 0)).body)
    for number in range(1, 4):
        world.send(number + 1, (0, number * STEPS))
    monkeypatch.setattr(groups, "GROUP_BYTES", 2 * size)
    assert len(world.take().entries) == 2
    assert len(world.queue) == 2
