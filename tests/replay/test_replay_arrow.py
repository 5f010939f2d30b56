"""Chunks through Arrow: what was written is read, and bytes that are something else are refused."""

import gymnasium as gym
import numpy as np
import pyarrow as pa
import pytest
from replay_world import Lane, rows_of, table, vector_schema

from replay.arrow import decode_chunk, encode_chunk, stored_columns
from replay.store import Store
from sojourn.columns import Column, Schema, space_to_json
from sojourn.errors import ConfigError, ValidationError

EXTRAS = (Column("task", "int32"), Column("seen", "bool"), Column("tokens", "int16", (), 4), Column("cost", "float64", (2,)))
WRITTEN = {
    "task": lambda sequence: np.int32(sequence % 3),
    "seen": lambda sequence: sequence % 2 == 0,
    "tokens": lambda sequence: np.arange(sequence % 5, dtype=np.int16),
    "cost": lambda sequence: np.array([sequence, -sequence], np.float64),
}


def test_a_closed_segment_becomes_its_steps_and_a_closing_row():
    rows = rows_of(vector_schema(), Lane(3, sequence=10, episode=2).segment(3, "terminated"), now_s=20.0)
    assert rows.lane.tolist() == [3, 3, 3, 3]
    assert rows.sequence.tolist() == [10, 11, 12, 13]
    assert rows.kind.tolist() == [1, 1, 3, 0]
    assert rows.start_age_s.tolist() == [10.0, 9.0, 8.0, 0.0]
    assert rows.columns["observation"][:, 1].tolist() == [10, 11, 12, 13]
    assert (rows.steps, rows.episodes) == (3, 1)


def test_actions_that_are_long_together_have_no_age_that_the_service_would_refuse():
    """On an environment's clock: a segment's first action is as old as all its actions are long."""
    segment = Lane(0).segment(3, duration_s=4e8)
    rows = decode_chunk(vector_schema(), encode_chunk(vector_schema(), [segment], now_s=9e8))

    assert rows.start_age_s.tolist() == [1e9, 8e8, 4e8]
    store = Store(vector_schema(), {"replay": table()}, seed=0)
    store.validate(rows, ("actor-0", 1))


def test_extra_columns_of_every_kind_come_back():
    lane = Lane(0, sequence=3, extras=WRITTEN)
    rows = rows_of(vector_schema(extras=EXTRAS), lane.segment(4, "truncated"))
    assert rows.columns["task"].tolist() == [0, 1, 2, 0, 0]
    assert rows.columns["seen"].tolist() == [False, True, False, True, False]
    assert rows.columns["cost"][3].tolist() == [6.0, -6.0]
    assert np.diff(rows.ragged["tokens"].offsets).tolist() == [3, 4, 0, 1, 0]
    assert rows.ragged["tokens"].values.tolist() == [0, 1, 2, 0, 1, 2, 3, 0]


def test_ragged_extras_may_also_be_padded_arrays_with_lengths():
    schema = vector_schema(extras=(Column("tokens", "int16", (), 4),))
    segment = Lane(0).segment(2)
    segment.extras["tokens"], segment.extras["tokens.length"] = np.array([[7, 8, 0, 0], [9, 0, 0, 0]]), np.array([2, 1])
    assert decode_chunk(schema, encode_chunk(schema, [segment], 0.0)).ragged["tokens"].values.tolist() == [7, 8, 9]


def test_rows_are_sorted_by_lane_then_sequence():
    first, second = Lane(5), Lane(1)
    late = [first.segment(1), first.segment(1)][::-1]
    rows = rows_of(vector_schema(), *late, second.segment(2))
    assert rows.lane.tolist() == [1, 1, 5, 5]
    assert rows.sequence.tolist() == [0, 1, 0, 1]


def test_wide_observations_are_narrowed_unless_the_schema_keeps_them():
    space = gym.spaces.Box(-1, 1, (2,), np.float64)
    for storage, dtype in (("float32", np.float32), ("same", np.float64)):
        schema = Schema(space_to_json(space), space_to_json(gym.spaces.Discrete(9)), storage_dtype=storage)
        segment = Lane(0).segment(2)
        segment.observation["observation"] = segment.observation["observation"].astype(np.float64)
        assert rows_of(schema, segment).columns["observation"].dtype == dtype


