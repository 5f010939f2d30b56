"""Which columns does an opened or exported table have (docs/data.md)? Pure: no I/O, no clock.

One row a step, and one observation-only row behind each end of an episode, as stored: a step's next observation is that of its lane's
next row.
"""

from typing import Any

import numpy as np
import pyarrow as pa

from replay.exported import ExportedRows
from replay.nested_columns import array_of, field, trees
from replay.rows import END_KIND_SHIFT, STEP, TERMINATED, TRUNCATED, Rows
from sojourn.columns import Schema
from sojourn.errors import ContractError
from sojourn.experience import EndKind

FORMAT = "1"  # of the columns below; another number is another meaning
SCHEMA_KEY, FORMAT_KEY = b"sojourn.schema", b"sojourn.format"
MICROSECONDS = 1_000_000

IDENTITY = (
    ("shard", pa.uint32()),
    ("row_number", pa.int64()),
    ("actor", pa.string()),
    ("incarnation", pa.uint64()),
    ("lane", pa.uint32()),
    ("sequence", pa.int64()),
    ("episode", pa.int64()),
    ("is_step", pa.bool_()),
)
FLAGS = (("terminated", pa.bool_()), ("truncated", pa.bool_()))
OUTCOME = (
    ("reward", pa.float32()),
    ("duration_s", pa.float64()),
    ("started_at", pa.timestamp("us", tz="UTC")),
    ("end_kind", pa.string()),
    ("log_prob", pa.float32()),
    ("policy_version", pa.int64()),
    ("priority", pa.float32()),
    ("times_sampled", pa.uint32()),
)
"""Null on observation-only rows; `priority` and `times_sampled` also where the table holds no item that starts there."""
KIND_NAMES = pa.array([kind.name.lower() for kind in EndKind] + ["unknown"] * (8 - len(EndKind)))


class TableColumns:
    """The Arrow schema of one run's tables, and record batches of it."""

    def __init__(self, schema: Schema) -> None:
        self._trees = trees(schema)
        spaces = [field(name, tree) for name, tree in self._trees.items()]
        metadata = {SCHEMA_KEY: schema.to_json(), FORMAT_KEY: FORMAT.encode()}
        self.arrow_schema = pa.schema(
            [
                *(pa.field(name, kind, nullable=False) for name, kind in IDENTITY),
                *spaces[:2],
                *(pa.field(name, kind, nullable=False) for name, kind in FLAGS),
                *(pa.field(name, kind) for name, kind in OUTCOME),
                *spaces[2:],
            ],
            metadata,
        )

    def record_batch(self, chunk: ExportedRows, shard: int) -> Any:
        """One chunk's rows."""
        columns = _identity(chunk, shard) | _flags(chunk.rows) | _outcome(chunk)
        columns |= {name: array_of(tree, chunk.rows) for name, tree in self._trees.items()}
        return pa.RecordBatch.from_arrays([columns[name] for name in self.arrow_schema.names], schema=self.arrow_schema)


def schema_of_table(found: Any) -> Schema:
    """The experience schema that an exported table's Arrow schema tells. Raises ContractError if there is none, or of another format."""
    metadata = found.metadata or {}
    if SCHEMA_KEY not in metadata:
        raise ContractError("it has no experience schema: `sojourn export` did not write it")
    if metadata.get(FORMAT_KEY) != FORMAT.encode():
        raise ContractError(f"its columns are of format {metadata.get(FORMAT_KEY, b'?').decode()}, and this is format {FORMAT}")
    return Schema.from_json(metadata[SCHEMA_KEY])


def _identity(chunk: ExportedRows, shard: int) -> dict[str, Any]:
    rows, count = chunk.rows, len(chunk.rows)
    return {
        "shard": pa.array(np.full(count, shard, np.uint32)),
        "row_number": pa.array(np.arange(chunk.first_row, chunk.next_row)),
        "actor": pa.repeat(chunk.client_id, count),
        "incarnation": pa.array(np.full(count, chunk.incarnation, np.uint64)),
        "lane": pa.array(rows.lane),
        "sequence": pa.array(rows.sequence),
        "episode": pa.array(rows.episode),
        "is_step": pa.array((rows.kind & STEP) > 0),
    }


def _flags(rows: Rows) -> dict[str, Any]:
    return {"terminated": pa.array((rows.kind & TERMINATED) > 0), "truncated": pa.array((rows.kind & TRUNCATED) > 0)}


def _outcome(chunk: ExportedRows) -> dict[str, Any]:
    rows = chunk.rows
    no_step, no_item = (rows.kind & STEP) == 0, np.isnan(chunk.priority)
    started_us = ((chunk.stored_unix_s - chunk.held_s - rows.start_age_s) * MICROSECONDS).astype(np.int64)
    return {
        "reward": pa.array(rows.reward, mask=no_step),
        "duration_s": pa.array(rows.duration_s, mask=no_step),
        "started_at": pa.array(started_us, mask=no_step).cast(pa.timestamp("us", tz="UTC")),
        "end_kind": KIND_NAMES.take(pa.array(rows.kind >> END_KIND_SHIFT, mask=no_step)),
        "log_prob": pa.array(rows.log_prob, mask=no_step),
        "policy_version": pa.array(rows.policy_version, mask=no_step),
        "priority": pa.array(chunk.priority, mask=no_item),
        "times_sampled": pa.array(chunk.times_sampled, mask=no_item),
    }
