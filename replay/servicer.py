"""The calls of protos/replay.proto, answered on one event loop. Protobuf and grpc stop here and in replay/messages.py.

A refusal is one of our errors, turned into a status with its sentence; other calls are unharmed. A stream costs two tasks, no thread.
"""

import asyncio
import functools
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any

import grpc

from protos import replay_pb2 as pb
from protos import replay_pb2_grpc as rpc_replay
from replay import messages
from replay.answers import Stream
from replay.commit import StoredChunk
from replay.hello import Door
from replay.ingest import Ingest
from replay.insert_calls import InsertCall
from replay.lineage import lineage
from replay.redis_store import RedisStore
from replay.retirement import look
from replay.sampling import SampleCall, Sampling
from replay.shard import Shard
from replay.snapshots import Snapshots
from sojourn.errors import ContractError, SojournError, ValidationError
from sojourn.rpc import status_of

Context = grpc.aio.ServicerContext[Any, Any]
Method = Callable[..., Awaitable[Any]]


def answers_errors(method: Method) -> Method:
    """End the call with the status and the sentence of our error."""

    @functools.wraps(method)
    async def answered(servicer: "ReplayServicer", request: Any, context: Context) -> Any:
        try:
            return await method(servicer, request, context)
        except SojournError as error:
            await context.abort(status_of(error), str(error))

    return answered


