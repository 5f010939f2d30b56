"""Draw a batch from a running replay service with nothing but gRPC and Arrow: no Sojourn, only the generated messages.

    python examples/wire_client.py 127.0.0.1:PORT        # the address in RUN/roles/replay-0.json

docs/wire.md has the rules and columns. A draw counts as a sample of the table, like any learner's.
"""

import sys
from collections.abc import Iterator

import grpc
import pyarrow as pa

from protos import replay_pb2 as pb
from protos.replay_pb2_grpc import ReplayStub


def draw(target: str, table: str = "replay", batch_size: int = 8) -> pa.RecordBatch:
    """One batch of a table as an Arrow record batch. Waits up to ten seconds for it."""
    with grpc.insecure_channel(target) as channel:
        stub = ReplayStub(channel)
        hello = stub.Hello(pb.HelloRequest(contract_version=1, role=pb.ROLE_LEARNER, client_id="wire-client"))

        def requests() -> Iterator[pb.SampleRequest]:
            yield pb.SampleRequest(
                client_id="wire-client", incarnation=hello.incarnation, table=table, batch_size=batch_size, credits=1
            )

        reply = next(stub.Sample(requests(), timeout=10.0))
        with pa.ipc.open_stream(reply.rows) as reader:
            return reader.read_next_batch()


if __name__ == "__main__":
    batch = draw(sys.argv[1])
    for name, column in zip(batch.schema.names, batch.columns, strict=True):
        print(f"{name:22} {column.type!s:28} {column[0]}")
