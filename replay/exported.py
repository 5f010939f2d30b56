"""What does a service hold? Its chunks' rows, read while it lives. Blocks and uses the network; nothing is taken away."""

import math
import random
import time
from collections.abc import Iterator
from dataclasses import dataclass

import grpc
import numpy as np

from protos import replay_pb2 as pb
from protos.replay_pb2_grpc import ReplayStub
from replay.arrow import decode_chunk
from replay.bodies import decode_columns
from replay.link import LARGEST_MESSAGE_BYTES, our_errors
from replay.rows import Rows
from sojourn.columns import Schema
from sojourn.errors import DeadlineError, UnavailableError
from sojourn.roles import Address
from sojourn.rpc import backoff_s, channel_options


@dataclass(frozen=True)
class ExportedRows:
    """One chunk. first_row: number of its first row; the others follow.

    client_id, incarnation: the life of the actor that inserted it.  stored_unix_s: the service's wall clock when it was stored;
    held_s: age of the body then.  Of the item that starts at each row: priority float32[N], NaN where the table holds none (not yet,
    or not any more), and times_sampled uint32[N].
    """

    first_row: int
    rows: Rows
    client_id: str
    incarnation: int
    stored_unix_s: float
    held_s: float
    priority: np.ndarray
    times_sampled: np.ndarray

    @property
    def next_row(self) -> int:
        """Number of the row behind its last."""
        return self.first_row + len(self.rows)


def exported_rows(
    address: Address, schema: Schema, table: str, from_row: int = 0, timeout_s: float = 60.0
) -> Iterator[ExportedRows]:
    """Chunks that begin at `from_row` or later and still hold rows, in the order of their numbers, up to what there is now.

    timeout_s: of one call. One that breaks after something came is gone on with behind that, for as long again: reading may take longer,
    and outlives a restart of the service.
    Raises ContractError at level `memory`, UnavailableError and DeadlineError as a call does.
    """
    request = pb.ExportRequest(table=table, from_row_number=from_row)
    waits_s, until_s = backoff_s(random.Random()), -math.inf
    while True:
        try:
            for chunk in _call(address, schema, request, timeout_s):
                yield chunk
                waits_s, until_s = backoff_s(random.Random()), time.monotonic() + timeout_s
            return
        except (UnavailableError, DeadlineError):
            if time.monotonic() > until_s:
                raise
        time.sleep(next(waits_s))


def _call(address: Address, schema: Schema, request: pb.ExportRequest, timeout_s: float) -> Iterator[ExportedRows]:
    """One call; `request` asks for the rest afterwards."""
    with grpc.insecure_channel(address(), options=channel_options(LARGEST_MESSAGE_BYTES)) as channel, our_errors():
        for reply in ReplayStub(channel).Export(request, timeout=timeout_s):
            request.from_row_number, request.before_row_number = reply.last_row_number + 1, reply.before_row_number
            yield _chunk(schema, reply)


def _chunk(schema: Schema, reply: pb.ExportReply) -> ExportedRows:
    rows, items = decode_chunk(schema, reply.rows), decode_columns(reply.items)
    return ExportedRows(
        first_row=reply.last_row_number - len(rows) + 1,
        rows=rows,
        client_id=reply.client_id,
        incarnation=reply.incarnation,
        stored_unix_s=reply.stored_unix_s,
        held_s=reply.held_s,
        priority=items["priority"],
        times_sampled=items["times_sampled"],
    )
