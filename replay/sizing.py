"""How large must the slab be, and which tables cannot work? Blocks and arena bytes, or a clear refusal. Pure."""

from collections.abc import Mapping

from replay.arena import segment_bytes_for
from replay.layout import RowLayout
from replay.slab import ROW_STATE_BYTES
from sojourn.config.schema import TableSettings
from sojourn.errors import ConfigError

TABLE_ROW_BYTES = 64  # what a table keeps of a row: item state, sum tree, queues
SPARE_BLOCKS = 128  # partly filled blocks that lanes hold beside full ones


def slab_size(layout: RowLayout, tables: Mapping[str, TableSettings]) -> tuple[int, int]:
    """Blocks and arena bytes.

    FIFO removers keep the newest rows, so such tables share them: the largest counts. Any other remover may keep rows that no other table
    has, so each of these counts in full. On top comes an eighth for blocks that are partly filled or partly evicted, and up to as many
    rows again as there are steps, as far as capacity_bytes allows: an episode of one step takes two rows. Memory is touched only as it is
    filled. Ragged columns share what the rows leave of the bytes. Whatever does not fit at run time (thousands of lanes, episodes of one
    step, long lists) is met by evicting earlier, never by failing.
    """
    if not tables:
        raise ConfigError("there is no table: name at least one under `tables`")
    for name, settings in tables.items():
        _refuse_what_cannot_fit(layout, name, settings)
    sharing = [settings for settings in tables.values() if settings.remover == "fifo"]
    alone = [settings for settings in tables.values() if settings.remover != "fifo"]
    steps = max((s.capacity_steps for s in sharing), default=0) + sum(s.capacity_steps for s in alone)
    budget = max((s.capacity_bytes for s in sharing), default=0) + sum(s.capacity_bytes for s in alone)
    row_bytes = layout.row_bytes + ROW_STATE_BYTES + TABLE_ROW_BYTES * len(tables)
    least = steps * 9 // 8 + SPARE_BLOCKS * layout.block_rows
    rows = (
        least if layout.ragged_row_bytes else max(least, min(2 * steps + SPARE_BLOCKS * layout.block_rows, budget // row_bytes))
    )
    blocks = -(-rows // layout.block_rows)
    return blocks, _arena_bytes(layout, blocks, budget - rows * row_bytes)


def refuse_table(name: str, settings: TableSettings, length: int, capacity_items: int, batch_size: int) -> None:
    """Raise ConfigError for a table whose items do not fit, or that would stop: when a consuming table is full, inserts wait for draws, so
    a batch must be there and be admitted."""
    if length > settings.capacity_steps:
        raise ConfigError(f"tables.{name}: an item of {length} steps does not fit into capacity_steps {settings.capacity_steps}")
    if settings.consume and capacity_items < batch_size:
        raise ConfigError(
            f"tables.{name} consumes and holds {capacity_items} items, fewer than one batch of {batch_size}: raise capacity_steps"
        )
    ratio = settings.limiter.samples_per_insert
    if settings.consume and ratio is not None and ratio < 1.0:
        raise ConfigError(
            f"tables.{name} consumes, and limiter.samples_per_insert {ratio:g} would leave items that are never drawn: "
            "it would fill up and stop; take 1 or null"
        )


def _arena_bytes(layout: RowLayout, blocks: int, left: int) -> int:
    """What is left of the budget, at most what all rows' longest lists can take, at least one segment a spare block."""
    if not layout.ragged_row_bytes:
        return 0
    segment = segment_bytes_for(layout.ragged_row_bytes, layout.block_rows)
    longest = 2 * blocks * layout.block_rows * layout.ragged_row_bytes + blocks * segment
    return max(SPARE_BLOCKS * segment, min(longest, left))


def _refuse_what_cannot_fit(layout: RowLayout, name: str, settings: TableSettings) -> None:
    row_bytes = layout.row_bytes + ROW_STATE_BYTES + TABLE_ROW_BYTES
    spare = SPARE_BLOCKS * (layout.block_rows * row_bytes + segment_bytes_for(layout.ragged_row_bytes, layout.block_rows))
    needed = settings.capacity_steps * 9 // 8 * row_bytes + spare
    if needed <= settings.capacity_bytes:
        return
    fitting = max(0, (settings.capacity_bytes - spare) * 8 // 9 // row_bytes)
    raise ConfigError(
        f"tables.{name}: capacity_steps {settings.capacity_steps:,} at {row_bytes:,} bytes a step need {needed:,} bytes, capacity_bytes "
        f"is {settings.capacity_bytes:,}: lower capacity_steps to {fitting:,} or raise capacity_bytes"
    )
