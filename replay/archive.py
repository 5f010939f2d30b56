"""How are all rows of a run kept, so that a learner can be trained on them again? Parquet files in RUN/lineage/chunks. Blocks; reads and writes files.

<shard>-<first row number>-<last row number>-<CRC-32 of the file>.parquet, with the columns of an exported table (docs/data.md; priorities
are empty: items had none yet). A file is written whole, synced and renamed, so it is there or not; its name proves its content. The key
`sojourn.lives` of its metadata says of each life of an actor with rows in it: who it was (host, environment, seed) and its last row.
"""

import json
import re
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from replay.answers import Stream
from replay.arrow import decode_chunk
from replay.commit import StoredChunk
from replay.exported import ExportedRows
from replay.fences import field_of, stream_of
from replay.manifest import lineage_folder
from replay.nested_columns import leaves_of, trees
from replay.rows import END_KIND_SHIFT, STEP, TERMINATED, TRUNCATED, RaggedColumn, Rows
from replay.table_columns import KIND_NAMES, TableColumns, schema_of_table
from sojourn.columns import Schema
from sojourn.config.schema import ROW_COLUMNS
from sojourn.durable_files import put_in_place
from sojourn.errors import CheckpointError, ContractError

LIVES_KEY = b"sojourn.lives"
COMPRESSION = "zstd"


@dataclass(frozen=True)
class ArchiveFile:
    """One finished file: rows first_row .. last_row of a shard, without those of chunks that had been damaged."""

    path: Path
    shard: int
    first_row: int
    last_row: int
    checksum: int


@dataclass(frozen=True)
class ArchivedRows:
    """Rows of one life of an actor, numbered from first_row on."""

    first_row: int
    stream: Stream
    rows: Rows


def archive_folder(run_folder: Path) -> Path:
    return lineage_folder(run_folder) / "chunks"


def archive_files(folder: Path, shard: int | None = None) -> list[ArchiveFile]:
    """Finished files of a shard (None: of all), in the order of their rows."""
    found = []
    for path in folder.glob("*.parquet"):
        matched = re.fullmatch(r"(\d+)-(\d+)-(\d+)-([0-9a-f]{8})\.parquet", path.name)
        if matched and shard in (None, int(matched[1])):
            found.append(ArchiveFile(path, int(matched[1]), int(matched[2]), int(matched[3]), int(matched[4], 16)))
    return sorted(found, key=lambda file: (file.shard, file.first_row, file.last_row))


def write_archive(
    folder: Path, schema: Schema, shard: int, chunks: Sequence[StoredChunk], identities: Mapping[Stream, str]
) -> ArchiveFile:
    """Write chunks, in order, as one file. identities: JSON of `Identity`, by life. Raises OSError if the disk refuses."""
    content = archive_bytes(schema, shard, chunks, identities)
    checksum, first = zlib.crc32(content), chunks[0].first_row
    last = chunks[-1].first_row + chunks[-1].rows - 1
    path = folder / f"{shard}-{first:012d}-{last:012d}-{checksum:08x}.parquet"
    temporary = folder / f".{shard}.writing"
    folder.mkdir(parents=True, exist_ok=True)
    temporary.write_bytes(content)
    put_in_place(temporary, path)
    return ArchiveFile(path, shard, first, last, checksum)


def archive_bytes(schema: Schema, shard: int, chunks: Sequence[StoredChunk], identities: Mapping[Stream, str]) -> Any:
    """A Parquet file of chunks, as a buffer."""
    columns = TableColumns(schema)
    table = pa.Table.from_batches([columns.record_batch(_without_items(chunk, schema), shard) for chunk in chunks])
    last_rows = {chunk.stream: chunk.first_row + chunk.rows - 1 for chunk in chunks}
    lives = {
        field_of(stream): {"last_row": last, "identity": json.loads(identities.get(stream, "{}"))}
        for stream, last in last_rows.items()
    }
    metadata = {**(table.schema.metadata or {}), LIVES_KEY: json.dumps(lives).encode()}
    sink = pa.BufferOutputStream()
    pq.write_table(table.replace_schema_metadata(metadata), sink, compression=COMPRESSION, row_group_size=max(1, len(table)))
    return sink.getvalue()


def _without_items(chunk: StoredChunk, schema: Schema) -> ExportedRows:
    rows = decode_chunk(schema, chunk.body)
    return ExportedRows(
        first_row=chunk.first_row,
        rows=rows,
        client_id=chunk.client_id,
        incarnation=chunk.incarnation,
        stored_unix_s=chunk.stored_unix_s,
        held_s=chunk.held_s,
        priority=np.full(len(rows), np.nan, np.float32),
        times_sampled=np.zeros(len(rows), np.uint32),
    )


def read_archive(file: ArchiveFile, columns: Sequence[str] | None = None) -> Any:
    """The file as a pyarrow.Table. columns: only these. Raises CheckpointError, naming the file, if it is not what was written."""
    try:
        content = file.path.read_bytes()
        if zlib.crc32(content) != file.checksum:
            raise CheckpointError(f"{file.path} is not what was written: its checksum is wrong")
        return pq.read_table(pa.BufferReader(content), columns=None if columns is None else list(columns))
    except (OSError, pa.ArrowException) as error:
        raise CheckpointError(f"{file.path} cannot be read: {error}") from error


