"""An actor's Insert stream: keeps messages until they are acknowledged and sends them in order, at most a window of them open.
In an outage they go to a spill file once memory is full.

Threads: the actor offers segments, gRPC's own thread pulls the requests, one thread takes the acknowledgements.
"""

import logging
import threading
import time
from collections.abc import Callable, Iterator

from protos import replay_pb2 as pb
from replay.chunker import Chunker, segment_bytes
from replay.link import Session, our_errors
from replay.outage_buffer import Message, OutageBuffer
from sojourn.config.schema import FleetSettings
from sojourn.errors import SojournError, UnavailableError
from sojourn.experience import Segment
from sojourn.metrics import Metrics

LOG = logging.getLogger("sojourn.replay.client")

MESSAGES_AHEAD = 4  # that an actor may be ahead of a service that is there: what it collects further would only grow old
LOOK_S = 0.1  # how often a blocked thread looks at what nobody announces: the service's pause, a stop
Acknowledged = Callable[[Message, str], None]
"""Told of each message once it is acknowledged, with its outcome: accepted, duplicate, refused, or stored (the service said so after a
reconnect). Called while the stream's lock is held: it must return at once."""
STORED = "stored"
_OUTCOMES = {
    pb.InsertReply.ACCEPTED: "accepted",
    pb.InsertReply.DUPLICATE: "duplicate",
    pb.InsertReply.REFUSED: "refused",
}


