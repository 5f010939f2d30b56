"""Where does each lane stand in time: its episode, its last end, the action that runs? What the start log knows beside the ends.

Pure: no I/O, the clock is handed in. A lane acts one action after another, which settles which listed action a row belongs to.
"""

from dataclasses import dataclass, field

from replay.client_records import Running

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
