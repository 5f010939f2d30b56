"""Columns of batches through Arrow: what was written is read, by whatever way, and other bytes are refused."""

import numpy as np
import pyarrow as pa
import pytest

from replay.bodies import _write, decode_columns, encode_columns
from sojourn.errors import ValidationError
from sojourn.experience import Columns


def columns_of(seed: int, rows: int = 5) -> Columns:
    rng = np.random.default_rng(seed)
    return {
        "observation": rng.integers(0, 255, (rows, 3, 4), np.uint8),
        "mask": rng.random((rows, 2)) < 0.5,
        "info.key": rng.integers(0, 1 << 60, rows).astype(np.uint64),
        "reward": rng.random((rows, 1), np.float32),
        "age_s": rng.random(rows),
    }


def assert_same(found: Columns, wanted: Columns) -> None:
    assert list(found) == list(wanted)
    for name, values in wanted.items():
        assert (found[name].dtype, found[name].shape) == (values.dtype, values.shape)
        assert (found[name] == values).all()


def arrow_body(batches: int = 1, options: pa.ipc.IpcWriteOptions | None = None, first: int = 0) -> bytes:
    """What another library may write: lists of another name, nullable."""
    sink = pa.BufferOutputStream()
    batch = pa.RecordBatch.from_pydict({"x": pa.array(range(first, first + 100), pa.int64()), "y": pa.array([0.5] * 100)})
    with pa.ipc.new_stream(sink, batch.schema, options=options) as writer:
        for _ in range(batches):
            writer.write_batch(batch)
    return sink.getvalue().to_pybytes()


@pytest.mark.parametrize("rows", [1, 2, 7, 64, 0])
def test_columns_come_back_with_shape_and_dtype_however_often(rows):
    for seed in range(3):
        columns = columns_of(seed, rows)
        assert_same(decode_columns(encode_columns(columns)), columns)


def test_a_body_is_byte_for_byte_what_arrow_writes():
    for seed in range(2):
        assert encode_columns(columns_of(seed)) == _write(columns_of(seed))


def test_columns_that_do_not_lie_in_a_row_are_written_as_they_are_read():
    columns = {"x": np.arange(24.0).reshape(4, 6)[:, ::2], "y": np.arange(8)[::2]}
    for _ in range(2):
        assert_same(decode_columns(encode_columns(columns)), columns)


def test_equal_names_of_other_types_or_shapes_are_another_form():
    for values in (np.zeros((2, 6)), np.ones((2, 6), np.float32), np.ones((2, 2, 3)), np.ones((4, 3)), np.ones((2, 6), np.int64)):
        assert_same(decode_columns(encode_columns({"x": values})), {"x": values})


def test_decoding_copies_nothing():
    for first in range(2):
        body = encode_columns({"x": np.arange(first, first + 1000.0)})
        found = decode_columns(body)["x"]
        start = np.frombuffer(body, np.uint8).__array_interface__["data"][0]
        assert start <= found.__array_interface__["data"][0] < start + len(body)
        assert not found.flags.writeable
        assert found[0] == first


@pytest.mark.parametrize("compression", [None, "lz4"])
def test_bodies_of_other_writers_are_read(compression):
    for first in (0, 7):
        found = decode_columns(arrow_body(1, pa.ipc.IpcWriteOptions(compression=compression), first))
        assert found["x"].tolist() == list(range(first, first + 100))
        assert found["y"].tolist() == [0.5] * 100


def test_a_body_that_begins_like_a_known_one_is_refused_if_the_rest_is_something_else():
    good = arrow_body()
    decode_columns(good)
    with pytest.raises(ValidationError, match="got 2"):
        decode_columns(arrow_body(batches=2))
    for bad in (good[:-400], good[:300], good[:5], b"", b"garbage" * 50):
        with pytest.raises(ValidationError):
            decode_columns(bad)