def lives_in(file: ArchiveFile) -> dict[Stream, dict[str, Any]]:
    """Of each life with rows in the file: "identity" and "last_row". Reads the footer alone."""
    try:
        metadata = pq.read_metadata(file.path).metadata or {}
        return {stream_of(name): said for name, said in json.loads(metadata[LIVES_KEY]).items()}
    except (OSError, pa.ArrowException, KeyError, ValueError) as error:
        raise CheckpointError(f"{file.path} is not what was written: {error!r}") from error


def archived_schema(file: ArchiveFile) -> Schema:
    """The experience schema of its rows."""
    try:
        return schema_of_table(pq.read_schema(file.path))
    except (OSError, pa.ArrowException, ContractError) as error:
        raise CheckpointError(f"{file.path} is not what was written: {error}") from error


def archived_rows(file: ArchiveFile, schema: Schema, after_row: int = 0) -> Iterator[ArchivedRows]:
    """Rows numbered above `after_row`, in pieces whose lanes are sorted and go on without a gap, as a chunk's do."""
    table = read_archive(file)
    number = table.column("row_number").to_numpy()
    incarnation = table.column("incarnation").to_numpy()
    client = pc.dictionary_encode(table.column("actor").combine_chunks())
    client_index, names = client.indices.to_numpy(), client.dictionary.to_pylist()
    rows = rows_of(table, schema)
    for first, end in _pieces(number, client_index, incarnation, rows):
        start = first + max(0, after_row + 1 - int(number[first]))
        if start < end:
            stream = (names[client_index[start]], int(incarnation[start]))
            yield ArchivedRows(int(number[start]), stream, sliced(rows, start, end))


def _pieces(number: np.ndarray, client: np.ndarray, incarnation: np.ndarray, rows: Rows) -> Iterator[tuple[int, int]]:
    """Beginnings and ends of runs of one life, in each of which lanes rise and sequence numbers go on."""
    lane = rows.lane.astype(np.int64)
    goes_on = (lane[1:] > lane[:-1]) | ((lane[1:] == lane[:-1]) & (rows.sequence[1:] == rows.sequence[:-1] + 1))
    goes_on &= (number[1:] == number[:-1] + 1) & (client[1:] == client[:-1]) & (incarnation[1:] == incarnation[:-1])
    cuts = [0, *(np.flatnonzero(~goes_on) + 1).tolist(), len(number)]
    yield from pairwise(cuts)


def rows_of(table: Any, schema: Schema) -> Rows:
    """Rows of a table with the columns of `TableColumns`; when each action began, and the actors' own priorities, are not restored."""

    def values(name: str, dtype: str) -> np.ndarray:
        found = table.column(name).combine_chunks()
        filled = found.fill_null(0) if found.null_count else found
        return np.asarray(filled.to_numpy(zero_copy_only=False), dtype)

    end_kind = pc.index_in(table.column("end_kind").combine_chunks(), KIND_NAMES).fill_null(0).to_numpy(zero_copy_only=False)
    kind = (
        values("is_step", "uint8") * STEP | values("terminated", "uint8") * TERMINATED | values("truncated", "uint8") * TRUNCATED
    )
    leaves = {
        name: leaf
        for group, tree in trees(schema).items()
        for name, leaf in leaves_of(tree, table.column(group).combine_chunks()).items()
    }
    ragged = {name: _ragged(leaf, name, schema) for name, leaf in leaves.items() if leaf.dtype == object}
    return Rows(
        lane=values("lane", "uint32"),
        sequence=values("sequence", "int64"),
        episode=values("episode", "int64"),
        kind=kind | (end_kind.astype(np.uint8) << END_KIND_SHIFT),
        reward=values("reward", "float32"),
        duration_s=values("duration_s", "float64"),
        start_age_s=np.zeros(len(table)),
        log_prob=values("log_prob", "float32"),
        policy_version=values("policy_version", "int64"),
        priority=np.full(len(table), np.nan, np.float32),
        columns={name: leaf for name, leaf in leaves.items() if name not in ragged},
        ragged=ragged,
    )


def _ragged(lists: np.ndarray, name: str, schema: Schema) -> RaggedColumn:
    dtype = next(column.dtype for column in (*schema.extras, *schema.core_state) if column.name == name)
    offsets = np.concatenate([[0], np.cumsum([len(values) for values in lists])]).astype(np.int64)
    return RaggedColumn(np.concatenate([*lists, np.zeros(0, dtype)]).astype(dtype, copy=False), offsets)


def sliced(rows: Rows, start: int, end: int) -> Rows:
    """Rows start .. end - 1."""
    return Rows(
        **{name: getattr(rows, name)[start:end] for name in ROW_COLUMNS},
        columns={name: column[start:end] for name, column in rows.columns.items()},
        ragged={name: RaggedColumn(column.values, column.offsets[start : end + 1]) for name, column in rows.ragged.items()},
    )