@asynccontextmanager
async def beside(reading: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    """Run the reading half of a stream while the block writes; it ends with the block."""
    task = asyncio.create_task(reading)
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait({task})
        if not task.cancelled():
            task.result()


class ReplayServicer(rpc_replay.ReplayServicer):
    """Every call of the contract. Until the shard has recovered all but Info answer UNAVAILABLE."""

    def __init__(self, shard: Shard, ingest: Ingest, sampling: Sampling, snapshots: Snapshots) -> None:
        self._shard = shard
        self._ingest = ingest
        self._sampling = sampling
        self._snapshots = snapshots
        self._door = Door(shard, ingest, sampling)

    @answers_errors
    async def Hello(self, request: pb.HelloRequest, context: Context) -> pb.HelloReply:
        return messages.hello_reply(self._shard, await self._door.hello(messages.hello_of(request)))

    @answers_errors
    async def Insert(self, requests: AsyncIterator[pb.InsertRequest], context: Context) -> None:
        self._shard.require_recovered()
        first = await anext(requests, None)
        if first is None:
            return
        self._require_role(first.client_id, "actor")
        call = self._ingest.open((first.client_id, first.incarnation))
        reading = self._read_inserts(first, requests, call)
        del first  # 256 KiB, for as long as the stream is open
        try:
            with self._shard.counted("insert"):
                async with beside(reading):
                    async for answer in call.answers():
                        await context.write(messages.insert_reply(answer))
        finally:
            self._ingest.forget(call)

    async def _read_inserts(self, first: pb.InsertRequest, requests: AsyncIterator[pb.InsertRequest], call: InsertCall) -> None:
        try:
            await self._offer(first, call)
            del first
            async for request in requests:
                await self._offer(request, call)
                del request  # while the next one is waited for
        except SojournError as error:
            call.fail(error)
        finally:
            call.end()

    async def _offer(self, request: pb.InsertRequest, call: InsertCall) -> None:
        if (request.client_id, request.incarnation) != call.stream:
            raise ValidationError(
                f"a stream is of one life: {call.stream} began it, {request.client_id, request.incarnation} came"
            )
        await self._ingest.offer(call, request.message_number, request.held_s, request.rows, request.final)

    @answers_errors
    async def Heartbeat(self, requests: AsyncIterator[pb.HeartbeatRequest], context: Context) -> None:
        self._shard.require_recovered()
        streams = set()
        try:
            with self._shard.counted("heartbeat"):
                async for request in requests:
                    self._require_life(request.client_id, request.incarnation, "actor")
                    stream = request.client_id, request.incarnation
                    streams.add(stream)
                    await context.write(self._heard(request, stream))
        finally:
            for stream in streams:
                self._shard.admission.left(stream)

    def _heard(self, request: pb.HeartbeatRequest, stream: Stream) -> pb.HeartbeatReply:
        counts = messages.counts_of(request)
        self._shard.heartbeat(stream, counts, messages.running_of(request), request.report_age_s)
        start_credits = self._shard.start_credits(stream, counts, len(request.lanes), request.counted_at_message)
        return messages.heartbeat_reply(self._shard, start_credits)

    @answers_errors
    async def Sample(self, requests: AsyncIterator[pb.SampleRequest], context: Context) -> None:
        self._shard.require_recovered()
        first = await anext(requests, None)
        if first is None:
            return
        self._require_life(first.client_id, first.incarnation, "learner")
        identity = self._shard.clients[first.client_id].identity
        call = self._sampling.open((first.client_id, first.incarnation), identity)
        try:
            with self._shard.counted("sample"):
                async with beside(self._read_credits(first, requests, call)):
                    async for message in self._sampling.messages(call):
                        await context.write(messages.sample_reply(message))
        finally:
            self._sampling.close(call)

    async def _read_credits(self, first: pb.SampleRequest, requests: AsyncIterator[pb.SampleRequest], call: SampleCall) -> None:
        try:
            self._sampling.take(call, messages.request_of(first))
            async for request in requests:
                self._shard.clients.heard(*call.learner, self._shard.clock.now_s())
                self._sampling.take(call, messages.request_of(request))
        except SojournError as error:
            self._sampling.fail(call, error)
        finally:
            self._sampling.end(call)

    @answers_errors
    async def Consumed(self, request: pb.ConsumedRequest, context: Context) -> pb.ConsumedReply:
        """Answered once it is durable that the items are gone, so that a restart does not hand them out again."""
        self._require_life(request.client_id, request.incarnation, "learner")
        self._require_table(request.table)
        removed, unknown = self._sampling.consume(request.table, list(request.draw_ids))
        await self._snapshots.save_now()
        return pb.ConsumedReply(items_removed=removed, unknown_draws=unknown)

    @answers_errors
    async def UpdatePriorities(self, request: pb.UpdatePrioritiesRequest, context: Context) -> pb.UpdatePrioritiesReply:
        self._require_life(request.client_id, request.incarnation, "learner")
        self._require_table(request.table)
        applied, late = self._shard.serving_store().update_priorities(request.table, *messages.updates_of(request))
        self._shard.metrics.counter("sojourn_replay_priority_updates").labels(request.table).inc(applied)
        return pb.UpdatePrioritiesReply(applied=applied, late=late)

    @answers_errors
    async def Info(self, request: pb.InfoRequest, context: Context) -> pb.InfoReply:
        reply = messages.info_reply(self._shard)
        messages.add_start_log(reply, self._shard, request)
        return reply

    @answers_errors
    async def EndWindow(self, request: pb.EndWindowRequest, context: Context) -> pb.EndWindowReply:
        """The starts of the pool that are in no window yet had until then."""
        self._shard.require_recovered()
        if self._shard.clients.get(request.client_id) is None:
            raise ContractError(f"{request.client_id!r} is not known here: say hello first")
        return pb.EndWindowReply(window=self._shard.end_window(request.pool, request.ago_s))

    @answers_errors
    async def Checkpoint(self, request: pb.CheckpointRequest, context: Context) -> pb.CheckpointReply:
        """Kept under the label when it is answered. At level `memory` there is nothing to cut into."""
        self._shard.serving_store()
        self._durable_tier("Checkpoint")
        self._shard.learner_reported(request.learner_step)
        learned = request.table, tuple(request.learned_draws)
        cut = await self._snapshots.cut(request.label, request.kept_label, request.learner_step, learned)
        return pb.CheckpointReply(label=cut.label, env_steps=cut.env_steps, items=cut.items, row_number=cut.row_number)

    @answers_errors
    async def Export(self, request: pb.ExportRequest, context: Context) -> None:
        """The chunks that still hold rows, as they were inserted; a chunk may hold rows that the table has let go.

        Ends at what there was when it began, however fast more comes. A slow reader holds back the reading of the durable tier.
        """
        self._shard.require_recovered()
        self._require_table(request.table)
        tier, store = self._durable_tier("Export"), self._shard.store
        if store is None:
            return  # no actor has said hello yet
        before_row = request.before_row_number or store.next_row_number
        async for chunk in tier.chunks(request.from_row_number):
            if chunk.first_row >= before_row:
                break
            if isinstance(chunk, StoredChunk):
                await context.write(messages.export_reply(store, request.table, chunk, before_row))

    @answers_errors
    async def Retire(self, request: pb.RetireRequest, context: Context) -> pb.RetireReply:
        self._shard.require_recovered()
        self._shard.counts.retired = request.retired
        look(self._shard, self._shard.clock.now_s())
        store = self._shard.store
        if store is not None:  # before the first actor there is nothing to keep it with
            await self._snapshots.save_now()
        tables = self._shard.config.tables if store else {}
        items = sum(store.facts(table, self._shard.clock.now_s()).items for table in tables) if store else 0
        return pb.RetireReply(items_left=items, live_streams=self._ingest.open_calls())

    @answers_errors
    async def Lineage(self, request: pb.LineageRequest, context: Context) -> pb.LineageReply:
        self._shard.serving_store()
        self._require_table(request.table)
        assert self._shard.schema is not None
        found = await lineage(self._durable_tier("Lineage"), self._shard.schema, request.keys)
        return pb.LineageReply(items=[messages.item_lineage(item) for item in found])

    def _durable_tier(self, call: str) -> RedisStore:
        if self._shard.tier is None:
            raise ContractError(
                f"{call} reads the durable tier, and replay.durability is memory: choose process, disk or replica"
            )
        return self._shard.tier.store

    def _require_table(self, table: str) -> None:
        if table not in self._shard.config.tables:
            raise ValidationError(f"unknown table {table!r}; there are {', '.join(self._shard.config.tables)}")

    def _require_role(self, client_id: str, role: str) -> None:
        record = self._shard.clients.get(client_id)
        if record is None:
            raise ContractError(f"{client_id!r} is not known here: say hello first")
        if record.identity.role not in (role, "operator"):
            raise ContractError(f"{client_id} is {record.identity.role}, this call is for role {role}")

    def _require_life(self, client_id: str, incarnation: int, role: str) -> None:
        """Refuse clients that have not said hello, have another role, or were replaced by a newer life."""
        self._shard.require_recovered()
        self._require_role(client_id, role)
        self._shard.fences.admit((client_id, incarnation))
