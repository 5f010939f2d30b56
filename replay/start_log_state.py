"""What of the start log outlives its service, and how is it packed? All that weights are estimated from.

Pure: no I/O, clocks are handed in. Starts are in pages of 1,024, written again while they fill; lives and windows are in two more pages.
Times are seconds since the log's epoch, a moment on the wall clock, since a later life of the service has another clock.

    starts              JSON: epoch, windows, lives, what runs, what each stratum counts; the row number behind the last row that it knows
    starts:lanes        float64[N, 9]: index of the life, lane, then the fields of `LaneTimes`
    starts:<n>:<slot>   of stratum n: number of the first start, then the columns of `Starts`
"""

import json
from collections import Counter, deque
from collections.abc import Mapping
from dataclasses import astuple
from typing import Any

import numpy as np

from replay.answers import Stream
from replay.lane_watch import LaneTimes, LifeTimes, OpenAction
from replay.start_log import MOST_WINDOW_COUNTS, Epoch, StartLog
from replay.stratum import KEPT_STARTS, Fate, Starts
from replay.versions import Versions

PAGE = "starts"
LANES = f"{PAGE}:lanes"
PAGE_STARTS = 1_024
SLOTS = KEPT_STARTS // PAGE_STARTS + 2  # of a stratum; the first and the last page are not full
MOST_TOLD_AGAIN = 128  # ends of a life, whose report may have lost its reply
FIRST_BIT = 128  # beside the kind of an end
COLUMNS, OLD_COLUMNS = 2, 3  # float64 ones of a page; a third said when the result could be drawn


class StartLogPages:
    """Packs what has changed since it was packed before. One for each life of a service."""

    def __init__(self, log: StartLog, *, whole: bool) -> None:
        """whole: whether any table's weight is estimated from the log; else only its counters are kept."""
        self._log, self._whole = log, whole
        self._packed: dict[int, int] = {}  # by stratum: starts of which full pages were packed
        self._changes = 0

    def changed(self, versions: Versions, next_row: int, now_s: float, unix_s: float) -> dict[str, bytes]:
        """Pages by name; none if nothing has changed. next_row: no row from this number on is in the log."""
        log = self._log
        if log.changes == self._changes:
            return {}
        self._changes = log.changes
        log.epoch = log.epoch or Epoch(unix_s, -now_s)
        pages = {PAGE: json.dumps(self._header(log.epoch, versions, next_row), separators=(",", ":")).encode()}
        if self._whole:
            pages[LANES] = _lanes(log, log.epoch.ahead_s).tobytes()
            for number in range(len(log.strata)):
                pages |= self._starts(number, log.epoch.ahead_s)
        return pages

    def _header(self, epoch: Epoch, versions: Versions, next_row: int) -> dict[str, Any]:
        log, ahead_s = self._log, epoch.ahead_s
        said: dict[str, Any] = {
            "epoch_unix_s": epoch.unix_s,
            "next_row": next_row,
            "odd": dict(log.odd),
            "numbers": dict(log.window_numbers),
            "whole": self._whole,
            "columns": COLUMNS,
            "fates": [(stratum.pool, stratum.speed_class, stratum.fates) for stratum in log.strata if stratum.fates],
            "versions": [(at_s + ahead_s, version) for at_s, version in versions.changes],
        }
        if self._whole:
            said["windows"] = {pool: (_needed(log, pool) + ahead_s).tolist() for pool in log.pools}
            said["rows_at_window"] = {pool: list(rows) for pool, rows in log.rows_at_window.items()}
            said["strata"] = [_counts(log, number, ahead_s) for number in range(len(log.strata))]
            said["lives"] = [_life(stream, life, ahead_s) for stream, life in log.lives.items()]
        return said

    def _starts(self, number: int, ahead_s: float) -> dict[str, bytes]:
        """Pages of a stratum that have grown."""
        stratum, pages = self._log.strata[number], {}
        oldest = stratum.added - len(stratum)
        first = max(self._packed.get(number, 0), oldest) // PAGE_STARTS * PAGE_STARTS
        for begin in range(first, stratum.added, PAGE_STARTS):
            at = max(begin, oldest)
            pages[f"{PAGE}:{number}:{begin // PAGE_STARTS % SLOTS}"] = _page(
                stratum.between(at, begin + PAGE_STARTS), at, ahead_s
            )
        self._packed[number] = stratum.added // PAGE_STARTS * PAGE_STARTS
        return pages


