"""A client that knows the service from protos/ and docs/wire.md alone: plain gRPC, pyarrow and JSON, nothing of Sojourn's own."""

import json
from typing import Any

import grpc
import numpy as np
import pyarrow as pa
import pytest

from protos import replay_pb2 as pb
from protos.replay_pb2_grpc import ReplayStub

BOX = {"type": "Box", "shape": [2], "dtype": "float32"}
SCHEMA = {
    "task_column": "",
    "storage_dtype": "float32",
    "observation": {
        "type": "Dict",
        "spaces": [
            ["camera", {**BOX, "dtype": "uint8", "low": 0, "high": 255}],
            ["speed", {**BOX, "low": "-inf", "high": "inf"}],
        ],
    },
    "action": {"type": "Discrete", "n": 3, "start": 0},
    "frame_stack": 1,
    "extras": [
        {"name": "cost", "dtype": "float32", "shape": [], "ragged_max": 0, "scope": "step"},
        {"name": "parts", "dtype": "float32", "shape": [], "ragged_max": 4, "scope": "step"},
    ],
    "core_state": [],
}


def must(item: pa.DataType, name: str = "item") -> pa.Field:
    """The elements of a list, declared never to be null, as Arrow's Rust and Java libraries like to have it."""
    return pa.field(name, item, nullable=False)


def fixed(values: Any, item: pa.DataType) -> pa.Array:
    array = np.asarray(values)
    return pa.FixedSizeListArray.from_arrays(pa.array(array.ravel(), item), type=pa.list_(must(item), array.shape[1]))


def columns(steps: int) -> dict[str, pa.Array]:
    """`steps` steps of lane 0, the last one terminated, and the row that closes the episode."""
    rows = np.arange(steps + 1)
    step = rows < steps
    parts = [[float(row)] * (row % 4) if row < steps else [] for row in rows]
    return {
        "lane": pa.array(rows * 0, pa.uint32()),
        "sequence": pa.array(rows, pa.int64()),
        "episode": pa.array(rows * 0, pa.int64()),
        "kind": pa.array(step | ((rows == steps - 1) << 1), pa.uint8()),
        "reward": pa.array(np.where(step, 1.5, 0.0), pa.float32()),
        "duration_s": pa.array(np.where(step, 0.25, 0.0), pa.float64()),
        "start_age_s": pa.array(np.where(step, 1.0, 0.0), pa.float64()),
        "log_prob": pa.array(rows * -0.5, pa.float32()),
        "policy_version": pa.array(rows * 0 + 7, pa.int64()),
        "priority": pa.array(np.full(steps + 1, np.nan), pa.float32()),
        "observation.camera": fixed(np.stack([rows, rows + 100], 1), pa.uint8()),
        "observation.speed": fixed(np.stack([rows, -rows], 1).astype(np.float32), pa.float32()),
        "action": pa.array(rows % 3, pa.int64()),
        "cost": pa.array(rows * 0.1, pa.float32()),
        "parts": pa.array(parts, pa.list_(must(pa.float32(), "$data$"))),
    }


def body_of(arrays: dict[str, pa.Array], **options: Any) -> bytes:
    batch = pa.RecordBatch.from_arrays(list(arrays.values()), list(arrays))
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, batch.schema, options=pa.ipc.IpcWriteOptions(**options)) as writer:
        writer.write_batch(batch)
    return sink.getvalue().to_pybytes()


class Foreign:
    """One actor and one learner over a channel of their own."""

    def __init__(self, target: str) -> None:
        self.channel = grpc.aio.insecure_channel(target)
        self.stub: Any = ReplayStub(self.channel)
        self.learner = 0  # incarnation

    async def hello(self, role: int, client_id: str, schema: dict[str, Any] | None = None) -> pb.HelloReply:
        said = json.dumps(schema, indent=2).encode() if schema else b""
        return await self.stub.Hello(pb.HelloRequest(contract_version=1, role=role, client_id=client_id, schema_json=said))


@pytest.fixture
async def foreign(serve: Any, kit: Any) -> Any:
    async with serve(kit.config()) as service:
        client = Foreign(service.target)
        yield client
        await client.channel.close()


async def insert(client: Foreign, body: bytes) -> pb.InsertReply:
    life = (await client.hello(pb.ROLE_ACTOR, "java-actor", SCHEMA)).incarnation
    call = client.stub.Insert()
    await call.write(
        pb.InsertRequest(client_id="java-actor", incarnation=life, message_number=1, held_s=0.5, rows=body, final=True)
    )
    return await call.read()


async def sampled(client: Foreign, batch_size: int) -> list[dict[str, Any]]:
    """One batch, row by row."""
    client.learner = (await client.hello(pb.ROLE_LEARNER, "java-learner")).incarnation
    call = client.stub.Sample()
    await call.write(
        pb.SampleRequest(
            client_id="java-learner",
            incarnation=client.learner,
            table="replay",
            batch_size=batch_size,
            credits=1,
            max_batches_per_message=1,
        )
    )
    reply = await call.read()
    call.cancel()
    assert [draw.size for draw in reply.draws] == [batch_size]
    with pa.ipc.open_stream(reply.rows) as reader:
        (batch,) = list(reader)
    rows: list[dict[str, Any]] = batch.to_pylist()
    return rows


