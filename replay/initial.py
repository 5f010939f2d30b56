"""How does a run begin with experience from files? As an ordinary actor's messages, exactly once over restarts. Blocks; uses the network.

A record (replay/initial_record.py) says which life the messages belong to. The source gives the same messages every time, so that a restart says hello as
that life, hears which of them are stored, and sends the rest. Each shard grants its life before anything is sent: one that is retired
later grants none any more, and still takes what is left of this one.
"""

import logging
import threading
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace

from replay.actor_connection import actor_hello
from replay.answers import INITIAL
from replay.chunker import Chunker
from replay.initial_experience import InitialSource
from replay.initial_record import InitialRecord, Records
from replay.insert_stream import InsertStream
from replay.link import Link, Session, keep_open_in_thread
from replay.outage_buffer import Message, OutageBuffer
from sojourn.columns import Schema
from sojourn.config.schema import FleetSettings
from sojourn.errors import ConfigError, ValidationError
from sojourn.experience import Segment
from sojourn.metrics import Metrics
from sojourn.roles import Address

LOG = logging.getLogger("sojourn.replay.initial")

BUFFER_BYTES = 8 << 20
LOOK_S = 0.1  # how soon a stop is heard
FAREWELL_S = 5.0
NEVER_S = 1e9
FLEET = FleetSettings(segment_steps=1 << 40, flush_bytes=256 << 10, flush_age_s=NEVER_S)
"""Messages are cut by their bytes alone: by steps or age they would not be the same again."""


@dataclass(frozen=True)
class Beginning:
    """What a run begins with, and where it goes.

    name: of the source, as configured.  addresses: of all shards, of which the first `taking` take inserts.
    stop: once set, nothing blocks.
    assumed_duration_s: of every action, where the source does not tell.
    """

    name: str
    source: InitialSource
    schema: Schema
    addresses: Sequence[Address]
    taking: int
    run_id: str
    assumed_duration_s: float
    stop: threading.Event


def load_initial(records: Records, beginning: Beginning) -> InitialRecord:
    """Send what is not stored yet, and wait until all of it is. Returns unfinished only when asked to stop.

    records: where it is remembered.  Raises ConfigError if the source has changed since a first part of it was sent, ValidationError if the service refused a message,
    ContractError if it refuses this run or schema.
    """
    before = records.read()
    if before is not None and before.fingerprint != beginning.source.fingerprint:
        raise ConfigError(
            f"replay.initial: {beginning.name} is not what this run began with ({before.source}, {before.steps} steps): "
            "start another run for it"
        )
    begun = before is not None and all(before.incarnations)  # otherwise nothing was sent
    record = before if before and begun else InitialRecord(beginning.name, beginning.source.fingerprint, (0,) * beginning.taking)
    for shard in range(0 if begun else record.shards):
        with closing(_Part(records, record, shard, beginning)) as part:
            part.session()
        record = part.record
    steps, finished = 0, True
    for shard in range(record.shards):
        with closing(_Part(records, replace(record, finished=False), shard, beginning)) as part:
            finished = part.send() and finished
        record, steps = part.record, steps + part.steps
    record = replace(record, steps=steps, finished=finished)
    records.write(record)
    return record


class _Part:
    """The lanes of one shard, under one life. steps: seen so far."""

    def __init__(self, records: Records, record: InitialRecord, shard: int, beginning: Beginning) -> None:
        self.record, self.steps = record, 0
        self._records, self._shard, self._beginning = records, shard, beginning
        hello = actor_hello(beginning.run_id, INITIAL, beginning.schema, FLEET, "", "", 0)
        life = record.incarnations[shard]
        hello.inherit_incarnation, hello.last_incarnation = life, life
        self._link = Link(beginning.addresses[shard], hello)
        self._refused = 0

    def session(self) -> Session:
        """Say hello, and remember the life that was granted."""
        session = self._link.session(give_up=self._beginning.stop)
        self._remember(session.incarnation)
        return session

    def send(self) -> bool:
        """Whether all is stored; False when asked to stop."""
        session = self.session()
        chunker, buffer = Chunker(self._beginning.schema, session.hello.max_message_bytes), OutageBuffer(BUFFER_BYTES)
        segments = self._segments()
        ended = self._pass_over(segments, chunker, buffer, session.hello.last_message_number)
        stream = InsertStream(
            INITIAL,
            chunker,
            buffer,
            fleet=FLEET,
            pause_left_s=lambda: 0.0,
            metrics=Metrics("actor"),
            now_s=lambda: 0.0,
            acknowledged=self._acknowledged,
        )
        thread = keep_open_in_thread(self._link, "initial experience", stream.serve, lambda: stream.acknowledged, stream.refuse)
        for segment in segments:
            stream.offer(segment, self._beginning.stop)
            if self._beginning.stop.is_set():
                return False
        stream.close(final=not ended)
        while not stream.wait_until_empty(LOOK_S):
            stream.raise_fault()
            if self._beginning.stop.is_set():
                return False
        thread.join(FAREWELL_S)
        if self._refused:
            raise ValidationError(
                f"replay.initial: the replay service refused {self._refused} messages of {self._beginning.name}; see the log"
            )
        return True

    def _remember(self, incarnation: int) -> None:
        lives = list(self.record.incarnations)
        lives[self._shard] = incarnation
        self.record = replace(self.record, incarnations=tuple(lives))
        self._records.write(self.record)

    def _segments(self) -> Iterator[Segment]:
        for segment in self._beginning.source.segments(self._beginning.schema, self._beginning.assumed_duration_s):
            if segment.lane % self.record.shards == self._shard:
                self.steps += len(segment)
                yield segment

    def _pass_over(self, segments: Iterator[Segment], chunker: Chunker, buffer: OutageBuffer, stored: int) -> bool:
        """Make the messages that the service has once more, and drop them. Those cut together with the last of them go to the buffer.

        Returns whether that was all: the last message is final then.
        """
        ended = False
        while chunker.last_number < stored and not ended:
            segment = next(segments, None)
            ended = segment is None
            if segment is not None:
                chunker.add(segment, 0.0)
            if ended or chunker.bytes >= FLEET.flush_bytes:
                for message in chunker.cut(0.0, final=ended):
                    if message.number > stored:
                        buffer.append(message)
        return ended

    def _acknowledged(self, message: Message, outcome: str) -> None:
        self._refused += outcome == "refused"

    def close(self) -> None:
        self._link.close()