def _needed(log: StartLog, pool: str) -> np.ndarray:
    """Ends of windows that a kept start may lie in, and the one before. float64[W]."""
    ends = log.window_ends(pool)
    oldest_s = [stratum.starts().start_s.min() for stratum in log.strata if stratum.pool == pool and len(stratum)]
    return ends[max(0, int(np.searchsorted(ends, min(oldest_s))) - 1) :] if oldest_s else ends[-1:]


def _counts(log: StartLog, number: int, ahead_s: float) -> dict[str, Any]:
    stratum = log.strata[number]
    first_s, last_s = stratum.watched_s
    return {
        "pool": stratum.pool,
        "speed_class": stratum.speed_class,
        "added": stratum.added,
        "kept": len(stratum),
        "lane_seconds": stratum.lane_seconds,
        "completions": stratum.completions,
        "watched_s": (first_s + ahead_s, last_s + ahead_s),
    }


def _life(stream: Stream, life: LifeTimes, ahead_s: float) -> dict[str, Any]:
    return {
        "stream": stream,
        "stratum": life.stratum,
        "heard_s": life.heard_s + ahead_s,
        "closed": life.closed,
        "running": [
            (action.lane, action.action_number, action.start_s + ahead_s, action.age_s, action.episode_start_s + ahead_s)
            for action in life.running.values()
        ],
        "ended": [(*key, presumed) for key, presumed in list(life.ended.items())[-MOST_TOLD_AGAIN:]],
    }


def _lanes(log: StartLog, ahead_s: float) -> np.ndarray:
    rows = [
        (place, number, *astuple(_moved(lane, ahead_s)))
        for place, life in enumerate(log.lives.values())
        for number, lane in life.lanes.items()
    ]
    return np.array(rows, "<f8").reshape(-1, 9)


def _moved(lane: LaneTimes, by_s: float) -> LaneTimes:
    """The lane on a clock that is so far ahead."""
    return LaneTimes(
        lane.watched_s + by_s,
        lane.episode,
        lane.sequence,
        lane.open,
        lane.episode_start_s + by_s,
        lane.end_s + by_s,
        lane.duration_s,
    )


def _page(starts: Starts, first: int, ahead_s: float) -> bytes:
    columns: np.ndarray = np.stack([starts.start_s + ahead_s, starts.duration_s]).astype("<f8")
    kinds: np.ndarray = (starts.kind + FIRST_BIT * starts.first).astype(np.uint8)
    return first.to_bytes(8, "little") + columns.tobytes() + kinds.tobytes()


def _unpacked(page: bytes, columns: int, ahead_s: float) -> tuple[int, Starts]:
    """columns: float64 ones, of which the first two are read."""
    count = (len(page) - 8) // (8 * columns + 1)
    times = np.frombuffer(page, "<f8", columns * count, 8).reshape(columns, count)
    kind = np.frombuffer(page, np.uint8, count, 8 + 8 * columns * count)
    starts = Starts(times[0] - ahead_s, times[1], kind % FIRST_BIT, kind >= FIRST_BIT)
    return int.from_bytes(page[:8], "little"), starts


