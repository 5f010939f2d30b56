"""The way of an Insert message: taken in, judged by its fence, validated, made durable with all that wait, applied, acknowledged.

One committer task per shard. No timer: nothing waits for a group to fill, and what came while one commit was under way is the next
group. Messages are answered in the order in which they came.
"""

import asyncio
from collections import deque

from replay.answers import Appended, Stream
from replay.arrow import decode_chunk
from replay.commit import Commit
from replay.groups import Group, Waiting, next_group
from replay.insert_calls import Answer, InsertCall, Outcome
from replay.shard import Shard
from replay.store import Store
from replay.wakeups import Wakeups
from sojourn.durations import MOST_SECONDS
from sojourn.errors import ContractError, UnavailableError, ValidationError

WAITING_BYTES = 32 << 20  # messages that were read and are not durable, over all calls: 0.2 s of what one service takes


class Ingest:
    """All Insert calls of a shard and its committer.

    Invariant: rows are applied in the order of their numbers, after they are durable, before they are acknowledged.
    """

    def __init__(self, shard: Shard) -> None:
        self._shard = shard
        self._queue: deque[Waiting] = deque()
        self._calls: dict[Stream, InsertCall] = {}
        self._arrived = Wakeups()
        self._moved = Wakeups()
        self._waiting_bytes = 0
        self._committing = False
        self._stopping = False

    # the calls' side

    def open(self, stream: Stream) -> InsertCall:
        """A call begins. Raises ContractError if this life may not insert. An older call of the same life is ended."""
        if self._stopping:
            raise UnavailableError("the replay service is stopping")
        self._admit(stream)
        if stream in self._calls:
            self._calls[stream].fail(UnavailableError("another Insert stream of the same life was opened"))
        call = self._calls[stream] = InsertCall(stream)
        return call

    def forget(self, call: InsertCall) -> None:
        """A call is over."""
        if self._calls.get(call.stream) is call:
            del self._calls[call.stream]

    async def offer(self, call: InsertCall, number: int, held_s: float, body: bytes, final: bool) -> None:
        """Take a message in; waits while the call's window or the shard's budget is full.

        Raises what the call failed with, or why nothing more can be taken from it.
        """
        await call.until_room(self._shard.config.replay.insert_window)
        await self._moved.until(lambda: self._waiting_bytes < WAITING_BYTES or call.error is not None)
        if call.error is not None:
            raise call.error
        self._admit(call.stream)
        if number < 1:
            raise ValidationError(f"messages are numbered from 1, got {number}")
        waiting = Waiting(call.stream, call, self._shard.clock.now_s(), number, held_s, body, final=final)
        self._decode(waiting)
        call.took()
        self._push(waiting)

    def replace(self, client_id: str, incarnation: int) -> None:
        """A newer life began: open calls of older ones end, and the lanes that they left open are cut."""
        for stream, call in self._calls.items():
            if stream[0] == client_id and stream[1] < incarnation:
                call.fail(ContractError(f"incarnation {stream[1]} of {client_id} was replaced by {incarnation}"))
        for stream in self._shard.fences.open_before(client_id, incarnation):
            self.finish(stream)

    def finish(self, stream: Stream) -> None:
        """A life is over without a last message: the lanes that it left open are cut."""
        self._push(Waiting(stream, None, self._shard.clock.now_s(), final=True))

    @property
    def idle(self) -> bool:
        """Nobody inserts, and nothing waits."""
        return not (self._calls or self._queue or self._committing)

    def open_calls(self) -> int:
        return len(self._calls)

    def stop_taking(self) -> None:
        """The service ends: calls end once what they sent so far is answered."""
        self._stopping = True
        for call in self._calls.values():
            call.fail(UnavailableError("the replay service is stopping"))

    async def drain(self) -> None:
        """Return once everything that came is answered, or waits for a limiter: that is sent again to the next life."""
        await self._moved.until(lambda: not self._committing and (not self._queue or self._blocked()))

    def _blocked(self) -> bool:
        return self._shard.over_budget or bool(self._shard.store and self._shard.store.insert_blocked())

    def _admit(self, stream: Stream) -> None:
        try:
            self._shard.fences.admit(stream)
        except ContractError:
            self._shard.counts.fenced += 1
            self._shard.metrics.counter("sojourn_replay_fenced").inc()
            raise

    def _decode(self, waiting: Waiting) -> None:
        """Open the body at once: a commit under way hides the time. A bad one is refused in its turn."""
        assert self._shard.schema is not None
        try:
            if not 0.0 <= waiting.held_s <= MOST_SECONDS:
                raise ValidationError(f"held_s must lie in [0, {MOST_SECONDS:g}], got {waiting.held_s}")
            if waiting.body or not waiting.final:
                waiting.rows = decode_chunk(self._shard.schema, waiting.body)
        except ValidationError as error:
            waiting.refusal = str(error)

    def _push(self, waiting: Waiting) -> None:
        self._queue.append(waiting)
        self._waiting_bytes += len(waiting.body)
        self._shard.metrics.gauge("sojourn_replay_waiting_bytes").set(self._waiting_bytes)
        self._arrived.notify()

    # the committer's side

    async def run(self) -> None:
        """Commit group after group, for ever. Raises NotOwnerError when another service has taken the shard over."""
        while True:
            await self._arrived.until(lambda: bool(self._queue))
            await self._until_admitted()
            await self._until_affordable()
            self._committing = True
            group = next_group(self._shard, self._queue)
            self._waiting_bytes -= group.taken_bytes
            await self._make_durable(group)
            await self._apply(group)
            self._committing = False
            self._moved.notify()

    async def _until_admitted(self) -> None:
        """Wait while a table's limiter admits no insert."""
        while blocked := self._shard.serving_store().insert_blocked():
            began_s = self._shard.clock.now_s()
            await self._shard.inserters.next()
            for table in blocked:
                self._shard.insert_waited(table, self._shard.clock.now_s() - began_s)

    async def _until_affordable(self) -> None:
        """Keep the durable tier within its byte budget: let the oldest items go, or wait where they must be consumed first.

        Many small chunks take more than their rows, so a tier can be over its budget before the tables are full.
        """
        if self._shard.archiver is not None:
            await self._shard.archiver.until_room()
        store = self._shard.serving_store()
        while self._shard.over_budget:
            if not store.shed():
                await self._shard.inserters.next()
            self._shard.holdings.free(store.take_freed_chunks())

    async def _make_durable(self, group: Group) -> None:
        if self._shard.tier is None or not group.entries:
            return
        began_s = self._shard.clock.now_s()
        fences = self._shard.fence_texts({waiting.stream for waiting in group.entries}, group.totals)
        await self._shard.tier.write(Commit(chunks=group.chunks, fences=fences, freed=self._shard.take_freed()))
        self._shard.metrics.histogram("sojourn_replay_commit_seconds").observe(self._shard.clock.now_s() - began_s)
        self._shard.metrics.counter("sojourn_replay_commit_messages").inc(len(group.entries))
        for chunk in group.chunks:
            self._shard.holdings.add(chunk.first_row, len(chunk.body), chunk.rows)
        if self._shard.archiver is not None and self._shard.schema is not None:
            self._shard.archiver.offer(group.chunks, self._shard.schema)

    async def _apply(self, group: Group) -> None:
        """Store the rows, cut finished lanes, and acknowledge. What is durable is applied whatever became of its call.

        Between messages others may run: a group of 4 MiB takes some 10 milliseconds.
        """
        store = self._shard.serving_store()
        for waiting in group.entries:
            now_s = self._shard.clock.now_s()
            if waiting.rows is not None and waiting.outcome is Outcome.ACCEPTED:
                held_s = waiting.held_s + now_s - waiting.arrived_s
                self._applied(self._shard.append(store, waiting.rows, waiting.stream, now_s, held_s))
            if waiting.final and waiting.outcome is not Outcome.DUPLICATE:
                self._applied(self._shard.close_stream(store, waiting.stream, now_s))
            self._acknowledge(waiting, store)
            self._shard.samplers.notify()
            await asyncio.sleep(0)

    def _applied(self, appended: Appended) -> None:
        self._shard.holdings.free(appended.freed_chunks)
        self._shard.metrics.counter("sojourn_replay_inserted_steps").inc(appended.steps)

    def _acknowledge(self, waiting: Waiting, store: Store) -> None:
        if waiting.call is None:
            return
        shard = self._shard
        shard.fences.store(waiting.stream, waiting.number)
        shard.counts.duplicates += waiting.outcome is Outcome.DUPLICATE
        shard.counts.refused += waiting.outcome is Outcome.REFUSED
        shard.clients.heard(*waiting.stream, shard.clock.now_s(), waiting.number)
        shard.metrics.counter("sojourn_replay_inserts").labels(waiting.outcome.value).inc()
        shard.metrics.histogram("sojourn_replay_insert_seconds").observe(shard.clock.now_s() - waiting.arrived_s)
        if waiting.outcome is Outcome.ACCEPTED:
            shard.metrics.counter("sojourn_replay_insert_bytes").inc(len(waiting.body))
        waiting.call.answer(Answer(waiting.number, waiting.outcome, waiting.refusal, store.env_steps))
