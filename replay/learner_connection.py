"""A learner's connection to all shards: weighted batches come in ahead of use, priorities and ends of leases go back.

`sample` blocks; everything else returns at once. Each shard has two threads of its own, so that one that is down delays no other.
"""

import os
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial

import numpy as np

from protos import replay_pb2 as pb
from replay.courier import Courier
from replay.cutting import Wanted, cut_all, draws_of
from replay.facts import ReplayFacts, TableFacts, replay_facts
from replay.learner_meter import LearnerMeter
from replay.link import Link, Session, end_window, keep_open_in_thread
from replay.sample_stream import SampleStream
from replay.shard_connection import FAREWELL_S, ShardConnection
from replay.shards import AcrossShards, Composed, WholeBatches
from replay.start_summary import Summaries
from replay.weighing import Weighing
from sojourn.chosen_cut import ShardCut
from sojourn.columns import Schema
from sojourn.config.schema import LearnerSettings, TableSettings
from sojourn.errors import DeadlineError, SojournError, UnavailableError
from sojourn.experience import Batch, PriorityUpdate
from sojourn.metrics import Metrics
from sojourn.roles import Address, ReplayShards
from sojourn.rpc import CONTRACT_VERSION

LOOK_S = 0.1  # how often a waiting sample() looks at what nobody announces: a shard that is late
NEW_SHARDS_EVERY_S = 2.0


