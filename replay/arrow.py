"""How do segments become a chunk, and a chunk rows? Pure: no I/O, no clock (times are handed in), no randomness.

A chunk is an Arrow IPC stream of one record batch, rows of lanes (docs/architecture.md). Decoding copies nothing: arrays are
read-only views of the body.
"""

from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import numpy as np
import pyarrow as pa

from replay.ipc import arrow_type, from_ipc, to_arrow, to_ipc, to_numpy
from replay.rows import END_KIND_SHIFT, STEP, TERMINATED, TRUNCATED, RaggedColumn, Rows
from sojourn.columns import Column, Schema
from sojourn.durations import MOST_SECONDS
from sojourn.errors import ConfigError, ValidationError
from sojourn.experience import Columns, Segment

SYSTEM_COLUMNS: tuple[Column, ...] = (
    Column("lane", "uint32"),
    Column("sequence", "int64"),
    Column("episode", "int64"),
    Column("kind", "uint8"),
    Column("reward", "float32"),
    Column("duration_s", "float64"),
    Column("start_age_s", "float64"),
    Column("log_prob", "float32"),
    Column("policy_version", "int64"),
    Column("priority", "float32"),
)


LISTS = (pa.ListArray, pa.FixedSizeListArray)
END_OF_STREAM = b"\xff\xff\xff\xff\0\0\0\0"
MOST_WRITERS = 64  # libraries and versions that write a schema in other bytes; those of further ones are parsed each time


def stored_columns(schema: Schema) -> list[Column]:
    """The schema's own columns in the order of a chunk: observation*, action*, extras, core_state.*.

    Raises ConfigError when a declared column takes a name that another one has, or has no elements.
    """
    columns = [*schema.observation_columns(), *schema.action_columns(), *schema.extras, *schema.core_state]
    names = [column.name for column in (*SYSTEM_COLUMNS, *columns)]
    for column in columns:
        if names.count(column.name) > 1:
            raise ConfigError(f"column {column.name!r} is declared twice or is a name of Sojourn's own: rename the extra column")
        if column.row_bytes == 0:
            raise ConfigError(f"column {column.name!r} of shape {column.shape} holds nothing")
    return columns


def encode_chunk(schema: Schema, segments: Sequence[Segment], now_s: float) -> bytes:
    """One chunk of the segments' rows, sorted by lane, then sequence.

    now_s: the clock of `Segment.started_at_s`; ages are reckoned from it.
    Ragged extras are an object array of T one-dimensional arrays, or [T, max] beside `<name>.length` [T].
    """
    return _codec(schema).encode(segments, now_s)


def decode_chunk(schema: Schema, body: bytes) -> Rows:
    """The rows of a chunk. Raises ValidationError when the body is no chunk of this schema. Values are checked by `Store.validate`."""
    return _codec(schema).decode(body)


