"""How does an opened table become Parquet files that others can read while more are written? Writes files; blocks.

FOLDER/part-00000.parquet, part-00001.parquet ...: each is written under a hidden name and renamed when it is whole.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from replay.open_table import OpenTable
from sojourn.durable_files import put_in_place
from sojourn.errors import CheckpointError

ROW_GROUP_BYTES = 16 << 20  # in memory; a reader of one column reads a piece of each
FILE_BYTES = 128 << 20  # in memory; so much can be read after so much was written
COMPRESSION = "zstd"
DICTIONARIES = ("shard", "actor", "incarnation", "lane", "episode", "end_kind", "policy_version", "times_sampled")
"""Columns of few values. Looking for repetitions among the numbers of all others halves the speed and finds none."""


def write_parquet(table: OpenTable, folder: Path) -> list[Path]:
    """Write every row of the table into the folder, which must be empty or not there. Returns the files, in the order of their rows.

    Memory holds one row group. Raises CheckpointError where nothing can be written.
    """
    prepare(folder)
    files: list[Path] = []
    groups = row_groups(table)
    for group in groups:
        path = folder / f"part-{len(files):05d}.parquet"
        temporary = folder / f".{path.name}.writing"
        try:
            _write_file(temporary, group, groups)
            put_in_place(temporary, path)
        except OSError as error:
            raise CheckpointError(f"{path} cannot be written: {error}") from error
        finally:
            temporary.unlink(missing_ok=True)
        files.append(path)
    return files


def _write_file(path: Path, group: Any, following: Iterator[Any]) -> None:
    """One file of this row group and as many following ones as it may hold."""
    with pq.ParquetWriter(path, group.schema, compression=COMPRESSION, use_dictionary=list(DICTIONARIES)) as writer:
        written = 0
        while group is not None:
            writer.write_table(group, row_group_size=len(group))
            written += group.nbytes
            group = next(following, None) if written < FILE_BYTES else None


def row_groups(table: OpenTable) -> Iterator[Any]:
    """The table's batches gathered to about ROW_GROUP_BYTES each."""
    waiting: list[Any] = []
    waiting_bytes = 0
    for batch in table:
        waiting.append(batch)
        waiting_bytes += batch.nbytes
        if waiting_bytes >= ROW_GROUP_BYTES:
            yield pa.Table.from_batches(waiting)
            waiting, waiting_bytes = [], 0
    if waiting:
        yield pa.Table.from_batches(waiting)


def prepare(folder: Path) -> None:
    """Make the folder, so that no two exports ever mix. Raises CheckpointError if something is in it."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        found = next(folder.iterdir(), None)
    except OSError as error:
        raise CheckpointError(f"{folder} cannot be written to: {error.strerror}") from error
    if found is not None:
        raise CheckpointError(f"{folder} is not empty ({found.name} is in it): give another --output")