@pytest.mark.parametrize("compression", [None, "lz4", "zstd"])
async def test_rows_of_a_foreign_client_come_back_in_a_batch_with_their_facts(foreign: Foreign, compression: str | None) -> None:
    reply = await insert(foreign, body_of(columns(6), compression=compression))
    assert (reply.outcome, reply.reason, reply.env_steps) == (pb.InsertReply.ACCEPTED, "", 6)
    for row in await sampled(foreign, batch_size=32):
        at = row["info.key"] - 1
        assert row["observation.camera"] == [at, at + 100]
        assert row["next_observation.speed"] == [at + 1, -at - 1]
        assert (row["action"], row["info.policy_version"], row["terminated"]) == (at % 3, 7, at == 5)
        assert row["info.delay_s"] == pytest.approx(1.5, abs=1.0)
    who = {"client_id": "java-learner", "incarnation": foreign.learner}
    priorities = np.full(1, 9.0, "<f4").tobytes()
    updated = await foreign.stub.UpdatePriorities(
        pb.UpdatePrioritiesRequest(**who, table="replay", keys=np.array([3], "<u8").tobytes(), priorities=priorities)
    )
    assert (updated.applied, updated.late) == (1, 0)


def _null_child(arrays: dict[str, pa.Array]) -> dict[str, pa.Array]:
    values = pa.array([1.0, None] * 7, pa.float32())
    return {**arrays, "observation.speed": pa.FixedSizeListArray.from_arrays(values, 2)}


def _null_element(arrays: dict[str, pa.Array]) -> dict[str, pa.Array]:
    return {**arrays, "parts": pa.array([[None]] + [[]] * 6, pa.list_(pa.float32()))}


def _large_list(arrays: dict[str, pa.Array]) -> dict[str, pa.Array]:
    return {**arrays, "parts": pa.array([[1.0]] + [[]] * 6, pa.large_list(pa.float32()))}


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (_null_child, "column 'observation.speed' holds 7 nulls"),
        (_null_element, "column 'parts' holds 1 nulls"),
        (_large_list, "column 'parts' is large_list"),
    ],
)
async def test_what_a_foreign_client_gets_wrong_is_refused_with_the_column(foreign: Foreign, change: Any, sentence: str) -> None:
    reply = await insert(foreign, body_of(change(columns(6))))
    assert reply.outcome == pb.InsertReply.REFUSED
    assert sentence in reply.reason


async def test_a_schema_that_says_the_same_in_other_words_is_the_same(foreign: Foreign) -> None:
    await foreign.hello(pb.ROLE_ACTOR, "actor-0", SCHEMA)
    camera = {**BOX, "dtype": "uint8", "low": [0, 0], "high": [255, 255]}
    speed = {**BOX, "low": ["-inf", "-inf"], "high": "inf"}
    wordy = {**SCHEMA, "observation": {"type": "Dict", "spaces": [["camera", camera], ["speed", speed]]}}
    await foreign.hello(pb.ROLE_ACTOR, "actor-1", wordy)


async def test_a_recurrent_state_that_a_client_sends_comes_back_before_step_0_of_a_sequence(serve: Any, kit: Any) -> None:
    sequences = {"item": "sequence", "length": 4, "period": 2, "burn_in": 1}
    state = {"name": "core_state.h", "dtype": "float32", "shape": [2], "ragged_max": 0, "scope": "step"}
    async with serve(kit.config(tables={"replay": sequences})) as service:
        client = Foreign(service.target)
        life = (await client.hello(pb.ROLE_ACTOR, "lstm", {**SCHEMA, "core_state": [state]})).incarnation
        rows = columns(6)
        rows["core_state.h"] = fixed(np.stack([np.arange(7), -np.arange(7)], 1).astype(np.float32), pa.float32())
        call = client.stub.Insert()
        await call.write(pb.InsertRequest(client_id="lstm", incarnation=life, message_number=1, rows=body_of(rows), final=True))
        assert (await call.read()).outcome == pb.InsertReply.ACCEPTED
        batch = await sampled(client, batch_size=16)
        await client.channel.close()
    assert {row["info.key"]: row["core_state.h"] for row in batch} == {1: [0.0, 0.0], 3: [2.0, -2.0]}
    assert {row["info.key"]: row["length"] for row in batch} == {1: 4, 3: 4}


async def test_a_rank_that_its_group_does_not_have_is_refused(foreign: Foreign) -> None:
    with pytest.raises(grpc.aio.AioRpcError, match="rank 2 in a world of 2"):
        await foreign.stub.Hello(pb.HelloRequest(contract_version=1, role=pb.ROLE_LEARNER, client_id="l", rank=2, world=2))