class StoredStartLog:
    """What an earlier life packed.

    next_row: rows from this number on came after it.
    """

    def __init__(self, pages: Mapping[str, bytes]) -> None:
        self._pages = pages
        self._said: dict[str, Any] = json.loads(pages[PAGE]) if PAGE in pages else {"whole": False}
        self.next_row: int = self._said.get("next_row", 0)

    def expect(self, versions: Versions, now_s: float, unix_s: float) -> None:
        """Before rows are read back: say when each version was heard of."""
        if "epoch_unix_s" in self._said:
            versions.expect(self._changes(unix_s - self._said["epoch_unix_s"] - now_s))

    def _changes(self, ahead_s: float) -> list[tuple[float, int]]:
        return [(at_s - ahead_s, version) for at_s, version in self._said.get("versions", ())]

    def restore(self, log: StartLog, versions: Versions, now_s: float, unix_s: float) -> None:
        """Put it in the place of what rows before `next_row`, read back, have told the log."""
        said = self._said
        if "epoch_unix_s" not in said:
            return
        log.epoch = Epoch(said["epoch_unix_s"], unix_s - said["epoch_unix_s"] - now_s)
        log.odd, log.window_numbers = Counter(said["odd"]), Counter(said["numbers"])
        versions.restore(self._changes(log.epoch.ahead_s))
        for pool, speed_class, fates in said.get("fates", ()):
            for table, fate in fates.items():
                log.strata[log.stratum(pool, speed_class)].became(table, Fate(*fate))
        if said["whole"]:
            self._restore_estimates(log, log.epoch.ahead_s)

    def _restore_estimates(self, log: StartLog, ahead_s: float) -> None:
        said = self._said
        log.ends = {pool: [end_s - ahead_s for end_s in ends] for pool, ends in said["windows"].items()}
        log.rows_at_window = {pool: deque(rows, MOST_WINDOW_COUNTS) for pool, rows in said["rows_at_window"].items()}
        numbers = [self._restore_stratum(log, number, one, ahead_s) for number, one in enumerate(said["strata"])]
        lives = [_restored_life(one, numbers, ahead_s) for one in said["lives"]]
        for place, lane, watched_s, episode, sequence, is_open, *times in np.frombuffer(self._pages[LANES], "<f8").reshape(-1, 9):
            told = LaneTimes(watched_s, int(episode), int(sequence), bool(is_open), *map(float, times))
            lives[int(place)].lanes[int(lane)] = _moved(told, -ahead_s)
        log.lives |= {tuple(one["stream"]): life for one, life in zip(said["lives"], lives, strict=True)}

    def _restore_stratum(self, log: StartLog, number: int, said: Mapping[str, Any], ahead_s: float) -> int:
        """Returns the number that it has now."""
        now = log.stratum(said["pool"], said["speed_class"])
        oldest = said["added"] - said["kept"]
        columns = self._said.get("columns", OLD_COLUMNS)
        pages = [page for name, page in self._pages.items() if name.startswith(f"{PAGE}:{number}:") and page]
        found = [_unpacked(page, columns, ahead_s) for page in pages]
        parts = [
            Starts(*(column[max(0, oldest - first) :] for column in starts))
            for first, starts in sorted(found, key=lambda one: one[0])
            if first // PAGE_STARTS >= oldest // PAGE_STARTS  # others wait to be written over
        ]
        first_s, last_s = said["watched_s"]
        log.strata[now].restore(
            Starts(*(np.concatenate(columns) for columns in zip(*parts, strict=True))) if parts else None,
            added=said["added"],
            worked=(said["lane_seconds"], said["completions"]),
            watched_s=(first_s - ahead_s, last_s - ahead_s),
        )
        return now


def _restored_life(said: Mapping[str, Any], numbers: list[int], ahead_s: float) -> LifeTimes:
    running = {
        lane: OpenAction(lane, number, start_s - ahead_s, age_s, episode_start_s - ahead_s)
        for lane, number, start_s, age_s, episode_start_s in said["running"]
    }
    ended = {(lane, number): presumed for lane, number, presumed in said["ended"]}
    return LifeTimes(numbers[said["stratum"]], said["heard_s"] - ahead_s, running=running, ended=ended, closed=said["closed"])
