"""Which lanes does this actor have, and who may touch them: the rollout, or the watch that ends it?

No I/O; the clock is handed in. The rollout changes lanes while it holds `lock`; the watch reads them under it and may take
them over for good, after which the rollout must not touch them again.
"""

import threading
from collections import deque
from collections.abc import Sequence

import numpy as np

from actors.lane import Lane
from actors.stacking import Observations
from replay.client import LaneCounts, RunningAction
from sojourn.columns import Schema
from sojourn.config.schema import EnvironmentSettings
from sojourn.experience import EndKind, Segment

RECENT_EPISODES = 100


class LaneBoard:
    """The lanes of one actor and the observations that the policy sees.

    Invariant: once `taken` is True only the thread that took over changes lanes. Segments leave through `collect` in the order
    in which lanes gave them, so none is in the hands of a rollout that does not come back.
    waiting_on: when the rollout last called an environment of its own process and has not come back, else None.
    """

    def __init__(
        self,
        schema: Schema,
        settings: EnvironmentSettings,
        *,
        slots: int,
        segment_steps: int,
        simulated_clock: bool = False,
    ) -> None:
        self.lock = threading.Lock()
        self.taken = False
        self.waiting_on: float | None = None
        self.observations = Observations(schema, slots)
        self.episodes = 0
        self._ready: list[Segment] = []
        self._recent: deque[tuple[float, int]] = deque(maxlen=RECENT_EPISODES)
        self.lanes = tuple(
            Lane(
                slot,
                schema,
                settings,
                self.observations,
                segment_steps=segment_steps,
                emit=self._emit,
                finished=self._finished,
                simulated_clock=simulated_clock,
            )
            for slot in range(slots)
        )

    def _emit(self, segment: Segment) -> None:
        self._ready.append(segment)

    def _finished(self, episode_return: float, length: int) -> None:
        self.episodes += 1
        self._recent.append((episode_return, length))

    @property
    def started(self) -> int:
        """Actions begun, over all lanes."""
        return sum(lane.started for lane in self.lanes)

    def recent_means(self) -> tuple[float, float] | None:
        """Mean return and mean length of the latest episodes (at most 100), or None before the first."""
        if not self._recent:
            return None
        mean_return, mean_length = np.array(self._recent, np.float64).mean(axis=0)
        return float(mean_return), float(mean_length)

    def report(self, now_s: float) -> tuple[list[LaneCounts], list[RunningAction]]:
        """What the next heartbeat says: counts of all lanes, actions running over 100 ms, and listed ones that ended without a row."""
        with self.lock:
            listed = [action for lane in self.lanes if (action := lane.listed(now_s)) is not None]
            ended = [action for lane in self.lanes for action in lane.ended_unreported()]
            return [lane.counts() for lane in self.lanes], listed + ended

    @property
    def has_segments(self) -> bool:
        return bool(self._ready)

    def collect(self) -> list[Segment]:
        """Segments that are ready to be sent; the caller hands them over before it calls an environment again."""
        with self.lock:
            if self.taken:
                return []
            ready, self._ready = self._ready, []
            return ready

    def flush_aged(self, age_s: float, now_s: float) -> None:
        """Make rows ready that have waited for `age_s` or longer."""
        with self.lock:
            if not self.taken:
                for lane in self.lanes:
                    lane.flush_aged(age_s, now_s)

    def overdue(self, limit_s: float, now_s: float) -> list[int]:
        """Slots whose action has run for `limit_s` or longer."""
        with self.lock:
            return [lane.slot for lane in self.lanes if lane.running and now_s - lane.started_at_s >= limit_s]

    def take_over(self, now_s: float, *, limit_s: float, overdue: Sequence[int] = ()) -> list[Segment]:
        """End every lane for good: overdue actions as killed at `limit_s`, other running ones as aborted; episodes are cut.

        Gives all segments that were not collected. A second call gives none.
        """
        with self.lock:
            if self.taken:
                return []
            self.taken = True
            for lane in self.lanes:
                _end(lane, now_s, limit_s, overdue=lane.slot in overdue)
            return self._ready


def _end(lane: Lane, now_s: float, limit_s: float, *, overdue: bool) -> None:
    if not lane.running:
        lane.cut()
    elif overdue:
        lane.kill(limit_s, now_s)
    else:
        lane.lose(EndKind.ABORTED, now_s)
    lane.close(now_s)
