"""What of the start log must a learner know for a table's weight? Small tables of counts, as JSON, made when the log has changed.

Pure: no I/O, the clock is handed in. Counts travel and not curves, because counts of several shards add up (replay/survival.py).
"""

import json
from collections.abc import Mapping
from typing import Any

import numpy as np

from replay.start_log import StartLog
from replay.stratum import Starts
from replay.survival import EventTable
from replay.versions import Versions
from sojourn.experience import EndKind

MOST_POINTS = 4_096  # over all strata of a summary
FRESH_FOR_S = 1.0  # a summary takes some milliseconds to make


class Summaries:
    """The newest summary of each kind.

    Invariant: a summary's number changes exactly when its text does.
    """

    def __init__(self, log: StartLog, versions: Versions, pool_shares: Mapping[str, float], first_number: int) -> None:
        """first_number: above those of earlier lives of the service, so that a number names one text for ever."""
        self._log, self._versions, self._shares = log, versions, pool_shares
        self._first_number = first_number
        self._made: dict[tuple[str, bool], tuple[float, int, int, bytes]] = {}  # when, of which state, number, text

    def of(self, rule: str, by_pool: bool, now_s: float) -> tuple[int, bytes]:
        """Number and JSON of the summary that the rule needs. by_pool: with what weights by pool need."""
        made_s, state, number, text = self._made.get((rule, by_pool), (-np.inf, -1, self._first_number, b""))
        current = self._log.changes
        if state == current or 0.0 <= now_s - made_s < FRESH_FOR_S:
            return number, text
        said = summary(self._log, self._versions, rule, by_pool)
        if by_pool and self._shares:
            said["pool_shares"] = dict(self._shares)
        fresh = json.dumps(said, separators=(",", ":")).encode()
        number += fresh != text
        self._made[rule, by_pool] = (now_s, current, number, fresh)
        return number, fresh


def summary(log: StartLog, versions: Versions, rule: str, by_pool: bool) -> dict[str, Any]:
    """What `replay.inclusion` reads. Strata in the order of their numbers, which is what items carry."""
    if rule == "staleness" and not by_pool:
        return {"period_s": versions.period_s}
    said: dict[str, Any] = {"strata": [_stratum(log, number, rule, by_pool) for number in range(len(log.strata))]}
    if rule == "staleness":
        said["period_s"] = versions.period_s
    return said


def _stratum(log: StartLog, number: int, rule: str, by_pool: bool) -> dict[str, Any]:
    stratum = log.strata[number]
    said: dict[str, Any] = {"pool": stratum.pool, "speed_class": stratum.speed_class}
    if by_pool:
        said |= {"lane_seconds": stratum.lane_seconds, "completions": stratum.completions, "span_s": stratum.span_s}
    most = max(2, MOST_POINTS // len(log.strata))
    match rule:
        case "window" | "episode_window":
            said |= _table(remaining_windows(log, number, episodes=rule == "episode_window"), most)
            said["clusters"] = clusters(log, number)
        case "censoring":
            said |= _table(censored(log, number), most)
        case "start_rate":
            said |= start_times(log, number, most)
    return said


def _table(table: EventTable, most: int) -> dict[str, list[float]]:
    coarse = table.coarser(most)
    return {"time": coarse.time.tolist(), "events": coarse.events.tolist(), "leaving": coarse.leaving.tolist()}


def remaining_windows(log: StartLog, number: int, *, episodes: bool) -> EventTable:
    """Of every start (of every episode's first start) in a window that has ended: what was left of the window.

    An action is of the window that its middle lies in: actors' clocks drift, and a cold window begins where another ended.
    """
    stratum = log.strata[number]
    ended, ends = stratum.starts(), log.window_ends(stratum.pool)
    started_s, lasted_s, first = _with_running(log, number, ended)
    window = np.searchsorted(ends, started_s + lasted_s / 2, side="right")
    kept = (window < len(ends)) & (window > _forgotten(ended, stratum.added, ends))
    if episodes:
        kept &= first
    remaining_s = ends[window[kept]] - started_s[kept]
    return EventTable.of(remaining_s, np.ones(len(remaining_s), np.bool_))


def _with_running(log: StartLog, number: int, ended: Starts) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Start times and durations (ages) of all starts, those that run included, and which are first of an episode."""
    running = np.array([(action.start_s, action.age_s) for action in log.running(number)], np.float64).reshape(-1, 2)
    started_s, lasted_s = np.append(ended.start_s, running[:, 0]), np.append(ended.duration_s, running[:, 1])
    return started_s, lasted_s, np.append(ended.first, log.is_first(number))


def _forgotten(ended: Starts, added: int, ends: np.ndarray) -> int:
    """Last window of which starts were forgotten, -1 for none: what is left of it are the actions that ended late."""
    if added == len(ended.kind) or len(ends) == 0:
        return -1
    return int(np.searchsorted(ends, ended.start_s[0] + ended.duration_s[0]))


def clusters(log: StartLog, number: int) -> int:
    """Independent pieces behind the starts in windows: lanes times windows (starts of one lane in one window depend on each other)."""
    stratum = log.strata[number]
    ended = stratum.starts()
    if len(ended.kind) == 0:
        return 0
    windows = log.windows_between(stratum.pool, float(ended.start_s.min()), np.inf)
    return max(1, windows) * max(1, log.lanes(number))


def censored(log: StartLog, number: int) -> EventTable:
    """Crashes and aborts as events at their ages; what gave a row leaves when it ended, what runs at its age.

    A result that waits to be sent is at risk no more: what ends a slot spares its finished rows.
    """
    ended = log.strata[number].starts()
    running_s = np.array([action.age_s for action in log.running(number)], np.float64)
    cut = np.isin(ended.kind, (EndKind.CRASHED, EndKind.ABORTED))
    return EventTable.of(np.append(ended.duration_s, running_s), np.append(cut, np.zeros(len(running_s), np.bool_)))


def start_times(log: StartLog, number: int, most: int) -> dict[str, Any]:
    """How many starts there were up to each time: `most` times at equal counts, and the newest."""
    started_s, _, _ = _with_running(log, number, log.strata[number].starts())
    started_s.sort()
    if len(started_s) == 0:
        return {"time": [], "count": []}
    at = np.unique(np.linspace(0, len(started_s) - 1, min(most, len(started_s))).astype(np.int64))
    return {"time": started_s[at].tolist(), "count": (at + 1).tolist()}