class InsertStream:
    """What an actor has inserted and the service has not acknowledged. Thread-safe.

    Invariant: a lane's segments are sent in the order in which they were offered, and each is stored once: a message keeps its
    number until it is acknowledged, over any number of reconnects.
    """

    def __init__(
        self,
        client_id: str,
        chunker: Chunker,
        buffer: OutageBuffer,
        *,
        fleet: FleetSettings,
        pause_left_s: Callable[[], float],
        metrics: Metrics,
        now_s: Callable[[], float] = time.monotonic,
        acknowledged: Acknowledged | None = None,
    ) -> None:
        """pause_left_s: for how long the service wants no inserts.  acknowledged: told of every acknowledgement.

        now_s: clock of the segments' `started_at_s`, on which ages are reckoned; waits are on the monotonic clock.
        """
        self._client_id = client_id
        self._chunker = chunker
        self._buffer = buffer
        self._flush_bytes = fleet.flush_bytes
        self._flush_steps = fleet.flush_steps
        self._flush_age_s = fleet.flush_age_s
        self._pause_left_s = pause_left_s
        self._metrics = metrics
        self._now_s = now_s
        self._acknowledged = acknowledged
        self._changed = threading.Condition()
        self._sent_at_s: dict[int, float] = {}  # messages in flight on the current stream
        self._sent_number = 0
        self._connected = True  # it has just said hello
        self._closing = False
        self._fault: SojournError | None = None
        self.env_steps = 0
        self.acknowledged = 0
        metrics.gauge("sojourn_actor_unacknowledged_bytes").set_function(lambda: buffer.bytes + chunker.bytes)
        metrics.gauge("sojourn_actor_unacknowledged_messages").set_function(lambda: len(buffer))
        metrics.gauge("sojourn_actor_spill_file_bytes").set_function(lambda: buffer.spilled_bytes)

    # the actor's side

    def offer(self, segment: Segment, give_up: threading.Event) -> None:
        """Queue a segment; blocks while there is no room or the service wants a pause, unless `give_up` is set.

        Raises the reason when the service has refused this client for good, ValidationError when the segment does not fit the
        schema or a message, UnavailableError after `close`.
        """
        with self._changed:
            while self._fault is None and not self._closing and not give_up.is_set() and not self._may_insert(segment):
                self._changed.wait(LOOK_S)
            self.raise_fault()
            if self._closing:
                raise UnavailableError("the connection is closed")
            first = self._chunker.oldest_at_s is None
            self._chunker.add(segment, time.monotonic())
            if self._chunker.bytes >= self._flush_bytes or self._chunker.steps >= self._flush_steps:
                self._cut()
            elif first:
                self._changed.notify_all()  # the stream's side must know when it grows old

    def flush(self) -> None:
        """Make a message of what waits."""
        with self._changed:
            self.raise_fault()
            self._cut()

    def wait_until_empty(self, deadline_s: float) -> bool:
        """Flush, and wait until all is acknowledged; False when it was not in time or never will be."""
        until_s = time.monotonic() + deadline_s
        with self._changed:
            self._cut()
            while self._buffer and self._fault is None and (left_s := until_s - time.monotonic()) > 0.0:
                self._changed.wait(left_s)
            return not self._buffer

    def close(self, *, final: bool = True) -> None:
        """Send what is left, the last message as final unless that is there already."""
        with self._changed:
            if final and not self._closing and self._fault is None:
                self._cut(final=True)
            self._closing = True
            self._changed.notify_all()

    def keep(self) -> int:
        """Write what is not acknowledged to the spill file, for a later life. Returns how many messages have no place there."""
        with self._changed:
            self._spill()
            return len(self._buffer) - self._buffer.spilled_messages

    def refuse(self, fault: SojournError) -> None:
        """The service will take nothing more of this client: every wait ends and the next insert raises the reason."""
        LOG.error("%s: the replay service refuses this client: %s", self._client_id, fault)
        with self._changed:
            self._fault = self._fault or fault
            self._changed.notify_all()

    def number_of_next(self) -> int:
        """Number of the message that holds the segment offered last."""
        with self._changed:
            return self._chunker.number_of_next()

    def _may_insert(self, segment: Segment) -> bool:
        """While the service is there, its acknowledgements set the pace; only an outage is bridged with the whole buffer."""
        size_bytes = self._chunker.bytes + segment_bytes(segment)
        ahead = (self._chunker.steps + self._buffer.steps) // self._flush_steps
        too_far = self._connected and ahead >= MESSAGES_AHEAD
        return not too_far and self._pause_left_s() <= 0.0 and self._has_room(size_bytes)

    def _has_room(self, size_bytes: int) -> bool:
        """Make room in memory where the service is away and the spill file has room."""
        if not self._buffer.has_room(size_bytes) and not self._connected:
            self._spill()
        return self._buffer.has_room(size_bytes)

    def _spill(self) -> None:
        self._buffer.spill(self._now_s(), time.time())

    def raise_fault(self) -> None:
        """Raise why the service has refused this client for good, if it has."""
        if self._fault is not None:
            raise type(self._fault)(str(self._fault)) from self._fault

    def _cut(self, *, final: bool = False) -> None:
        for message in self._chunker.cut(self._now_s(), final=final):
            self._buffer.append(message)
        if self._buffer.spilled_messages and not self._connected:
            self._spill()  # so that what is spilled is all that is not acknowledged, should this process end now
        self._changed.notify_all()

    # the stream's side

    def serve(self, session: Session) -> bool:
        """Send and take acknowledgements on one session until it breaks (raises) or all is said (True)."""
        ended = threading.Event()
        self._resume_after(session.hello.last_message_number)
        self._connected = True
        try:
            requests = self._requests(session, ended)
            with our_errors():
                replies = session.stub.Insert(requests, metadata=session.metadata)
            for reply in replies:
                self._heard(reply)
        finally:
            ended.set()
            with self._changed:
                self._connected = False
                self._changed.notify_all()
        with self._changed:
            return self._closing and not self._buffer

    def _resume_after(self, stored_number: int) -> None:
        """Go on behind what the service has: those acknowledgements were lost with the stream before."""
        with self._changed:
            for message in self._buffer.acknowledge_through(stored_number):
                self._count(pb.InsertReply.ACCEPTED, message.number)
                self._tell(message, STORED)
            self._sent_number = stored_number
            self._sent_at_s.clear()
            self._changed.notify_all()

    def _requests(self, session: Session, ended: threading.Event) -> Iterator[pb.InsertRequest]:
        while (request := self._next_request(session, ended)) is not None:
            yield request
            if request.final:
                return

    def _next_request(self, session: Session, ended: threading.Event) -> pb.InsertRequest | None:
        """Wait for the next message that may be sent; None when all is said or the stream has ended.

        `ended` is looked at under the lock, so that a thread left over from a broken stream takes nothing of the next one.
        """
        with self._changed:
            while ended.is_set() or (message := self._sendable(session.hello.insert_window)) is None:
                if ended.is_set() or (self._closing and not self._buffer):
                    return None
                self._changed.wait(self._until_old_s())
            self._sent_number = message.number
            self._sent_at_s[message.number] = time.monotonic()
        self._metrics.counter("sojourn_actor_inserts_sent").inc()
        self._metrics.counter("sojourn_actor_insert_sent_bytes").inc(len(message.rows))
        return pb.InsertRequest(
            client_id=self._client_id,
            incarnation=session.incarnation,
            message_number=message.number,
            held_s=max(0.0, self._now_s() - message.made_at_s),
            rows=message.rows,
            final=message.final,
        )

    def _sendable(self, window: int) -> Message | None:
        left_s = self._until_old_s()
        if left_s is not None and left_s <= 0.0:
            try:
                self._cut()
            except SojournError as error:  # nobody to raise it to here: the next insert tells
                self._fault = self._fault or error
        return self._buffer.after(self._sent_number) if len(self._sent_at_s) < window else None

    def _until_old_s(self) -> float | None:
        """Until what waits must be sent even if it is little; None if nothing waits."""
        oldest_at_s = self._chunker.oldest_at_s
        return None if oldest_at_s is None else oldest_at_s + self._flush_age_s - time.monotonic()

    def _heard(self, reply: pb.InsertReply) -> None:
        with self._changed:
            message = self._buffer.acknowledge(reply.message_number)
            if message is not None:
                self._count(reply.outcome, reply.message_number)
                self._tell(message, _OUTCOMES[reply.outcome])
            self._sent_at_s.pop(reply.message_number, None)
            self.env_steps = max(self.env_steps, reply.env_steps)
            self._changed.notify_all()
        if reply.outcome == pb.InsertReply.REFUSED:
            LOG.warning("%s: message %d was refused and is dropped: %s", self._client_id, reply.message_number, reply.reason)

    def _tell(self, message: Message, outcome: str) -> None:
        if self._acknowledged is not None:
            self._acknowledged(message, outcome)

    def _count(self, outcome: pb.InsertReply.Outcome, number: int) -> None:
        self.acknowledged += 1
        self._metrics.counter("sojourn_actor_inserts_acknowledged").labels(_OUTCOMES[outcome]).inc()
        if number in self._sent_at_s:
            self._metrics.histogram("sojourn_actor_insert_ack_seconds").observe(time.monotonic() - self._sent_at_s[number])
