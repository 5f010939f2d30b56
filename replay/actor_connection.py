"""An actor's connection to its shard: segments go in exactly once and in order, counters go out, pace comes back.

Two threads hold the two streams; `insert` blocks for back-pressure only. What the service has not acknowledged is kept in a
bounded buffer, in memory and then in a spill file, and sent again after an outage. An actor is pinned to its shard: while that is
down, its messages wait here.
"""

import logging
import os
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from protos import replay_pb2 as pb
from replay.chunker import Chunker
from replay.heartbeat import AT_ONCE_GAP_S, Heartbeats, LaneCounts, Pace, RunningAction
from replay.inheritance import Heir, deliver_former_lives
from replay.insert_stream import Acknowledged, InsertStream
from replay.link import Link, Session, end_window, keep_open_in_thread
from replay.outage_buffer import OutageBuffer
from replay.spill import SpillFile, SpillSettings, spill_path
from sojourn.columns import Schema
from sojourn.config.schema import FleetSettings
from sojourn.experience import Segment
from sojourn.metrics import Metrics
from sojourn.roles import Address
from sojourn.rpc import CONTRACT_VERSION

LOG = logging.getLogger("sojourn.replay.client")

FAREWELL_S = 2.0  # how long `close` waits for the last acknowledgements


class ActorConnection:
    """One life of an actor at the replay service.

    incarnation: what the service granted, the same over reconnects.
    """

    def __init__(
        self,
        address: Address,
        *,
        run_id: str,
        client_id: str,
        schema: Schema,
        fleet: FleetSettings,
        buffer_bytes: int,
        environment_id: str = "",
        environment_version: str = "",
        seed: int = 0,
        metrics: Metrics | None = None,
        token: str = "",
        stop: threading.Event | None = None,
        give_up: threading.Event | None = None,
        timeout_s: float = 60.0,
        now_s: Callable[[], float] = time.monotonic,
        heartbeat_gap_s: float = AT_ONCE_GAP_S,
        acknowledged: Acknowledged | None = None,
        spill: SpillSettings | None = None,
        shards: Mapping[int, Address] | None = None,
    ) -> None:
        """Deliver what former lives spilled, then say hello, waiting up to `timeout_s` for the service, or until `give_up` is set.

        now_s: clock of the segments' `started_at_s`, on which ages are reckoned; a simulated one with `duration.clock: env`.
        heartbeat_gap_s: least time between two heartbeats, unless `heard` asks for one.  acknowledged: told of every acknowledgement.
        buffer_bytes: of messages kept in memory.  spill: where further ones are kept; None: nowhere.
        shards: addresses by shard, to which messages that former lives spilled for another one are delivered.
        stop: once set, nothing blocks: this constructor gives up, and what `insert` is given is kept, beyond the buffer's bound
        if need be. Raises UnavailableError when there is no service in time, ContractError when it refuses this run, schema or token.
        """
        self._metrics = metrics or Metrics("actor")
        self._stop = stop or threading.Event()
        hello = actor_hello(run_id, client_id, schema, fleet, environment_id, environment_version, seed)
        give_up = give_up or self._stop
        if spill is not None:
            deliver_former_lives(
                spill, Heir(address, hello, fleet, schema, self._metrics, token, give_up, timeout_s, shards or {})
            )
        self._link = Link(address, hello, token)
        session = self._link.session(timeout_s=timeout_s, give_up=give_up)
        self._metrics.gauge("sojourn_actor_replay_sessions").set_function(lambda: self._link.sessions)
        self.incarnation: int = session.incarnation
        self._heartbeats = Heartbeats(client_id, now_s, heartbeat_gap_s, gated=session.hello.gated)
        self._spill = None if spill is None else spill_file(spill, hello, session, self._metrics)
        self._inserts = InsertStream(
            client_id,
            Chunker(schema, session.hello.max_message_bytes),
            OutageBuffer(buffer_bytes, self._spill),
            fleet=fleet,
            pause_left_s=self._heartbeats.pause_left_s,
            metrics=self._metrics,
            now_s=now_s,
            acknowledged=acknowledged,
        )
        self._threads = self._keep_open()

    def _keep_open(self) -> list[threading.Thread]:
        """A thread for each of the two streams; it opens the stream again after every break."""
        inserts, heartbeats = self._inserts, self._heartbeats
        return [
            keep_open_in_thread(self._link, "inserts", inserts.serve, lambda: inserts.acknowledged, inserts.refuse),
            keep_open_in_thread(self._link, "heartbeats", heartbeats.serve, lambda: heartbeats.replies, inserts.refuse),
        ]

    def insert(self, segment: Segment) -> None:
        """Queue a segment; its arrays must not change afterwards. Blocks while the buffer is full or the service paces.

        Raises ContractError when the service has refused this client for good, ValidationError when the segment is too large
        for a message; nothing of that segment is kept then.
        """
        self._inserts.offer(segment, self._stop)

    def flush(self) -> None:
        """Send what is queued now, without waiting for more. Does not wait for the acknowledgement."""
        self._inserts.flush()

    def report(self, lanes: Sequence[LaneCounts], running: Sequence[RunningAction]) -> None:
        """Set what heartbeats say: cumulative counts of every lane, which include what was inserted so far, and what runs."""
        self._heartbeats.report(lanes, running, self._inserts.number_of_next())

    def heard(self, timeout_s: float) -> bool:
        """Wait until the service knows the latest report, which goes out at once. False when it does not within `timeout_s`."""
        return self._heartbeats.heard(timeout_s)

    def end_window(self, pool: str, ago_s: float = 0.0) -> int:
        """A collection window of a pool ended so long ago, and what it cut is lost. Returns the window's number on this shard.

        Blocks for the answer. Raises UnavailableError or DeadlineError if there is none.
        """
        return end_window(self._link, pool, ago_s)

    def pace(self) -> Pace:
        """The latest reply; `env_steps` also from acknowledgements, `insert_pause_s` as what is left of it."""
        pace = self._heartbeats.pace()
        env_steps = max(pace.env_steps, self._inserts.env_steps)
        return replace(pace, env_steps=env_steps, insert_pause_s=self._heartbeats.pause_left_s())

    def drain(self, deadline_s: float) -> bool:
        """Flush and wait until all is acknowledged. False when that did not happen within `deadline_s`."""
        return self._inserts.wait_until_empty(deadline_s)

    def abandon(self) -> None:
        """End as a crash does: nothing more is said, what was not acknowledged and is in no spill file is lost with this life."""
        self._link.close()
        for thread in self._threads:
            thread.join(FAREWELL_S)
        if self._spill is not None:
            self._spill.close()

    def close(self) -> None:
        """End the life: send what is queued as the final message and wait shortly for its acknowledgement."""
        self._inserts.close()
        self._heartbeats.close()
        empty = self._inserts.wait_until_empty(FAREWELL_S if self._link.connected else 0.0)
        self._link.close()
        for thread in self._threads:
            thread.join(FAREWELL_S)
        if not empty:
            self._keep()

    def _keep(self) -> None:
        """Leave to the next life what this one could not deliver."""
        if lost := self._inserts.keep():
            LOG.warning("%s closes with %d messages that were not acknowledged", self._link.client_id, lost)
        if self._spill is not None:
            LOG.info("%s leaves %d messages to its next life, in %s", self._link.client_id, len(self._spill), self._spill.path)
            self._spill.close()


def actor_hello(
    run_id: str, client_id: str, schema: Schema, fleet: FleetSettings, environment_id: str, environment_version: str, seed: int
) -> pb.HelloRequest:
    """What an actor of a fleet says of itself, its host and its environment."""
    return pb.HelloRequest(
        contract_version=CONTRACT_VERSION,
        role=pb.ROLE_ACTOR,
        run_id=run_id,
        client_id=client_id,
        schema_json=schema.to_json(),
        pool=fleet.pool,
        speed_class=fleet.speed_class,
        host=os.uname().nodename,
        environment_id=environment_id,
        environment_version=environment_version,
        seed=seed,
    )


def spill_file(spill: SpillSettings, hello: pb.HelloRequest, session: Session, metrics: Metrics) -> SpillFile:
    """The file of the life that was granted; it begins with what the life said."""
    path = spill_path(spill.folder, hello.client_id, session.incarnation, session.hello.shard_index)
    return SpillFile(path, spill.budget_bytes, hello.SerializeToString(), metrics)
