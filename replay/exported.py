"""What does a service hold? Its chunks' rows, read while it lives. Blocks and uses the network; nothing is taken away."""

from collections.abc import Iterator
from dataclasses import dataclass

import grpc

from protos import replay_pb2 as pb
from protos.replay_pb2_grpc import ReplayStub
from replay.arrow import decode_chunk
from replay.link import LARGEST_MESSAGE_BYTES, our_errors
from replay.rows import Rows
from sojourn.columns import Schema
from sojourn.roles import Address
from sojourn.rpc import channel_options


@dataclass(frozen=True)
class ExportedRows:
    """One chunk. first_row: number of its first row; the others follow."""

    first_row: int
    rows: Rows


def exported_rows(
    address: Address, schema: Schema, table: str, from_row: int = 0, timeout_s: float = 60.0
) -> Iterator[ExportedRows]:
    """Chunks that begin at `from_row` or later and still hold rows of the table, in the order of their numbers.

    Raises ContractError at level `memory`, UnavailableError and DeadlineError as a call does.
    """
    request = pb.ExportRequest(table=table, from_row_number=from_row)
    with grpc.insecure_channel(address(), options=channel_options(LARGEST_MESSAGE_BYTES)) as channel, our_errors():
        for reply in ReplayStub(channel).Export(request, timeout=timeout_s):
            rows = decode_chunk(schema, reply.rows)
            yield ExportedRows(reply.last_row_number - len(rows) + 1, rows)
