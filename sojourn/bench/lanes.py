"""Actors without a process each: K lanes that choose, run and deliver actions on a simulated clock, over one real connection.

A lane chooses its next action when the last one ends. What ended is delivered when the driver says so; a delivery ends the lane's episode, as
a time limit would. All of it is acknowledged before the clock goes on.
"""

import heapq
from collections.abc import Callable, Iterator, Sequence
from itertools import count
from typing import Any, NamedTuple

import numpy as np

from replay.client import LaneCounts, Pace, RunningAction
from sojourn.bench.world import DEADLINE_S, World
from sojourn.errors import DeadlineError
from sojourn.experience import EndKind, Segment


class Attempt(NamedTuple):
    """An action that a lane chose: how long it takes, and what its step says (`World.labels`, in that order).

    ends: completed, or what ends it then without a row.  last: its episode ends with it.
    """

    duration_s: float
    labels: tuple[float, ...]
    reward: float = 0.0
    log_prob: float = 0.0
    policy_version: int = 0
    priority: float = 1.0
    ends: EndKind = EndKind.COMPLETED
    last: bool = False


class Run(NamedTuple):
    """An attempt that runs or has ended. Ordered by its end, then by its start. number: counts the lane's starts."""

    ends_at_s: float
    order: int
    started_at_s: float
    lane: int
    number: int
    attempt: Attempt


Choose = Callable[[int, float], Attempt]
"""(lane, now_s) -> what it does next."""


