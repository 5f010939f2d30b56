"""What was in these items? Makes the items of a table anew from archived rows, in the order of the rows, and gathers batches of them.

Reads files; blocks; no service is needed. Memory holds what the table held, not the archive.
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from replay.answers import Stream
from replay.archive import ArchivedRows, archive_files, archive_folder, archived_rows, archived_schema, lives_in
from replay.store import Store
from sojourn.columns import Schema
from sojourn.config.schema import LimiterSettings, TableDurationSettings, TableSettings
from sojourn.errors import CheckpointError, ValidationError
from sojourn.experience import Columns

TABLE = "archived"
SPARE_STEPS = 4_096  # over the table's capacity, with a quarter of it: ends of lives are met a little earlier here than there
BYTES_LIMIT = 1 << 50  # memory is touched as it is filled


class ArchivedItems:
    """Items of all shards of a run, made again as far as batches ask for them.

    schema: of the rows.  Invariant: rows come into a shard's table in the order of their numbers, and its items leave in the order in
    which they came, as in the table that they were drawn from, which held fewer.
    """

    def __init__(self, run_folder: Path, settings: TableSettings) -> None:
        """settings: of the table that batches were drawn from. Raises CheckpointError if nothing was archived."""
        self._folder = archive_folder(run_folder)
        files = archive_files(self._folder)
        if not files:
            raise CheckpointError(f"{self._folder} holds no rows: only runs with lineage: full archive them")
        self.schema = archived_schema(files[-1])
        self._settings = settings
        self._shards: dict[int, _ArchivedShard] = {}

    def columns(self, key: np.ndarray, shard: np.ndarray) -> Columns:
        """The columns of a batch, [B, ...].  key: uint64[B].  shard: uint16[B], or [0] where all are of shard 0.

        Raises CheckpointError naming what is missing or damaged.
        """
        if not len(shard):
            return self._shard(0).columns(key)
        made: Columns = {}
        for number in np.unique(shard).tolist():
            here = shard == number
            for name, column in self._shard(number).columns(key[here]).items():
                made.setdefault(name, np.empty((len(key), *column.shape[1:]), column.dtype))[here] = column
        return made

    def _shard(self, number: int) -> "_ArchivedShard":
        if number not in self._shards:
            self._shards[number] = _ArchivedShard(self._folder, number, self.schema, self._settings)
        return self._shards[number]


class _ArchivedShard:
    """One shard's table."""

    def __init__(self, folder: Path, shard: int, schema: Schema, settings: TableSettings) -> None:
        self._folder, self._shard = folder, shard
        self._files = archive_files(folder, shard)
        self._last_rows: dict[Stream, int] = {}
        for file in self._files:
            self._last_rows |= {stream: said["last_row"] for stream, said in lives_in(file).items()}
        rows = max((file.last_row for file in self._files), default=1)
        self._store = Store(schema, {TABLE: table_for(settings, rows)}, seed=0)
        self._pieces = self._read(schema)
        self._read_to = 0
        self._missing: list[tuple[int, int]] = []
        self._whole: list[Stream] = []

    def columns(self, keys: np.ndarray) -> Columns:
        self._read_until(int(keys.max()))
        while True:
            try:
                found = self._store.gather(TABLE, keys)
            except ValidationError as error:
                if not self._end_whole_lives() and not self._take():
                    raise CheckpointError(
                        f"an item is not in the archive {self._folder}: {error}{self._told_missing()}"
                    ) from error
            else:
                return {name: column for name, column in found.items() if not name.startswith("info.")}

    def _read_until(self, row: int) -> None:
        while self._read_to < row and self._take():
            pass

    def _take(self) -> bool:
        """Append the next piece; False at the archive's end."""
        piece = next(self._pieces, None)
        if piece is None:
            return False
        if piece.first_row > self._read_to + 1:
            self._missing.append((self._read_to + 1, piece.first_row - 1))
        self._store.append(piece.rows, piece.stream, 0.0, first_row=piece.first_row)
        self._read_to = piece.first_row + len(piece.rows) - 1
        if self._last_rows[piece.stream] <= self._read_to:
            self._whole.append(piece.stream)
        return True

    def _end_whole_lives(self) -> bool:
        """Cut the lanes of lives of which nothing more comes, as was done when they ended. False if there are none."""
        ended, self._whole = self._whole, []
        for stream in ended:
            self._store.close_stream(stream, 0.0)
        return bool(ended)

    def _read(self, schema: Schema) -> Iterator[ArchivedRows]:
        for file in self._files:
            yield from archived_rows(file, schema, after_row=self._read_to)

    def _told_missing(self) -> str:
        stretches = ", ".join(f"{first} to {last}" for first, last in self._missing[:3])
        return f"; rows {stretches} of shard {self._shard} are missing there" if stretches else ""


def table_for(settings: TableSettings, rows: int) -> TableSettings:
    """A table of the same items that holds at least as many; nothing leaves it but by capacity.

    rows: archived ones. A remover that keeps chosen items for long needs them all.
    """
    steps = settings.capacity_steps * 5 // 4 + SPARE_STEPS if settings.remover == "fifo" else rows
    return TableSettings(
        item=settings.item,
        n_step=settings.n_step,
        length=settings.length,
        period=settings.period,
        burn_in=settings.burn_in,
        capacity_steps=max(min(steps, rows), settings.length, 64),
        capacity_bytes=BYTES_LIMIT,
        sampler="uniform",
        limiter=LimiterSettings(samples_per_insert=None, min_size=1),
        duration=TableDurationSettings(weight="none"),
    )
