"""Which actions were ever started, and what became of each? The service's memory of starts, by stratum of actors.

Pure: no I/O, the clock is handed in. Starts are learnt from rows (arrival less age), from heartbeats (what runs, what ended without a
row) and from lives that ended while something ran. A stratum is a (pool, speed class); its memory is bounded.
"""

from bisect import bisect_left
from collections import Counter, deque
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from replay.answers import Stream
from replay.client_records import Counts, Running
from replay.lane_watch import LaneRun, LaneTimes, LifeTimes, OpenAction, lane_runs
from replay.rows import END_KIND_SHIFT, STEP, Rows
from replay.stratum import KEPT_STARTS, MOST_STRATA, Fate, Starts, Stratum
from replay.tally import Tally
from sojourn.durations import MOST_SECONDS
from sojourn.experience import Columns, EndKind

MOST_ENDED = 1_024  # ends without a row that a life is remembered by
MOST_CLOSED = 256  # lives that ended and may still have something to say
MOST_WINDOW_COUNTS = 256
CLOCK_BACK_S = 0.1  # an action cannot have begun less than its duration ago, unless its actor's clock was set back


class Epoch(NamedTuple):
    """The moment from which a log counts time through all lives of its service.

    unix_s: on the wall clock.  ahead_s: seconds since then, less the service's clock.
    """

    unix_s: float
    ahead_s: float


