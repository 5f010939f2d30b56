"""What becomes of the items of a retired shard? They leave as they would have if others had gone on coming.

No I/O but the wait between two looks. A retired shard has no inserts to evict by; an item leaves once it is as old as the oldest item
of a full ring would have been: the age of the oldest at retirement x capacity / items. Tables that consume keep all until it is consumed.
"""

import asyncio
import math

from replay.shard import Shard

LOOK_S = 1.0


async def let_items_leave(shard: Shard) -> None:
    """For ever: once a second, while the shard is retired."""
    while True:
        look(shard, shard.clock.now_s())
        await asyncio.sleep(LOOK_S)


def look(shard: Shard, now_s: float) -> None:
    """Settle how long items stay, at the first look after the shard was retired, and let go those that have stayed so long."""
    store, residence_s = shard.store, shard.counts.residence_s
    shard.metrics.gauge("sojourn_replay_retired").set(shard.counts.retired)
    if store is None:
        return
    store.take_no_inserts(shard.counts.retired)
    if not shard.counts.retired:
        residence_s.clear()
        return
    for table, settings in shard.config.tables.items():
        if settings.consume or store.items(table) == 0:
            continue
        if not math.isfinite(residence_s.get(table, math.inf)):
            residence_s[table] = store.residence_s(table, now_s)
        store.leave_after(table, residence_s[table], now_s)
