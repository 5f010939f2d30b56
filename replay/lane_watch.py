"""Where does each lane stand in time: its episode, its last end, the action that runs? What the start log knows beside the ends.

Pure: no I/O, the clock is handed in. A lane acts one action after another, which settles which listed action a row belongs to.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from replay.client_records import Running
from replay.rows import Rows

HALF = 0.5  # of a listed action's age: a row that ended later than its start by that much is its own, not its predecessor's


@dataclass(frozen=True)
class OpenAction:
    """An action that was running when its actor last reported, on the service's clock."""

    lane: int
    action_number: int
    start_s: float
    age_s: float
    episode_start_s: float

    @classmethod
    def of(cls, action: Running, now_s: float) -> "OpenAction":
        start_s = now_s - action.age_s
        return cls(action.lane, action.action_number, start_s, action.age_s, min(start_s, now_s - action.episode_age_s))

    @property
    def settled_s(self) -> float:
        """A row that ended after this is this action's, or a later one's."""
        return self.start_s + HALF * self.age_s


@dataclass
class LaneTimes:
    """One lane. episode: number of its last one, -1 none.  open: it was not closed.  episode_start_s: NaN where not known.

    watched_s: up to when its time was counted.  end_s, duration_s: of its last row.
    """

    watched_s: float
    episode: int = -1
    sequence: int = -1
    open: bool = False
    episode_start_s: float = float("nan")
    end_s: float = float("-inf")
    duration_s: float = 0.0

    def begins_with(self, action: OpenAction) -> bool:
        """Whether the action is the first of its episode: the lane's last row ended before the episode began."""
        return action.episode_start_s > self.end_s - HALF * self.duration_s


@dataclass
class LifeTimes:
    """One life of an actor.

    stratum: number of its stratum.  running: by lane.  heard_s: when it last reported.
    ended: latest ends without a row by (lane, action number), so that a repeated report counts once.
    """

    stratum: int
    heard_s: float
    lanes: dict[int, LaneTimes] = field(default_factory=dict)
    running: dict[int, OpenAction] = field(default_factory=dict)
    ended: dict[tuple[int, int], bool] = field(default_factory=dict)
    closed: bool = False

    def lane(self, number: int, start_s: float) -> LaneTimes:
        """The lane, watched from its first start on."""
        return self.lanes.setdefault(number, LaneTimes(start_s))

    def settle(self, number: int, end_s: float) -> None:
        """A row of the lane ended then: the action that was listed before is no longer running."""
        listed = self.running.get(number)
        if listed is not None and end_s > listed.settled_s:
            del self.running[number]

    def is_news(self, action: OpenAction) -> bool:
        """Whether it still runs: a heartbeat can be overtaken by the row of the action that it lists."""
        lane = self.lanes.get(action.lane)
        return lane is None or lane.end_s <= action.settled_s


class LaneRun(NamedTuple):
    """The rows of one lane in a message.

    episode, sequence, start_s, first_group: of the first row.  last_episode, last_sequence, open, last_group: of the last row; a group is an
    episode of the message.  steps: rows with an action.  duration_s, end_s: of the last of these; whatever if there is none.
    """

    lane: int
    episode: int
    sequence: int
    start_s: float
    first_group: int
    last_episode: int
    last_sequence: int
    open: bool
    last_group: int
    steps: int
    duration_s: float
    end_s: float


def lane_runs(rows: Rows, start_s: np.ndarray, steps: np.ndarray, group: np.ndarray) -> Iterator[LaneRun]:
    """The message lane by lane. start_s float64[N], steps bool[N]: rows with an action, group int64[N].

    Looks up all lanes together: one after the other costs 8 us each.
    """
    firsts = rows.lane_starts
    lasts = np.append(firsts[1:], len(rows)) - 1
    counted = np.add.reduceat(steps, firsts, dtype=np.int64)
    last_steps = np.maximum.reduceat(np.where(steps, np.arange(len(rows)), 0), firsts)
    duration_s = rows.duration_s[last_steps]
    columns = (
        *(column[firsts] for column in (rows.lane, rows.episode, rows.sequence, start_s, group)),
        *(column[lasts] for column in (rows.episode, rows.sequence, steps, group)),
        *(counted, duration_s, start_s[last_steps] + duration_s),
    )
    return map(LaneRun._make, zip(*(column.tolist() for column in columns), strict=True))
