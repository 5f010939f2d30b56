"""What of the start log outlives its service? Ends without a row and windows; starts that gave rows are read back with these.

Pure: no I/O, the clock is handed in. Times travel as seconds ago, since a later life of the service has another clock.
"""

import json
from collections.abc import Mapping
from typing import Any

import numpy as np

from replay.start_log import StartLog
from replay.stratum import Starts, Stratum
from sojourn.experience import EndKind

MOST_LOST = 4_096  # of each stratum
MOST_WINDOWS = 4_096  # of each pool


def state_of(log: StartLog, now_s: float, unix_s: float) -> bytes:
    """JSON for the snapshot. unix_s: the wall clock now."""
    said = {
        "unix_s": unix_s,
        "strata": [_lost(stratum, now_s) for stratum in log.strata],
        "windows": {pool: (now_s - log.window_ends(pool)[-MOST_WINDOWS:]).tolist() for pool in log.pools},
        "numbers": {pool: log.windows(pool) for pool in log.pools},
        "odd": dict(log.odd),
    }
    return json.dumps(said, separators=(",", ":")).encode()


def _lost(stratum: Stratum, now_s: float) -> dict[str, Any]:
    starts = stratum.starts()
    at = np.flatnonzero(starts.kind > EndKind.KILLED)[-MOST_LOST:]
    return {
        "pool": stratum.pool,
        "speed_class": stratum.speed_class,
        "ago_s": (now_s - starts.start_s[at]).tolist(),
        "age_s": starts.duration_s[at].tolist(),
        "kind": starts.kind[at].tolist(),
        "first": starts.first[at].tolist(),
    }


def restore(log: StartLog, text: bytes, now_s: float, unix_s: float) -> None:
    """Add what an earlier life knew, once the rows are read back.

    Ends without a row from before the oldest row that was read back stay away: they would stand against rows that are forgotten.
    """
    said = json.loads(text)
    then_s = now_s - max(0.0, unix_s - said["unix_s"])
    for one in said["strata"]:
        _restore_lost(log.strata[log.stratum(one["pool"], one["speed_class"])], one, then_s)
    for pool, ago_s in said["windows"].items():
        log.restore_windows(pool, [then_s - ago for ago in ago_s], said["numbers"][pool])
    log.odd.update(said["odd"])


def _restore_lost(stratum: Stratum, said: Mapping[str, Any], then_s: float) -> None:
    start_s, age_s = then_s - np.array(said["ago_s"], np.float64), np.array(said["age_s"], np.float64)
    read_back = stratum.starts().start_s
    if len(read_back) == 0:
        return
    kept = start_s >= read_back.min()
    kind, first = np.array(said["kind"], np.uint8), np.array(said["first"], np.bool_)
    stratum.add(Starts(start_s[kept], age_s[kept], age_s[kept], kind[kept], first[kept]))
