"""What a new life of an actor does first: it delivers what former lives left in spill files, each under its own incarnation.

Blocks and uses the network. Each file is sent as one declared inherited stream (Hello.inherit_incarnation) from behind the last
message that the service has, and ends that life. Only then does the new life say hello, so that no lane is cut in between.
"""

import logging
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field

from protos import replay_pb2 as pb
from replay.chunker import Chunker
from replay.insert_stream import InsertStream
from replay.link import Link, keep_open_in_thread
from replay.outage_buffer import OutageBuffer
from replay.spill import SpillFile, SpillSettings, files_of
from sojourn.columns import Schema
from sojourn.config.schema import FleetSettings
from sojourn.errors import ContractError, UnavailableError, ValidationError
from sojourn.metrics import Metrics
from sojourn.roles import Address

LOG = logging.getLogger("sojourn.replay.client")

LOOK_S = 0.1  # how soon a stop is heard


@dataclass(frozen=True)
class Heir:
    """The new life. hello: what it will say; a former life whose own words are damaged is delivered with these.

    shards: addresses by shard, since a former life may be pinned to another one; its messages go nowhere else.
    """

    address: Address
    hello: pb.HelloRequest
    fleet: FleetSettings
    schema: Schema
    metrics: Metrics
    token: str
    give_up: threading.Event
    timeout_s: float
    shards: Mapping[int, Address] = field(default_factory=dict)


def deliver_former_lives(spill: SpillSettings, heir: Heir) -> None:
    """Deliver every file that a dead life of this client left, to its shard.

    Raises UnavailableError when there is no service in time, or `give_up` is set. A file that the service refuses is set aside.
    """
    for path, incarnation, shard_index in files_of(spill.folder, heir.hello.client_id):
        found = SpillFile.left_behind(path, heir.metrics)
        if found is None:
            continue
        file, opening = found
        try:
            deliver(file, hello_of(opening, incarnation, heir.hello), shard_index, heir)
        except (ContractError, ValidationError) as error:
            LOG.error("the replay service refuses %s, which is kept as %s: %s", path, file.set_aside("refused"), error)
        finally:
            file.close()


def hello_of(opening: bytes, incarnation: int, heir_hello: pb.HelloRequest) -> pb.HelloRequest:
    """What the former life said, now said by its successor, who knows of one life more."""
    hello = pb.HelloRequest()
    hello.CopyFrom(pb.HelloRequest.FromString(opening) if opening else heir_hello)
    hello.contract_version = heir_hello.contract_version
    hello.inherit_incarnation, hello.last_incarnation = incarnation, incarnation + 1
    return hello


def deliver(file: SpillFile, hello: pb.HelloRequest, shard_index: int, heir: Heir) -> None:
    """Send one file and wait until all of it is acknowledged. Raises why that is not possible."""
    link = Link(heir.shards.get(shard_index, heir.address), hello, heir.token)
    try:
        session = link.session(timeout_s=heir.timeout_s, give_up=heir.give_up)
        if session.hello.shard_index != shard_index:
            LOG.warning(
                "%s belongs to shard %d, which is unknown; shard %d answered: it stays",
                file.path,
                shard_index,
                session.hello.shard_index,
            )
            return
        file.begin_at(session.hello.last_message_number + 1)
        LOG.info("%s: %d messages of a former life are delivered first", file.path, len(file))
        stream = stream_of(file, session.hello.max_message_bytes, heir)
        stream.close(final=not file.has_final)
        thread = keep_open_in_thread(link, "inheritance", stream.serve, lambda: stream.acknowledged, stream.refuse)
        while not stream.wait_until_empty(LOOK_S):
            stream.raise_fault()
            if heir.give_up.is_set():
                raise UnavailableError("gave up delivering what a former life left")
        thread.join(heir.timeout_s)
    finally:
        link.close()


def stream_of(file: SpillFile, max_message_bytes: int, heir: Heir) -> InsertStream:
    """A stream that has the file's messages to send, and knows their numbers."""
    buffer = OutageBuffer(0, file)
    chunker = Chunker(heir.schema, max_message_bytes)
    chunker.last_number = buffer.newest
    return InsertStream(heir.hello.client_id, chunker, buffer, fleet=heir.fleet, pause_left_s=lambda: 0.0, metrics=heir.metrics)