class Lanes:
    """The lanes of one connection. Invariant: each lane runs at most one action."""

    def __init__(
        self,
        world: World,
        lanes: int,
        choose: Choose,
        *,
        name: str = "actor",
        shard: int = 0,
        host_s: Callable[[float], float] = lambda now_s: now_s,
        **who: str,
    ) -> None:
        """who: pool and speed_class.  host_s: what the clock of the lanes' host shows at a time of the world's clock."""
        self._counts: list[dict[str, Any]] = [{"started": 0} for _ in range(lanes)]  # fields of `LaneCounts`
        self.running: dict[int, Run] = {}
        self.shard = shard
        self._clock, self._host_s = world.clock, host_s
        self._connection = world.actor(name, shard=shard, now_s=lambda: host_s(world.clock.now_s), **who)
        self._choose = choose
        self._heap: list[Run] = []
        self._order = count()
        self._ended: dict[int, list[Run]] = {}
        self._cut: list[RunningAction] = []
        self._sequence = [0] * lanes
        self._episode = [0] * lanes
        self._episode_began_s = [-1.0] * lanes  # negative: the next action begins one

    @property
    def next_end_s(self) -> float:
        """When the next action ends, infinity if none runs."""
        while self._heap and self.running.get(self._heap[0].lane) is not self._heap[0]:
            heapq.heappop(self._heap)  # it was cut short
        return self._heap[0].ends_at_s if self._heap else float("inf")

    @property
    def oldest_s(self) -> float:
        """When the action began that has run longest, infinity if none runs."""
        return min((run.started_at_s for run in self.running.values()), default=float("inf"))

    def start(self, lane: int, at_s: float) -> Run:
        """The lane, which rests, chooses an action and begins it."""
        return self.begin(lane, self._choose(lane, at_s), at_s)

    def begin(self, lane: int, attempt: Attempt, at_s: float) -> Run:
        """The lane, which rests, begins this action, possibly in the past."""
        number = self._count(lane, "started")
        run = Run(at_s + attempt.duration_s, next(self._order), at_s, lane, number, attempt)
        self.running[lane] = run
        if self._episode_began_s[lane] < 0.0:
            self._episode_began_s[lane] = at_s
        heapq.heappush(self._heap, run)
        return run

    def start_all(self, at_s: float | None = None) -> None:
        """Every lane begins now, or at `at_s`."""
        for lane in range(len(self._counts)):
            self.start(lane, self._clock.now_s if at_s is None else at_s)

    def end_next(self) -> Run:
        """The action that ends next ends, with or without a row; its lane rests."""
        assert self.next_end_s < float("inf"), "nothing runs"
        run = heapq.heappop(self._heap)
        if run.attempt.ends is not EndKind.COMPLETED:
            self._lose(run, run.attempt.ends, run.ends_at_s)
            return run
        del self.running[run.lane]
        self._count(run.lane, "completed")
        self._ended.setdefault(run.lane, []).append(run)
        if run.attempt.last:
            self._episode_began_s[run.lane] = -1.0
        return run

    def go_on_until(self, until_s: float) -> list[Run]:
        """Everything that ends by then ends, and each lane goes on at once. Returns what ended, in order; nothing is delivered."""
        ended = []
        while self.next_end_s <= until_s:
            run = self.end_next()
            ended.append(run)
            self.start(run.lane, run.ends_at_s)
        self._clock.now_s = max(self._clock.now_s, until_s)
        return ended

    def cut(self, lane: int, kind: EndKind) -> None:
        """What the lane runs ends now without a row, aborted or crashed. Its lane rests."""
        self._lose(self.running[lane], kind, self._clock.now_s)

    def cut_all(self) -> None:
        """All that runs is aborted now."""
        for lane in list(self.running):
            self.cut(lane, EndKind.ABORTED)

    def first_of_all(self, count: int) -> None:
        """A round: all lanes begin now, so many results are delivered, and what still runs then is aborted."""
        self.start_all()
        for _ in range(count):
            self._clock.now_s = self.end_next().ends_at_s
        self.cut_all()
        self.deliver()

    def _lose(self, run: Run, kind: EndKind, now_s: float) -> None:
        del self.running[run.lane]
        self._count(run.lane, kind.name.lower())
        self._count(run.lane, "ended_without_row_s", self._host_s(now_s) - self._host_s(run.started_at_s))
        self._cut.append(self._told(run, now_s, kind))
        self._episode_began_s[run.lane] = -1.0

    def report(self) -> None:
        """Tell the service what runs, what was cut and how much was started. It goes out with the next heartbeat."""
        now_s = self._clock.now_s
        counts = [LaneCounts(lane, **counted) for lane, counted in enumerate(self._counts)]
        self._connection.report(counts, [self._told(run, now_s) for run in self.running.values()] + self._cut)
        self._cut = []

    def settle(self) -> None:
        """Report, and wait until the service has heard it. Raises DeadlineError if it has not in time."""
        self.report()
        if not self._connection.heard(DEADLINE_S):
            raise DeadlineError(f"the replay service did not reply to a report within {DEADLINE_S:g} s")

    @property
    def pace(self) -> Pace:
        """What the service last said of starts."""
        return self._connection.pace()

    def end_window(self, pool: str = "") -> None:
        """The collection window of a pool ends now."""
        self._connection.end_window(pool)

    def _told(self, run: Run, now_s: float, ended: EndKind | None = None) -> RunningAction:
        now_s = self._host_s(now_s)
        return RunningAction(
            lane=run.lane,
            action_number=run.number,
            age_s=now_s - self._host_s(run.started_at_s),
            policy_version=run.attempt.policy_version,
            episode_age_s=now_s - self._host_s(self._episode_began_s[run.lane]),
            ended=ended,
        )

    def _count(self, lane: int, name: str, more: float = 1) -> int:
        """Add to one of a lane's counts. Returns it, as a whole number."""
        counted = self._counts[lane]
        counted[name] = counted.get(name, 0) + more
        return int(counted[name])

    def deliver(self) -> int:
        """Send what ended and wait until all of it is acknowledged. Returns the steps. Raises DeadlineError if it is not in time."""
        ended, self._ended = self._ended, {}
        for lane, runs in ended.items():
            for episode in _episodes(runs):
                self._connection.insert(self._segment(lane, episode))
            self._episode_began_s[lane] = self.running[lane].started_at_s if lane in self.running else -1.0
        if ended and not self._connection.drain(DEADLINE_S):
            raise DeadlineError(f"the replay service did not acknowledge within {DEADLINE_S:g} s")
        return sum(map(len, ended.values()))

    def _segment(self, lane: int, runs: Sequence[Run]) -> Segment:
        """The steps as one episode of the lane, which ends with them."""
        steps = len(runs)
        attempts = [run.attempt for run in runs]
        labels = np.array([attempt.labels for attempt in attempts], np.float64)
        truncated = np.zeros(steps, np.bool_)
        truncated[-1] = True
        first, episode = self._sequence[lane], self._episode[lane]
        self._sequence[lane] += steps + 1
        self._episode[lane] += 1
        return Segment(
            lane=lane,
            first_sequence=first,
            episode=episode,
            observation={"observation": np.concatenate([labels, labels[-1:]])},
            action={"action": np.zeros((steps, 1), np.float32)},
            reward=np.array([attempt.reward for attempt in attempts], np.float32),
            terminated=np.zeros(steps, np.bool_),
            truncated=truncated,
            duration_s=np.array([self._host_s(run.ends_at_s) - self._host_s(run.started_at_s) for run in runs]),
            started_at_s=np.array([self._host_s(run.started_at_s) for run in runs]),
            end_kind=np.full(steps, EndKind.COMPLETED, np.uint8),
            log_prob=np.array([attempt.log_prob for attempt in attempts], np.float32),
            policy_version=np.array([attempt.policy_version for attempt in attempts], np.int64),
            closed=True,
            priority=np.array([attempt.priority for attempt in attempts], np.float32),
        )


def _episodes(runs: Sequence[Run]) -> Iterator[list[Run]]:
    """The steps of a lane by episode."""
    episode: list[Run] = []
    for run in runs:
        episode.append(run)
        if run.attempt.last:
            yield episode
            episode = []
    if episode:
        yield episode