@pytest.mark.parametrize("body", [b"", b"garbage" * 50, "short"])
def test_other_bytes_are_refused(body):
    schema = vector_schema()
    whole = encode_chunk(schema, [Lane(0).segment(5)], 0.0)
    with pytest.raises(ValidationError):
        decode_chunk(schema, whole[:-200] if body == "short" else body)


def spoilt(body: bytes, how: str) -> bytes:
    """A chunk whose first message, the schema, is as it was."""
    if how == "short":
        return body[:-200]
    batch = pa.ipc.open_stream(body).read_next_batch()
    if how == "nulls":
        columns = [pa.array([None] * len(batch), column.type) for column in batch.columns]
        batch = pa.RecordBatch.from_arrays(columns, schema=batch.schema)
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, batch.schema) as writer:
        writer.write_batch(batch)
        if how == "two":
            writer.write_batch(batch)
    return sink.getvalue().to_pybytes()


@pytest.mark.parametrize("how", ["short", "nulls", "two"])
def test_what_is_wrong_behind_a_schema_that_was_seen_before_is_refused_all_the_same(how):
    schema = vector_schema()
    body = encode_chunk(schema, [Lane(0).segment(5)], 0.0)
    decode_chunk(schema, body)
    with pytest.raises(ValidationError):
        decode_chunk(schema, spoilt(body, how))


def test_other_writers_of_the_same_fields_are_read_too_and_again():
    schema = vector_schema()
    body = encode_chunk(schema, [Lane(0).segment(5)], 0.0)
    batch = pa.ipc.open_stream(body).read_next_batch().replace_schema_metadata({"writer": "another"})
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, batch.schema) as writer:
        writer.write_batch(batch)
    for _ in range(2):
        for written in (body, sink.getvalue().to_pybytes()):
            assert decode_chunk(schema, written).sequence.tolist() == [0, 1, 2, 3, 4]


def test_a_column_name_that_is_no_text_is_refused():
    schema = vector_schema()
    body = encode_chunk(schema, [Lane(0).segment(4)], 0.0).replace(b"policy_version", b"policy\xff\xfeersion")
    with pytest.raises(ValidationError, match="not an Arrow IPC stream"):
        decode_chunk(schema, body)


def test_a_chunk_of_another_schema_is_refused_with_the_columns_names():
    body = encode_chunk(vector_schema(extras=(Column("cost", "float32"),)), [Lane(0, extras={"cost": float}).segment(2)], 0.0)
    with pytest.raises(ValidationError, match="cost"):
        decode_chunk(vector_schema(), body)
    wide = vector_schema(extras=(Column("cost", "float64"),))
    with pytest.raises(ValidationError, match=r"'cost' is float.*double"):
        decode_chunk(wide, body)


def test_nulls_and_lists_longer_than_declared_are_refused():
    schema = vector_schema(extras=(Column("tokens", "int16", (), 4),))
    too_long = Lane(0, extras={"tokens": lambda sequence: np.zeros(5, np.int16)}).segment(1)
    with pytest.raises(ValidationError, match="5 elements in one row, ragged_max is 4"):
        encode_chunk(schema, [too_long], 0.0)
    wider = vector_schema(extras=(Column("tokens", "int16", (), 9),))
    with pytest.raises(ValidationError, match="5 elements in one row, ragged_max is 4"):
        decode_chunk(schema, encode_chunk(wider, [too_long], 0.0))


def test_list_offsets_that_point_outside_are_refused():
    schema = vector_schema(extras=(Column("tokens", "int16", (), 4),))
    body = encode_chunk(schema, [Lane(0, extras={"tokens": lambda sequence: np.arange(3, dtype=np.int16)}).segment(2)], 0.0)
    offsets = np.array([0, 3, 6], np.int32).tobytes()
    assert offsets in body
    with pytest.raises(ValidationError):
        decode_chunk(schema, body.replace(offsets, np.array([0, 3, 600], np.int32).tobytes()))


def test_a_column_named_like_a_system_column_is_refused():
    with pytest.raises(ConfigError, match="'reward' is declared twice"):
        stored_columns(vector_schema(extras=(Column("reward", "float32"),)))