class ChunkCodec:
    """Encodes and decodes the chunks of one schema.

    Invariant: `_known_schemas` are first messages of Arrow streams whose fields are those of the schema.
    """

    def __init__(self, schema: Schema) -> None:
        self.stored = stored_columns(schema)
        self.arrow_schema = pa.schema([pa.field(c.name, arrow_type(c), nullable=False) for c in (*SYSTEM_COLUMNS, *self.stored)])
        self._observation = {column.name for column in schema.observation_columns()}
        self._action = {column.name for column in schema.action_columns()}
        self._core_state = {column.name for column in schema.core_state}
        self._known_schemas: set[bytes] = set()

    def encode(self, segments: Sequence[Segment], now_s: float) -> bytes:
        ordered = sorted(segments, key=lambda segment: (segment.lane, segment.first_sequence))
        system = _system_rows(ordered, now_s)
        arrays = [pa.array(system[column.name].astype(column.dtype, copy=False)) for column in SYSTEM_COLUMNS]
        arrays += [self._encode_column(column, ordered) for column in self.stored]
        return to_ipc(pa.RecordBatch.from_arrays(arrays, schema=self.arrow_schema))

    def _encode_column(self, column: Column, segments: Sequence[Segment]) -> Any:
        if column.ragged_max:
            return _encode_ragged(column, segments)
        parts = [self._column_rows(column, segment) for segment in segments]
        return to_arrow(np.concatenate(parts))

    def _column_rows(self, column: Column, segment: Segment) -> np.ndarray:
        """The segment's rows of a fixed column, in the stored dtype; the closing row has only observations."""
        steps, rows = len(segment), len(segment) + segment.closed
        if column.name in self._observation:
            return np.asarray(segment.observation[column.name])[:rows].astype(column.dtype, copy=False)
        leaves = segment.action if column.name in self._action else segment.extras
        if column.name in self._core_state:
            leaves = segment.core_state
        if rows == steps:
            return np.asarray(leaves[column.name]).astype(column.dtype, copy=False)
        values = np.zeros((rows, *column.shape), column.dtype)
        values[:steps] = leaves[column.name]
        return values

    def decode(self, body: bytes) -> Rows:
        batch = self._batch(body)
        arrays = dict(zip(self.arrow_schema.names, batch.columns, strict=True))
        for name, array in arrays.items():
            nulls = array.null_count or (array.values.null_count if isinstance(array, LISTS) else 0)
            if nulls:
                raise ValidationError(f"column {name!r} holds {nulls} nulls; a row has a value in every column")
        system = {column.name: to_numpy(arrays[column.name]) for column in SYSTEM_COLUMNS}
        ragged = {c.name: _decode_ragged(c, arrays[c.name]) for c in self.stored if c.ragged_max}
        fixed = {c.name: _decode_fixed(c, arrays[c.name]) for c in self.stored if not c.ragged_max}
        return Rows(**system, columns=fixed, ragged=ragged)

    def _batch(self, body: bytes) -> Any:
        """The record batch of a body. A writer says its schema in the same bytes each time: those that were found right are known."""
        schema_bytes = body[: 8 + int.from_bytes(body[4:8], "little")]
        if schema_bytes in self._known_schemas:
            rest = pa.BufferReader(body)
            rest.seek(len(schema_bytes))
            with suppress(pa.ArrowException, OSError, ValueError):  # said below
                batch = pa.ipc.read_record_batch(pa.ipc.read_message(rest), self.arrow_schema)
                if body[rest.tell() :] == END_OF_STREAM:
                    batch.validate()
                    return batch
        batch = from_ipc(body)
        self._check_fields(batch.schema)
        if len(self._known_schemas) < MOST_WRITERS:
            self._known_schemas.add(schema_bytes)
        return batch

    def _check_fields(self, found: Any) -> None:
        """Names, order and types must be those of the schema."""
        wanted = self.arrow_schema
        if found.names != wanted.names:
            lacking = sorted(set(wanted.names) - set(found.names))
            foreign = sorted(set(found.names) - set(wanted.names))
            raise ValidationError(f"columns differ from the schema: lacking {lacking}, unknown {foreign}, or in another order")
        for name in wanted.names:
            if not _same_layout(found.field(name).type, wanted.field(name).type):
                raise ValidationError(f"column {name!r} is {found.field(name).type}, the schema says {wanted.field(name).type}")


_codecs: dict[int, tuple[Schema, ChunkCodec]] = {}


def _codec(schema: Schema) -> ChunkCodec:
    """The schema's codec. Kept by identity: a process knows a handful of schemas, and hashing one costs more than a chunk."""
    known = _codecs.get(id(schema))
    if known is not None and known[0] is schema:
        return known[1]
    if len(_codecs) >= 64:
        _codecs.clear()
    codec = ChunkCodec(schema)
    _codecs[id(schema)] = (schema, codec)
    return codec


def _system_rows(segments: Sequence[Segment], now_s: float) -> Columns:
    """System columns of all segments' rows; a closing row has no reward, duration or action."""
    steps = np.array([len(segment) for segment in segments], np.int64)
    closed = np.array([segment.closed for segment in segments], np.bool_)
    rows = steps + closed
    firsts = np.cumsum(rows) - rows
    is_step = np.ones(rows.sum(), np.bool_)
    is_step[(firsts + steps)[closed]] = False

    def of_steps(parts: Sequence[np.ndarray], closing: float = 0) -> np.ndarray:
        """What segments say of their steps, one after the other, and `closing` in closing rows."""
        said = np.concatenate(parts) if len(parts) > 1 else parts[0]
        if len(said) == len(is_step):
            return said
        values = np.full(len(is_step), closing, said.dtype)
        values[is_step] = said
        return values

    def named(name: str, dtype: type) -> np.ndarray:
        return of_steps([np.asarray(getattr(segment, name), dtype) for segment in segments])

    estimates = [
        np.full(len(s), np.nan, np.float32) if s.priority is None else np.asarray(s.priority, np.float32) for s in segments
    ]
    flags = named("terminated", np.uint8) * TERMINATED | named("truncated", np.uint8) * TRUNCATED
    return {
        "lane": np.repeat([segment.lane for segment in segments], rows),
        "sequence": np.arange(len(is_step)) + np.repeat([segment.first_sequence for segment in segments] - firsts, rows),
        "episode": np.repeat([segment.episode for segment in segments], rows),
        "kind": is_step * np.uint8(STEP) | flags | named("end_kind", np.uint8) << END_KIND_SHIFT,
        "reward": named("reward", np.float32),
        "duration_s": named("duration_s", np.float64),
        "start_age_s": of_steps([_start_ages_s(segment, now_s) for segment in segments]),
        "log_prob": named("log_prob", np.float32),
        "policy_version": named("policy_version", np.int64),
        "priority": of_steps(estimates, np.nan),
    }


