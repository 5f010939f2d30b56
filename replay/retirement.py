"""What becomes of the items of a retired shard? They leave as they would have if others had gone on coming.

No I/O but the wait between two looks. A retired shard has no inserts to evict by; an item leaves once it is as old as the oldest item
of a full ring would have been: the age of the oldest at retirement x capacity / items. Tables that consume keep all until it is consumed.
A shard that is empty leaves the run (replay/departure.py).
"""

import asyncio
import logging
import math
from collections.abc import Callable

from replay.departure import end_silent_lives, is_spent
from replay.ingest import Ingest
from replay.shard import Shard

LOG = logging.getLogger("sojourn.replay")

LOOK_S = 1.0


async def follow(shard: Shard, ingest: Ingest, retired: Callable[[], bool | None]) -> None:
    """Once a second: be retired, or not, as wanted (None: as it is), and let items leave.

    Returns once the shard is to be retired and has nothing left; it takes nothing more from then on.
    """
    while True:
        wanted = retired()
        obey(shard, wanted)
        look(shard, shard.clock.now_s())
        if wanted:
            end_silent_lives(shard, ingest, shard.clock.now_s())
            if is_spent(shard, ingest):
                LOG.info("shard %d is empty and leaves the run", shard.index)
                return ingest.stop_taking()
        await asyncio.sleep(LOOK_S)


def obey(shard: Shard, retired: bool | None) -> None:
    """Take new lives of actors, or no more."""
    if retired is not None and retired != shard.counts.retired:
        LOG.info("shard %d %s", shard.index, "is retired" if retired else "takes inserts")
        shard.counts.retired = retired


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
