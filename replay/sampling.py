"""The way of a sample: credits in, batches drawn as soon as the limiter admits them, several a message, rounds for several ranks.

No polling: a call that cannot draw sleeps until rows arrive or credits are granted. A message is made when the one before was taken, so
a slow reader holds one message and no queue. Draws of consuming tables are leased to the call that they were sent on; what it has
not consumed comes back when it ends.
"""

from collections import deque
from collections.abc import AsyncIterator, Collection, Sequence
from dataclasses import dataclass, field

from replay.answers import Draw, Drawn, Facts, Stream
from replay.bodies import encode_columns
from replay.client_records import Identity
from replay.shard import Shard, row_bytes
from sojourn.errors import ContractError, SojournError, ValidationError

MOST_BATCHES = 64  # in one message, whatever the client asks for
MOST_BYTES = 1 << 20  # of one message, if its batches are smaller: what is gathered is then still in the caches when it is sent
LARGEST_BATCH_BYTES = 1 << 30  # gRPC ends at 2 GiB, and what a batch takes is not known exactly before it is drawn


@dataclass(frozen=True)
class Request:
    """What a learner asks for. credits: further batches.  release_draws: leases handed back.  policy_version: its newest, 0 unknown.

    other_inserted_items, other_sampled_items, other_imported_items: of the table on all other shards.
    """

    table: str
    batch_size: int
    credits: int
    max_batches_per_message: int
    learner_step: int
    release_draws: Sequence[int] = ()
    policy_version: int = 0
    other_inserted_items: int = 0
    other_imported_items: int = 0
    other_sampled_items: int = 0


@dataclass(frozen=True)
class SampleMessage:
    """One reply: batches one after another in `body` (Arrow), and the table's facts at the draw.

    start_log: what the weight needs of the starts (JSON), empty if nothing or as in the call's message before.
    """

    draws: list[Draw]
    body: bytes
    facts: Facts
    env_steps: int
    now_s: float
    start_log_number: int
    start_log: bytes


@dataclass
class SampleCall:
    """One open Sample call of a learner.

    credits: batches that may still be sent.  most, most_by_bytes: in one message; the latter is guessed, then measured.  lent: leased draws sent on it and not consumed yet.
    shares: its parts of rounds that were drawn for all ranks of its group.  told: number of the start-log summary that it has.
    """

    learner: Stream
    identity: Identity
    table: str = ""
    batch_size: int = 0
    credits: int = 0
    most: int = 1
    most_by_bytes: int = 0
    lent: set[int] = field(default_factory=set)
    shares: deque[Drawn] = field(default_factory=deque)
    told: int = 0
    ended: bool = False
    error: SojournError | None = None

    @property
    def may_share(self) -> bool:
        """Whether it can be given a part of one more round."""
        return self.credits > len(self.shares)


