"""Who gives way when the slab, or the durable tier, is full before the tables are? No I/O, no clock."""

from collections.abc import Callable, Collection

from replay.slab import Slab
from replay.table import Table


def make_room(slab: Slab, tables: Collection[Table], collect: Callable[[], None]) -> None:
    """Evict until the slab has room for a row. collect: recycles what nothing holds any more."""
    while not slab.has_room:
        evict_some(slab, tables)
        collect()


def evict_some(slab: Slab, tables: Collection[Table]) -> None:
    """Evict from the table that holds most blocks for its capacity. Where lanes hold more than half of all blocks, or no item is left,
    break the chain of the lane that was silent for longest."""
    greediest = max(tables, key=lambda table: table.items.blocks_in_use / table.settings.capacity_steps)
    lanes_hold_most = 2 * slab.lanes.pinned_blocks > len(slab.blocks.fill)
    if lanes_hold_most or greediest.make_room() == 0:
        slab.drop_oldest_lane()