class StartLog:
    """All strata of a shard, the lives of its actors, and the windows of its pools.

    odd: what cannot be, by kind (`sojourn.metrics.ODD_KINDS`); it is counted and left out.
    changes: grows whenever a summary of the log would change.
    lives: by (client, incarnation).  ends: of windows by pool, ascending, on this clock.  window_numbers: of the last by pool.
    rows_at_window: by pool, actions that had ended when each of its latest windows did.  epoch: None until the log is first kept.
    tally: ends by duration and label, since this life of the service began.
    Invariant: a start is in one place, either running in one life or ended in one stratum.
    """

    def __init__(self, kept: int = KEPT_STARTS, *, simulated: bool = False) -> None:
        """simulated: whether durations are on environments' clocks, on which more time passes than on this one."""
        self.strata: list[Stratum] = []
        self.odd: Counter[str] = Counter()
        self.changes = 0
        self.epoch: Epoch | None = None
        self.tally = Tally()
        self._kept, self._simulated = kept, simulated
        self._numbers: dict[tuple[str, str], int] = {}
        self.lives: dict[Stream, LifeTimes] = {}
        self.ends: dict[str, list[float]] = {}
        self.window_numbers: Counter[str] = Counter()
        self.rows_at_window: dict[str, deque[int]] = {}

    def stratum(self, pool: str, speed_class: str) -> int:
        """Number of a stratum; one too many shares the last."""
        number = self._numbers.get((pool, speed_class))
        if number is None:
            if len(self.strata) < MOST_STRATA:
                self.strata.append(Stratum(pool, speed_class, self._kept))
            number = self._numbers[pool, speed_class] = len(self.strata) - 1
        return number

    def opened(self, stream: Stream, pool: str, speed_class: str, now_s: float) -> None:
        """An actor's life begins or goes on."""
        number = self.stratum(pool, speed_class)
        life = self.lives.setdefault(stream, LifeTimes(number, now_s))
        life.stratum, life.closed = number, False

    def knows(self, stream: Stream) -> bool:
        return stream in self.lives

    def _life(self, stream: Stream, now_s: float) -> LifeTimes:
        if stream not in self.lives:
            self.opened(stream, "", "", now_s)
        return self.lives[stream]

    # Rows

    def arrived(self, stream: Stream, rows: Rows, arrived_s: float | np.ndarray, now_s: float | np.ndarray) -> Columns:
        """Rows were accepted. Returns what is kept beside them: `stratum` uint16[N], `episode_start_s` float64[N].

        arrived_s: when the ages in the rows were stamped, on this clock.  now_s: when the rows can be drawn.  Of all, or float64[N].
        """
        life = self._life(stream, float(np.max(now_s)))
        start_s = arrived_s - np.maximum(rows.start_age_s, rows.duration_s)
        steps = rows.kind & STEP != 0
        begins = np.ones(len(rows), np.bool_)
        np.logical_or(rows.episode[1:] != rows.episode[:-1], rows.lane[1:] != rows.lane[:-1], out=begins[1:])
        group = np.cumsum(begins) - 1
        group_start_s, opens = start_s[begins], np.ones(group[-1] + 1, np.bool_)
        for run in lane_runs(rows, start_s, steps, group):
            lane = life.lane(run.lane, run.start_s)
            begun_s, opens[run.first_group] = _episode_start(lane, run)
            if self._simulated and not opens[run.first_group]:
                begun_s = min(begun_s, run.start_s - (lane.end_s - lane.episode_start_s))
            group_start_s[run.first_group] = begun_s
            self._lane_went_on(life, lane, run)
            lane.episode_start_s = float(group_start_s[run.last_group])
        self._keep_rows(life, rows, start_s, steps, begins & opens[group])
        self.changes += 1
        return {
            "stratum": np.full(len(rows), life.stratum, np.uint16),
            "episode_start_s": group_start_s[group],
        }

    def _keep_rows(self, life: LifeTimes, rows: Rows, start_s: np.ndarray, steps: np.ndarray, first: np.ndarray) -> None:
        duration_s = rows.duration_s[steps]
        kind = (rows.kind[steps] >> END_KIND_SHIFT) & 7
        self.odd["clock_back"] += int(np.count_nonzero(rows.start_age_s[steps] < duration_s - CLOCK_BACK_S))
        self.odd["zero_duration"] += int(np.count_nonzero(duration_s == 0.0))
        self.tally.rows(rows, steps)
        self.strata[life.stratum].add(Starts(start_s[steps], duration_s, kind, first[steps]))

    def _lane_went_on(self, life: LifeTimes, lane: LaneTimes, run: LaneRun) -> None:
        """Move a lane on behind its rows of a message."""
        lane.episode, lane.sequence, lane.open = run.last_episode, run.last_sequence, run.open
        if run.steps == 0:
            return
        lane.duration_s, lane.end_s = run.duration_s, run.end_s
        life.settle(run.lane, lane.end_s)
        self._watched(life, lane, lane.end_s, run.steps)

    def _watched(self, life: LifeTimes, lane: LaneTimes, until_s: float, completions: int) -> None:
        self.strata[life.stratum].worked(max(0.0, until_s - lane.watched_s), completions, until_s)
        lane.watched_s = max(lane.watched_s, until_s)

    # Reports

    def reported(self, stream: Stream, counts: Counts, running: Sequence[Running], now_s: float) -> None:
        """A heartbeat: what runs now, and what ended without a row."""
        life = self._life(stream, now_s)
        life.heard_s = now_s
        if sum(counts.ended) > counts.started:
            self.odd["end_without_start"] += 1
        self.changes += bool(running or life.running)
        life.running = {}
        for action in running:
            if action.odd or action.age_s > MOST_SECONDS or action.episode_age_s > MOST_SECONDS:
                self.odd["odd_age"] += 1
            elif action.ended is None and not life.closed:
                self._runs(life, OpenAction.of(action, now_s))
            elif action.ended is not None:
                self._ended(life, OpenAction.of(action, now_s - action.ended_ago_s), action.ended)

    def _runs(self, life: LifeTimes, action: OpenAction) -> None:
        if life.is_news(action) and (action.lane, action.action_number) not in life.ended:
            life.running[action.lane] = action
            self._watched(life, life.lane(action.lane, action.start_s), action.start_s + action.age_s, 0)

    def _ended(self, life: LifeTimes, action: OpenAction, kind: EndKind) -> None:
        """An end without a row. A life that was taken for dead may still report its ends: they were counted then."""
        key = (action.lane, action.action_number)
        if key in life.ended:
            presumed = life.ended[key]
            self.odd["never_ended" if presumed else "two_ends"] += -1 if presumed else 1
            life.ended[key] = False
            return
        if len(life.ended) >= MOST_ENDED:
            del life.ended[next(iter(life.ended))]
        life.ended[key] = False
        if action.lane in life.running and life.running[action.lane].action_number <= action.action_number:
            del life.running[action.lane]  # a report may list the lane's next action before this one's end
        self._lost(life, action, kind)

    def _lost(self, life: LifeTimes, action: OpenAction, kind: EndKind) -> None:
        lane = life.lane(action.lane, action.start_s)
        self._watched(life, lane, action.start_s + action.age_s, 0)
        self.tally.lost(action.age_s)
        self.strata[life.stratum].add(
            Starts(
                np.array([action.start_s]),
                np.array([action.age_s]),
                np.array([kind], np.uint8),
                np.array([lane.begins_with(action)]),
            )
        )
        lane.open = False

    def closed(self, stream: Stream) -> None:
        """A life is over: what ran when it was last heard crashed then."""
        life = self.lives.get(stream)
        if life is None or life.closed:
            return
        life.closed = True
        for action in life.running.values():
            self.odd["never_ended"] += 1
            self._lost(life, action, EndKind.CRASHED)
            life.ended[action.lane, action.action_number] = True
        life.running = {}
        self.changes += 1
        over = [key for key, other in self.lives.items() if other.closed]
        for key in over[: max(0, len(over) - MOST_CLOSED)]:
            del self.lives[key]

    # Windows

    def end_window(self, pool: str, end_s: float) -> int:
        """A collection window of a pool ends; returns its number, from 1. One that ends before its predecessor ends with it."""
        ends = self.ends.setdefault(pool, [])
        if ends and end_s <= ends[-1]:
            self.odd["window_back"] += 1
        else:
            ends.append(end_s)
            del ends[: max(0, len(ends) - self._kept)]
        self.window_numbers[pool] += 1
        ended = sum(stratum.added for stratum in self.strata if stratum.pool == pool)
        self.rows_at_window.setdefault(pool, deque(maxlen=MOST_WINDOW_COUNTS)).append(ended)
        self.changes += 1
        return self.window_numbers[pool]

    def window_counts(self, pool: str) -> np.ndarray:
        """Actions that ended in each of the latest windows of a pool, float64[W - 1]."""
        return np.diff(np.array(self.rows_at_window.get(pool, ()), np.float64))

    @property
    def pools(self) -> list[str]:
        """Those that have ended a window."""
        return list(self.ends)

    def windows(self, pool: str) -> int:
        """Windows that the pool has ended."""
        return self.window_numbers[pool]

    def window_ends(self, pool: str) -> np.ndarray:
        """float64[W], ascending."""
        return np.array(self.ends.get(pool, ()), np.float64)

    def windows_between(self, pool: str, first_s: float, last_s: float) -> int:
        """Windows that ended in [first_s, last_s]."""
        ends = self.ends.get(pool, [])
        return bisect_left(ends, last_s) - bisect_left(ends, first_s)

    # Items

    def became(self, fates: Mapping[str, Mapping[int, Fate]]) -> None:
        """What became of items: by table, then by number of the stratum that stands in their rows."""
        for table, by_number in fates.items():
            for number, fate in by_number.items():
                if number < len(self.strata):  # rows that no life has told are of none
                    self.strata[number].became(table, fate)
                    self.changes += 1

    # What runs

    def running(self, stratum: int) -> list[OpenAction]:
        """Actions of a stratum that ran when their actors last reported."""
        return [action for life in self.lives.values() if life.stratum == stratum for action in life.running.values()]

    def lanes(self, stratum: int) -> int:
        """Lanes of a stratum whose lives go on."""
        return sum(len(life.lanes) for life in self.lives.values() if life.stratum == stratum and not life.closed)

    def is_first(self, stratum: int) -> np.ndarray:
        """Which of `running` are the first action of their episode, bool[N]."""
        lives = [life for life in self.lives.values() if life.stratum == stratum]
        return np.array(
            [life.lanes[lane].begins_with(action) for life in lives for lane, action in life.running.items()], np.bool_
        )


def _episode_start(lane: LaneTimes, run: LaneRun) -> tuple[float, bool]:
    """When the episode of a message's first row of a lane began, NaN if that was not seen, and whether the row is its first."""
    follows = run.sequence == lane.sequence + 1
    if lane.open and follows and run.episode == lane.episode:
        return lane.episode_start_s, False
    begins = follows or run.sequence == 0
    return (run.start_s, True) if begins else (float("nan"), False)
