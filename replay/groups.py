"""Which waiting messages become durable together, and how each of them is judged. No I/O: it reads and advances fences and counts.

A message is a duplicate, out of turn, refused or accepted; only accepted rows get numbers. What is judged here is applied as it is.
"""

from collections import deque
from dataclasses import dataclass, field

import numpy as np

from replay.answers import Stream
from replay.commit import StoredChunk
from replay.fences import Verdict
from replay.insert_calls import InsertCall, Outcome
from replay.rows import Rows
from replay.shard import Shard, Totals
from replay.store import Store
from sojourn.errors import ContractError, ValidationError

GROUP_BYTES = 4 << 20  # a commit is not made larger than this, so that its time stays short


@dataclass
class Waiting:
    """A message, or the close of a life that ended, on its way through the committer.

    call: None for a close.  rows: None where there are none.  refusal: why it cannot be stored, "" if nothing was found yet.
    """

    stream: Stream
    call: InsertCall | None
    arrived_s: float
    number: int = 0
    held_s: float = 0.0
    body: bytes = b""
    rows: Rows | None = None
    final: bool = False
    refusal: str = ""
    outcome: Outcome = Outcome.ACCEPTED


@dataclass
class Group:
    """What becomes durable in one commit, in order.

    totals: the shard's counts when it is applied.  lanes: last sequence that it brings, by life and lane.
    chunk_bytes: of the chunks.  taken_bytes: of all messages that were taken from the queue.
    """

    totals: Totals
    entries: list[Waiting] = field(default_factory=list)
    chunks: list[StoredChunk] = field(default_factory=list)
    lanes: dict[tuple[Stream, int], int] = field(default_factory=dict)
    chunk_bytes: int = 0
    taken_bytes: int = 0


def next_group(shard: Shard, queue: deque[Waiting]) -> Group:
    """Take from the queue what the limiters would admit message by message: a bound is passed by one message, not by a group."""
    store = shard.serving_store()
    before = Totals.of(store)
    group = Group(before)
    while queue and group.chunk_bytes < GROUP_BYTES:
        if group.chunks and store.insert_blocked(group.totals.env_steps - before.env_steps):
            break
        waiting = queue.popleft()
        group.taken_bytes += len(waiting.body)
        if waiting.call is None:
            shard.fences.close(waiting.stream)
        elif is_in_turn(shard, waiting, waiting.call):
            judge(shard, store, waiting, group)
        else:
            continue
        group.entries.append(waiting)
    return group


def is_in_turn(shard: Shard, waiting: Waiting, call: InsertCall) -> bool:
    """Settle whether the message was stored before. False, and the call ends, if its predecessors are missing."""
    try:
        if shard.fences.judge(waiting.stream, waiting.number) is Verdict.DUPLICATE:
            waiting.outcome = Outcome.DUPLICATE
    except ContractError as error:
        if call.error is None:
            shard.counts.message_gaps += 1
            shard.metrics.counter("sojourn_replay_message_gaps").inc()
        call.fail(error)
        call.drop()
        return False
    return True


def judge(shard: Shard, store: Store, waiting: Waiting, group: Group) -> None:
    """Decide whether the rows are accepted, and give them their numbers. A refused message consumes its number."""
    if waiting.outcome is Outcome.DUPLICATE:
        return
    try:
        if waiting.refusal:
            raise ValidationError(waiting.refusal)
        if waiting.rows is not None:
            store.validate(waiting.rows, waiting.stream)
            check_goes_on(waiting.rows, waiting.stream, group.lanes)
            number(shard, waiting, waiting.rows, group)
    except ValidationError as error:
        waiting.outcome, waiting.refusal, waiting.rows = Outcome.REFUSED, str(error), None
    shard.fences.take(waiting.stream, waiting.number, final=waiting.final)


def number(shard: Shard, waiting: Waiting, rows: Rows, group: Group) -> None:
    """Give the rows their numbers, and make the chunk that will be kept."""
    first_row = group.totals.next_row
    group.totals = group.totals.plus(len(rows), rows.steps, rows.episodes)
    group.chunk_bytes += len(waiting.body)
    group.chunks.append(
        StoredChunk(
            first_row=first_row,
            rows=len(rows),
            client_id=waiting.stream[0],
            incarnation=waiting.stream[1],
            message_number=waiting.number,
            stored_unix_s=shard.clock.unix_s(),
            held_s=waiting.held_s + shard.clock.now_s() - waiting.arrived_s,
            body=waiting.body,
        )
    )


def check_goes_on(rows: Rows, stream: Stream, lanes: dict[tuple[Stream, int], int]) -> None:
    """Raise ValidationError where a lane goes back behind a message of the same group, which the store has not seen yet.

    lanes: last sequence by life and lane; those of `rows` are added.
    """
    starts = np.flatnonzero(np.diff(rows.lane, prepend=rows.lane[:1] + np.uint32(1)))
    ends = np.append(starts[1:], len(rows)) - 1
    found = [
        (int(rows.lane[start]), int(rows.sequence[start]), int(rows.sequence[end]))
        for start, end in zip(starts, ends, strict=True)
    ]
    for lane, first, _ in found:
        last = lanes.get((stream, lane), -1)
        if first <= last:
            raise ValidationError(f"lane {lane} begins at sequence {first}, but {last} of it came before")
    for lane, _, last in found:
        lanes[(stream, lane)] = last