class Sampling:
    """All Sample calls of a shard.

    Invariant: batches sent on a call never exceed the credits that it granted; every leased draw is in `lent` of one open call.
    """

    def __init__(self, shard: Shard) -> None:
        self._shard = shard
        self._calls: list[SampleCall] = []

    def open(self, learner: Stream, identity: Identity) -> SampleCall:
        call = SampleCall(learner, identity)
        self._calls.append(call)
        return call

    def close(self, call: SampleCall) -> None:
        """The call is over: what it was lent can be drawn again."""
        self._calls.remove(call)
        self._give_back(call, call.lent.copy())

    def open_calls(self) -> int:
        return len(self._calls)

    def replace(self, client_id: str, incarnation: int) -> None:
        """A newer life of a learner began: calls of its older ones end and what they were lent comes back."""
        for call in self._calls:
            if call.learner[0] == client_id and call.learner[1] < incarnation:
                call.error = ContractError(f"incarnation {call.learner[1]} of {client_id} was replaced by {incarnation}")
                self._give_back(call, call.lent.copy())
        self._shard.samplers.notify()

    def take(self, call: SampleCall, request: Request) -> None:
        """Grant credits, hand leases back, report the learner step. Raises ValidationError for what cannot be drawn."""
        tables = self._shard.config.tables
        if request.table not in tables:
            raise ValidationError(f"unknown table {request.table!r}; there are {', '.join(tables)}")
        if not 1 <= request.batch_size <= tables[request.table].capacity_steps:
            raise ValidationError(f"batch_size must lie in 1..{tables[request.table].capacity_steps}, got {request.batch_size}")
        if call.table not in ("", request.table):
            raise ValidationError(f"this stream samples {call.table!r}; open another one for {request.table!r}")
        call.table, call.batch_size = request.table, request.batch_size
        call.most = min(max(request.max_batches_per_message, 1), MOST_BATCHES)
        call.credits += request.credits
        self._shard.learner_reported(request.learner_step, request.policy_version, request.table)
        self._give_back(call, call.lent.intersection(request.release_draws))
        if self._shard.store is not None:
            self._shard.store.count_others(
                request.table, request.other_inserted_items, request.other_sampled_items, request.other_imported_items
            )
            self._shard.inserters.notify()
        self._shard.samplers.notify()

    def fail(self, call: SampleCall, error: SojournError) -> None:
        """End the call with this error."""
        call.error = call.error or error
        self._shard.samplers.notify()

    def end(self, call: SampleCall) -> None:
        """The learner will ask no more."""
        call.ended = True
        self._shard.samplers.notify()

    def consume(self, table: str, draw_ids: Sequence[int]) -> tuple[int, int]:
        """The draws were used: their items leave the table. Returns (items removed, draw ids unknown)."""
        answer = self._shard.serving_store().consume(table, draw_ids)
        for call in self._calls:
            call.lent.difference_update(draw_ids)
        self._shard.inserters.notify()
        return answer

    async def messages(self, call: SampleCall) -> AsyncIterator[SampleMessage]:
        """Messages as soon as they can be drawn; ends when the learner has ended. Raises what the call failed with."""
        while call.error is None and not call.ended:
            message = self._next_message(call)
            if message is not None:
                yield message
            else:
                await self._wait(call)
        if call.error is not None:
            raise call.error

    async def _wait(self, call: SampleCall) -> None:
        """Until rows arrive or credits are granted; counts the time if it is the shard that has nothing."""
        wants, began_s = call.credits > 0, self._shard.clock.now_s()
        await self._shard.samplers.next()
        if wants:
            self._shard.sample_waited(call.table, self._shard.clock.now_s() - began_s)

    def _next_message(self, call: SampleCall) -> SampleMessage | None:
        """Draw what credits and limiter admit now, or None."""
        if not call.credits or self._shard.store is None:
            return None
        if not call.most_by_bytes:
            call.most_by_bytes = max(1, MOST_BYTES // self._batch_bytes(call))
        began_s = self._shard.clock.now_s()
        drawn = self._draw_round(call) if self._in_rounds(call) else self._draw_alone(call)
        if drawn is None:
            return None
        call.credits -= len(drawn.draws)
        self._shard.inserters.notify()
        message = self._message(call, drawn, began_s)
        call.most_by_bytes = max(1, MOST_BYTES * len(drawn.draws) // len(message.body))
        return message

    def _batch_bytes(self, call: SampleCall) -> int:
        """About how large a batch is: two observations a transition, every step of a sequence. Raises ValidationError if no message holds it."""
        assert self._shard.schema is not None
        settings = self._shard.config.tables[call.table]
        rows = 2 if settings.item == "transition" else settings.length + 1
        size_bytes = rows * row_bytes(self._shard.schema) * self._shard.schema.frame_stack * call.batch_size
        if size_bytes > LARGEST_BATCH_BYTES:
            raise ValidationError(
                f"a batch of {call.batch_size} items of table {call.table!r} takes about {size_bytes:,} bytes and a message holds "
                f"{LARGEST_BATCH_BYTES:,}: ask for fewer"
            )
        return size_bytes

    def _draw_alone(self, call: SampleCall) -> Drawn | None:
        batches = min(call.credits, call.most, call.most_by_bytes)
        drawn = self._shard.serving_store().draw(call.table, call.batch_size, batches, self._shard.clock.now_s())
        if drawn is not None:
            call.lent.update(draw.draw_id for draw in drawn.draws if draw.draw_id)
        return drawn

    def _in_rounds(self, call: SampleCall) -> bool:
        return call.identity.world > 1 and self._shard.config.tables[call.table].consume

    def _draw_round(self, call: SampleCall) -> Drawn | None:
        """This rank's part of a round: one batch for each rank of the group, drawn together once all of them can take one."""
        if not call.shares:
            ranks = self._ranks(call)
            if len(ranks) < call.identity.world or not all(rank.may_share for rank in ranks.values()):
                return None
            now_s = self._shard.clock.now_s()
            drawn = self._shard.serving_store().draw(call.table, call.batch_size, len(ranks), now_s, all_or_none=True)
            if drawn is None:
                return None
            for rank, share in enumerate(parts(drawn)):
                ranks[rank].shares.append(share)
                ranks[rank].lent.update(draw.draw_id for draw in share.draws)
            self._shard.samplers.notify()
        return call.shares.popleft()

    def _ranks(self, call: SampleCall) -> dict[int, SampleCall]:
        """The newest open call of each rank that draws from the same table for the same group."""
        group = (call.identity.learner_group, call.identity.world, call.table, call.batch_size)
        return {
            other.identity.rank: other
            for other in self._calls
            if (other.identity.learner_group, other.identity.world, other.table, other.batch_size) == group
            and other.identity.rank < call.identity.world
            and not other.ended
            and other.error is None
        }

    def _message(self, call: SampleCall, drawn: Drawn, began_s: float) -> SampleMessage:
        store, metrics, table = self._shard.serving_store(), self._shard.metrics, call.table
        body = encode_columns(drawn.columns)
        metrics.counter("sojourn_replay_samples").labels(table).inc(len(drawn.keys))
        metrics.counter("sojourn_replay_batches").labels(table).inc(len(drawn.draws))
        metrics.counter("sojourn_replay_sample_bytes").inc(len(body))
        now_s = self._shard.clock.now_s()
        metrics.histogram("sojourn_replay_sample_seconds").observe(now_s - began_s)
        number, summary = self._shard.start_summary(table, now_s)
        news = summary if number != call.told else b""
        call.told = number
        return SampleMessage(drawn.draws, body, store.facts(table, now_s), store.env_steps, now_s, number, news)

    def _give_back(self, call: SampleCall, draw_ids: Collection[int]) -> None:
        call.lent.difference_update(draw_ids)
        if draw_ids and self._shard.store is not None:
            self._shard.store.release(call.table, sorted(draw_ids))
            self._shard.samplers.notify()


def parts(drawn: Drawn) -> list[Drawn]:
    """Its draws one by one."""
    shares, start = [], 0
    for draw in drawn.draws:
        rows = slice(start, start + draw.size)
        start += draw.size
        columns = {name: column[rows] for name, column in drawn.columns.items()}
        shares.append(Drawn(columns, drawn.keys[rows], [draw]))
    return shares