def _start_ages_s(segment: Segment, now_s: float) -> np.ndarray:
    """Ages of a segment's actions, float64[T] >= 0. A lane's actions follow each other, so each is older than all that came after it took.

    That tells on an environment's clock, on which actions take longer than on ours; no age is above what a service believes. Of a
    clock that was set back behind a start nothing is known: age 0, which the service counts, since it is less than the duration.
    """
    age_s = now_s - np.asarray(segment.started_at_s, np.float64)
    least_s = np.cumsum(np.asarray(segment.duration_s, np.float64)[::-1])[::-1]
    ages: np.ndarray = np.where(age_s >= 0.0, np.minimum(np.maximum(age_s, least_s), MOST_SECONDS), 0.0)
    return ages


def _encode_ragged(column: Column, segments: Sequence[Segment]) -> Any:
    """All rows' lists as one Arrow list array; closing rows have empty lists."""
    lists: list[np.ndarray] = []
    for segment in segments:
        lists += _ragged_lists(column, segment)
        lists += [np.zeros(0, column.dtype)] * segment.closed
    lengths = np.array([len(values) for values in lists], np.int64)
    if len(lengths) and lengths.max() > column.ragged_max:
        raise ValidationError(f"{column.name} holds {lengths.max()} elements in one row, ragged_max is {column.ragged_max}")
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32)
    values = np.concatenate([*lists, np.zeros(0, column.dtype)]).astype(column.dtype, copy=False)
    return pa.ListArray.from_arrays(pa.array(offsets), to_arrow(values), type=arrow_type(column))


def _ragged_lists(column: Column, segment: Segment) -> list[np.ndarray]:
    rows = segment.extras[column.name]
    lengths = segment.extras.get(f"{column.name}.length")
    if lengths is None:
        return [np.asarray(row).ravel() for row in rows]
    return [np.asarray(row)[:length] for row, length in zip(rows, lengths, strict=True)]


def _decode_fixed(column: Column, array: Any) -> np.ndarray:
    values = to_numpy(array).reshape((len(array), *column.shape))
    return values.view(np.bool_) if column.dtype == "bool" else values


def _decode_ragged(column: Column, array: Any) -> RaggedColumn:
    """Views of a list array. Offsets are checked here, since whoever copies by them trusts them."""
    offsets = array.offsets.to_numpy(zero_copy_only=True).astype(np.int64)
    values = to_numpy(array.values)
    lengths = np.diff(offsets)
    if offsets[0] < 0 or offsets[-1] > len(values) or (len(lengths) and lengths.min() < 0):
        raise ValidationError(f"column {column.name!r} has list offsets outside its {len(values)} values")
    if len(lengths) and lengths.max() > column.ragged_max:
        raise ValidationError(f"{column.name} holds {lengths.max()} elements in one row, ragged_max is {column.ragged_max}")
    return RaggedColumn(values.view(np.bool_) if column.dtype == "bool" else values, offsets)


def _same_layout(found: Any, wanted: Any) -> bool:
    """Whether arrays of the types have the same buffers. What other libraries call a list's elements, or promise of them, is no part."""
    if pa.types.is_fixed_size_list(found) and pa.types.is_fixed_size_list(wanted):
        return bool(found.list_size == wanted.list_size and found.value_type == wanted.value_type)
    if pa.types.is_list(found) and pa.types.is_list(wanted):
        return bool(found.value_type == wanted.value_type)
    return bool(found == wanted)
