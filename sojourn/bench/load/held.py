"""What do the services hold after a load? Step numbers of every row that they export, and whether each row is what was inserted."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from replay.client import exported_rows
from replay.rows import STEP, Rows
from sojourn.bench.load.shards import ShardProcess
from sojourn.bench.load.steps import NUMBER, Payload, rewards_of, schema_of


@dataclass(frozen=True)
class Held:
    """numbers: of all steps, int64 arrays, one a chunk.  altered: rows whose parts do not belong together.

    living: of those steps at which an item of the table begins; None if no item has left it.  missing_rows: row numbers between chunks that no chunk has.
    """

    numbers: list[np.ndarray]
    altered: int
    living: list[np.ndarray] | None
    missing_rows: int


def held_by(shards: Sequence[ShardProcess], payload: Payload, table: str, from_row: Sequence[int] = ()) -> Held:
    """Read everything back. from_row: first row number of each shard, 0 where it is not given.

    Raises ContractError at level `memory`, where nothing but the counters tells.
    """
    schema = schema_of(payload)
    numbers, living, altered, evicted, missing = [], [], 0, False, 0
    for shard in shards:
        first, expected = from_row[shard.index] if shard.index < len(from_row) else 0, 0
        for chunk in exported_rows(shard.address, schema, table, first):
            found = _numbers(chunk.rows)
            altered += int(np.count_nonzero(chunk.rows.reward[chunk.rows.kind & STEP > 0] != rewards_of(found)))
            numbers.append(found)
            living.append(found[np.isfinite(chunk.priority[chunk.rows.kind & STEP > 0])])
            missing += chunk.first_row - expected if expected else 0
            expected = chunk.first_row + len(chunk.rows)
        info = shard.info().table(table)
        evicted = evicted or (info is not None and info.evicted_items > 0)
    return Held(numbers, altered, living if evicted else None, missing)


def _numbers(rows: Rows) -> np.ndarray:
    return np.array(rows.columns[NUMBER][rows.kind & STEP > 0], np.int64)
