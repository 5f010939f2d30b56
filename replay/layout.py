"""How is one row laid out in the slab? A header of fixed words, then the schema's columns, packed. Pure; decided once per store."""

from dataclasses import dataclass

import numpy as np

from replay.arrow import stored_columns
from sojourn.columns import Column, Schema
from sojourn.errors import ConfigError

# The header: what every gather reads lies in one cache line with the first columns.
NUMBER_WORD = 0  # int64 words of a row
VERSION_WORD = 1
DURATION_WORD = 2  # float64, same words
START_WORD = 3
REWARD_FLOAT = 8  # float32, half words
LOG_PROB_FLOAT = 9
PRIORITY_FLOAT = 10
KIND_BYTE = 44
FLAGS_BYTE = 45
STRATUM_BYTE = 46  # uint16
HEADER_BYTES = 48

EPISODE_START = 1  # bit of the flags byte: no row of the episode came before this one

HANDLE_BYTES = 16  # a ragged column in the row: int64 byte offset in the arena, int64 elements
LARGEST_BLOCK_BYTES = 65_536
BLOCK_ROWS = 64


@dataclass(frozen=True)
class Place:
    """Where a column lies in the row: `offset` bytes from its start. For ragged columns a handle lies there."""

    column: Column
    offset: int

    @property
    def element_bytes(self) -> int:
        return np.dtype(self.column.dtype).itemsize


@dataclass(frozen=True)
class RowLayout:
    """Bytes of a row of one schema.

    row_bytes: a multiple of 8.  block_rows: a power of two, 64 for rows up to 1 KiB, fewer for larger ones.
    ragged_row_bytes: most that one row takes in the arena, 0 without ragged columns.
    episode_start_word: where the row says when its episode began, 0 if it does not.
    """

    places: tuple[Place, ...]
    row_bytes: int
    block_rows: int
    ragged_row_bytes: int
    frame_stack: int
    episode_start_word: int

    @classmethod
    def of(cls, schema: Schema, *, episode_starts: bool = False) -> "RowLayout":
        """Lay out the schema's columns. Raises ConfigError for a task column that is not a declared scalar extra."""
        columns = stored_columns(schema)
        _check_task(schema)
        places, offset = [], HEADER_BYTES + 8 * episode_starts
        for column in sorted(columns, key=lambda column: column.ragged_max == 0):  # handles first: they must be aligned
            places.append(Place(column, offset))
            offset += HANDLE_BYTES if column.ragged_max else column.row_bytes
        row_bytes = _rounded_up(offset, 8)
        ragged = sum(_rounded_up(column.row_bytes, 8) for column in columns if column.ragged_max)
        episode_start_word = HEADER_BYTES // 8 if episode_starts else 0
        return cls(tuple(places), row_bytes, _block_rows(row_bytes), ragged, schema.frame_stack, episode_start_word)

    @property
    def fixed(self) -> list[Place]:
        return [place for place in self.places if not place.column.ragged_max]

    @property
    def ragged(self) -> list[Place]:
        return [place for place in self.places if place.column.ragged_max]


def _block_rows(row_bytes: int) -> int:
    """Rows a block: idle lanes hold a partly filled one each, so blocks of large rows are kept near 64 KiB."""
    fits = max(8, LARGEST_BLOCK_BYTES // row_bytes)
    return int(min(BLOCK_ROWS, 1 << (fits.bit_length() - 1)))


def _rounded_up(size: int, multiple: int) -> int:
    return -(-size // multiple) * multiple


def _check_task(schema: Schema) -> None:
    if not schema.task_column:
        return
    task = next((column for column in schema.extras if column.name == schema.task_column), None)
    if task is None or task.shape or task.ragged_max:
        raise ConfigError(f"the task column {schema.task_column!r} must be a declared extra column holding one number")
