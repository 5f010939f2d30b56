"""How does a resumed shard go back to a cut? The cut takes the place of the latest snapshot before anything is read back.

Network I/O. Only what belongs to the learner goes back: priorities, times sampled, leases, what the limiter counts as sampled, the start
log. Nothing that was acknowledged does: rows that came after the cut stay, and the counts of what was inserted go on.
"""

import json
import logging
from collections.abc import Mapping
from typing import Any

from replay.cuts import Cut, Cuts
from replay.redis_store import RedisStore
from replay.rows import PAGE_ROWS
from replay.snapshots import CLIENTS, COUNTERS, PAGE
from sojourn.chosen_cut import ChosenCut

LOG = logging.getLogger("sojourn.replay")

START = "start"
"""Field of the pages that says in which start of the run the shard last went back."""
STAYS_IN_TABLE = ("late_updates", "evicted_items", "horizon")
STAYS_IN_LIMITER = ("inserted_items", "imported_items", "inserted", "free")


async def go_back(store: RedisStore, chosen: ChosenCut, shard: int) -> None:
    """Put the chosen cut in the place of the shard's latest snapshot, once in a start of the run.

    A shard that has no such cut goes on from its latest snapshot, and says so. Raises UnavailableError, NotOwnerError.
    """
    latest = await store.hash("pages", START, COUNTERS, CLIENTS)
    if latest.get(START, b"").decode() == chosen.start:
        return
    cut = (await Cuts(store).all()).get(chosen.label)
    if cut is None or cut.row_number != chosen.rows.get(shard):
        LOG.warning("shard %d has no cut of checkpoint %s: it goes on from its latest snapshot", shard, chosen.label)
        return
    pages = await store.hash(f"cut:{cut.label}")
    counters = went_back(json.loads(latest[COUNTERS]), json.loads(pages[COUNTERS]), cut)
    over = {
        START: chosen.start.encode(),
        COUNTERS: json.dumps(counters, separators=(",", ":")).encode(),
        CLIENTS: latest[CLIENTS],
    }
    over |= dict.fromkeys(left_behind(pages, await store.oldest_row()), b"")
    await Cuts(store).go_back(cut.label, over)
    LOG.info("shard %d goes back to its cut at row %d, of checkpoint %s", shard, cut.row_number, cut.label)


def went_back(latest: Mapping[str, Any], then: Mapping[str, Any], cut: Cut) -> dict[str, Any]:
    """The counters of a snapshot (replay/snapshots.py): those of the latest one, with the learner's part as it was then."""
    tables = {name: _table(state, latest["store"]["tables"].get(name)) for name, state in then["store"]["tables"].items()}
    if cut.table in tables:
        tables[cut.table]["learned_draws"] = list(cut.learned_draws)
    return {
        "store": {**latest["store"], "tables": {**latest["store"]["tables"], **tables}},
        "shard": {**latest["shard"], "learner_step": cut.learner_step},
    }


def _table(then: Mapping[str, Any], latest: Mapping[str, Any] | None) -> dict[str, Any]:
    if latest is None:
        return dict(then)
    return {
        **then,
        **{name: latest[name] for name in STAYS_IN_TABLE},
        "limiter": {
            **then["limiter"],
            **{name: latest["limiter"][name] for name in STAYS_IN_LIMITER if name in latest["limiter"]},
        },
        "leases": {**then["leases"], "next_id": latest["leases"]["next_id"]},
    }


def left_behind(pages: Mapping[str, bytes], oldest_row: int) -> list[str]:
    """Names of the pages in which no row is kept any more, since all are older than the oldest chunk."""
    numbers = {name: int(name.rpartition(":")[2]) for name in pages if name.startswith(f"{PAGE}:")}
    return [name for name, number in numbers.items() if (number + 1) * PAGE_ROWS <= oldest_row]