class LearnerConnection:
    """Batches of one table over all shards.

    waited_s: how long `sample` has waited in all.
    """

    def __init__(
        self,
        addresses: Sequence[Address],
        *,
        run_id: str,
        client_id: str,
        table: str,
        table_settings: TableSettings,
        learner: LearnerSettings,
        total_env_steps: int,
        rank: int = 0,
        world: int = 1,
        metrics: Metrics | None = None,
        token: str = "",
        seed: int = 0,
        now_s: Callable[[], float] = time.monotonic,
        shards_now: Callable[[], ReplayShards] | None = None,
    ) -> None:
        """Connects in the background; batches have `learner.batch_size` items for this rank.

        shards_now: looked at every 2 s where shards can be added or leave the run.

        now_s: a clock that runs as the services' do, to bring the start times of several shards together; waits are on the
        monotonic clock.

        Raises ConfigError when the table asks for a weighting that is not available.
        """
        self._table = table
        self._settings = table_settings
        self._batch_size = learner.batch_size
        self._weighing = Weighing(table_settings, learner, total_env_steps, self._summaries)
        self._meter = LearnerMeter(metrics or Metrics("learner"), self._shards_down, lambda: self.queued_batches)
        self._now_s = now_s
        self._arrived = threading.Condition()
        self._fault: SojournError | None = None
        self._shards: list[ShardConnection] = []
        self.waited_s = 0.0
        hello = pb.HelloRequest(
            contract_version=CONTRACT_VERSION,
            role=pb.ROLE_LEARNER,
            run_id=run_id,
            client_id=client_id,
            host=os.uname().nodename,
            learner_group=table,
            rank=rank,
            world=world,
        )
        self._rng = np.random.default_rng(seed)
        self._connect_to: Callable[[Address, int], ShardConnection] = partial(
            self._connect, hello=hello, learner=learner, token=token
        )
        self._shards = [self._connect_to(address, len(addresses)) for address in addresses]
        self._source = self._make_source()
        self._closed = threading.Event()
        self._following = threading.Thread(target=self._follow, args=(shards_now,), name=f"{client_id} shards", daemon=True)
        if shards_now is not None:
            self._take_in(shards_now())
            self._following.start()

    def _make_source(self) -> WholeBatches | AcrossShards:
        streams = [shard.stream for shard in self._shards]
        if len(streams) == 1 or self._settings.sampler == "fifo":
            return WholeBatches(streams)
        return AcrossShards(streams, self._batch_size, self._rng)

    def _follow(self, shards_now: Callable[[], ReplayShards]) -> None:
        """Look which shards there are, until the end."""
        while not self._closed.wait(NEW_SHARDS_EVERY_S):
            with suppress(UnavailableError):
                self._take_in(shards_now())

    def _take_in(self, shards: ReplayShards) -> None:
        """Connect to shards that are new or back; keep the counts of those that are gone.

        Rows of a draw that was begun are let go with the former source.
        """
        for number, address in enumerate(shards.addresses):
            known = self._shards[number] if number < len(self._shards) else None
            if known is None or (known.stream.gone and number not in shards.gone):
                added = self._connect_to(address, len(shards.addresses))
                with self._arrived:
                    self._shards[number : number + 1] = [added]
                    self._source = self._make_source()
        for number, counts in shards.gone.items():
            if not self._shards[number].stream.gone:
                told = counts.table(self._table)
                self._shards[number].leave(
                    TableFacts(
                        self._table,
                        env_steps=counts.env_steps,
                        inserted_items=told.inserted_items,
                        sampled_items=told.sampled_items,
                        imported_items=told.imported_items,
                    )
                )

    def schema(self, timeout_s: float) -> Schema:
        """The schema in force; waits until an actor has said hello anywhere. Raises DeadlineError if none has in time."""
        until_s = time.monotonic() + timeout_s
        with self._arrived:
            while not (known := [shard.schema_json for shard in self._shards if shard.schema_json]):
                self._wait(until_s, f"no actor has said hello to the replay service within {timeout_s:g} s")
        return Schema.from_json(known[0])

    def sample(self, timeout_s: float) -> Batch:
        """The next batch. Its arrays are read-only views.

        Raises DeadlineError when none came in time, ContractError when a shard refuses this learner for good, ConfigError when
        there is no weight for the table's rule.
        """
        composed = self._take(timeout_s)
        weighted = self._weighing.weigh(composed, timeout_s)
        self._meter.drawn(composed, weighted, self._weighing.exponent)
        return Batch(self._table, composed.columns, composed.info, weighted.loss_weight, weighted.factors, weighted.errors)

    def _summaries(self, timeout_s: float) -> Summaries:
        """What all shards say of their starts, once they have. It takes no lock then, since the streams' threads hold it often."""
        if any(shard.is_expected for shard in self._shards):
            until_s = time.monotonic() + timeout_s
            with self._arrived:
                while any(shard.is_expected for shard in self._shards):
                    self._wait(until_s, f"not every shard has said what it knows of starts within {timeout_s:g} s")
        return tuple([shard.stream.start_summary for shard in self._shards])

    def update_priorities(self, update: PriorityUpdate) -> None:
        """Queue new priorities for the shards that hold the items; the latest of a key wins."""
        if len(self._shards) == 1:
            self._shards[0].courier.update(update.key, update.priority)
            return
        for number, shard in enumerate(self._shards):
            mine = update.shard == number
            if mine.any():
                shard.courier.update(update.key[mine], update.priority[mine])

    def consumed(self, batch: Batch) -> None:
        """Say that a batch of a consuming table was used for good: its items leave the table."""
        for number, shard in enumerate(self._shards):
            if draw_ids := draws_of(batch, number):
                shard.courier.consumed(draw_ids)

    def cut(self, wanted: Wanted, within_s: float) -> tuple[ShardCut, ...]:
        """Have the tables of all shards cut for a checkpoint, behind everything that was said before. Blocks for the answers."""
        here = {number: shard for number, shard in enumerate(self._shards) if not shard.stream.gone}
        return cut_all({number: (shard.link, shard.courier) for number, shard in here.items()}, wanted, within_s)

    def report(self, learner_step: int, policy_version: int = 0) -> None:
        """Tell the shards how far the learner is: with the next request, at once if it has published a new version."""
        for shard in self._shards:
            shard.stream.report(learner_step, policy_version)

    def end_window(self, pool: str, ago_s: float = 0.0) -> None:
        """A collection window of a pool ended so long ago on every shard. Blocks for the answers; raises as a call does."""
        for shard in self._shards:
            end_window(shard.link, pool, ago_s)

    def facts(self) -> ReplayFacts:
        """Counters over all shards, at most about half a second old while they are up."""
        with self._arrived:
            return replay_facts([shard.stream.facts for shard in self._shards])

    @property
    def sessions(self) -> int:
        """Connections made to shards so far: it rises with each reconnect."""
        return sum(shard.link.sessions for shard in self._shards)

    @property
    def queued_batches(self) -> int:
        """Draws of all shards that have come and were not taken."""
        return sum(shard.stream.queued for shard in self._shards)

    def close(self) -> None:
        """Send what waits, hand unused leases back and end."""
        self._closed.set()
        if self._following.ident is not None:
            self._following.join(FAREWELL_S)
        for shard in self._shards:
            shard.close()

    def _connect(
        self, address: Address, shards: int, hello: pb.HelloRequest, learner: LearnerSettings, token: str
    ) -> ShardConnection:
        said = pb.HelloRequest()
        said.CopyFrom(hello)
        link = Link(address, said, token)
        stream = SampleStream(
            link,
            self._arrived,
            table=self._table,
            batch_size=self._batch_size,
            prefetch=learner.prefetch if shards == 1 else max(2, -(-learner.prefetch // shards)),
            batches_per_message=learner.batches_per_message,
            may_draw=self._may_draw,
            now_s=self._now_s,
            others=lambda: self._counted_beside(stream),
        )
        courier = Courier(
            link, self._table, lambda reply: self._heard(shard, reply), self._meter.updated, lambda: self._asked(shard)
        )
        shard = ShardConnection(link, stream, courier)
        shard.threads = [
            keep_open_in_thread(link, "courier", shard.courier.serve, lambda: shard.courier.calls, self._refused),
            keep_open_in_thread(link, "samples", partial(self._serve, shard), lambda: stream.messages, self._refused),
        ]
        return shard

    def _serve(self, shard: ShardConnection, session: Session) -> bool:
        self._learned_schema(shard, session.hello.schema_json)
        return shard.stream.serve(session)

    def _heard(self, shard: ShardConnection, reply: pb.InfoReply) -> None:
        self._learned_schema(shard, reply.schema_json)
        for table in reply.tables:
            if table.facts.name == self._table:
                shard.stream.told(table.facts)
        if not reply.schema_json and not reply.recovering:
            shard.stream.learned(TableFacts(name=self._table))  # no actor has said hello there: it is empty, not late
        with self._arrived:
            shard.answered = True
            self._arrived.notify_all()

    def _asked(self, shard: ShardConnection) -> pb.InfoRequest:
        """What the courier asks of a shard's own account: with its start log, if the weight needs that."""
        if not self._weighing.reads_start_logs:
            return pb.InfoRequest()
        return pb.InfoRequest(start_log_of=self._table, start_log_known=shard.stream.start_log_number)

    def _learned_schema(self, shard: ShardConnection, schema_json: bytes) -> None:
        with self._arrived:
            shard.schema_json = schema_json or shard.schema_json
            self._arrived.notify_all()

    def _refused(self, fault: SojournError) -> None:
        with self._arrived:
            self._fault = self._fault or fault
            self._arrived.notify_all()

    def _shards_down(self) -> int:
        return sum(not (shard.link.connected or shard.stream.gone) for shard in self._shards)

    def _may_draw(self) -> bool:
        """Whether samples, granted ones included, stay below ratio x inserts summed over the shards. One shard sees to it itself."""
        limiter = self._settings.limiter
        if len(self._shards) == 1 or limiter.samples_per_insert is None or limiter.unit != "items":
            return True
        streams = [shard.stream for shard in self._shards]
        facts = replay_facts([stream.facts for stream in streams])
        granted = sum(stream.granted_items for stream in streams)
        collected = facts.inserted_items - facts.imported_items
        return facts.sampled_items + granted <= limiter.samples_per_insert * collected

    def _counted_beside(self, stream: SampleStream) -> tuple[int, int, int]:
        """Items that all shards but this stream's have inserted, sampled and begun with, as their latest answers say."""
        others = replay_facts([shard.stream.facts for shard in self._shards if shard.stream is not stream])
        return others.inserted_items, others.sampled_items, others.imported_items

    def _take(self, timeout_s: float) -> Composed:
        with self._arrived:
            composed = self._source.take()
            if composed is None:
                started_s = time.monotonic()
                while (composed := self._source.take()) is None:
                    self._wait(started_s + timeout_s, f"no batch of table {self._table!r} came within {timeout_s:g} s")
                waited_s = time.monotonic() - started_s
                self.waited_s += waited_s
                self._meter.waited(waited_s)
        return composed

    def _wait(self, until_s: float, otherwise: str) -> None:
        """Wait for any news of the streams. Raises the reason when a shard refuses for good, DeadlineError after `until_s`."""
        if self._fault is not None:
            raise type(self._fault)(str(self._fault)) from self._fault
        left_s = until_s - time.monotonic()
        if left_s <= 0.0:
            raise DeadlineError(f"{otherwise}: {self._state()}")
        self._arrived.wait(min(left_s, LOOK_S))

    def _state(self) -> str:
        facts = replay_facts([shard.stream.facts for shard in self._shards])
        return (
            f"{facts.items} items, {facts.inserted_items} inserted, {facts.sampled_items} sampled, "
            f"{self._shards_down()} of {len(self._shards)} shards down, first draw from {self._settings.limiter.min_size} items on"
        )
