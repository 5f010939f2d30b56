"""Actors without a process each: K lanes that choose, run and deliver actions on a simulated clock, over one real connection.

A lane chooses its next action when the last one ends. What ended is delivered when the driver says so: the steps of a lane since the last
delivery are one episode, which its time limit then cuts. All of it is acknowledged before the clock goes on.
"""

import heapq
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import count
from typing import NamedTuple

import numpy as np

from replay.client import ActorConnection, LaneCounts, RunningAction
from sojourn.bench.world import DEADLINE_S, SimulatedClock
from sojourn.errors import DeadlineError
from sojourn.experience import EndKind, Segment


class Attempt(NamedTuple):
    """An action that a lane chose: how long it takes, and what its step says (`World.labels`, in that order)."""

    duration_s: float
    labels: tuple[float, ...]
    reward: float = 0.0
    log_prob: float = 0.0
    policy_version: int = 0


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

    def __init__(self, connection: ActorConnection, clock: SimulatedClock, lanes: int, choose: Choose) -> None:
        self.connection = connection
        self.counts = [LaneCounts(lane, started=0) for lane in range(lanes)]
        self.running: dict[int, Run] = {}
        self._clock = clock
        self._choose = choose
        self._heap: list[Run] = []
        self._order = count()
        self._ended: dict[int, list[Run]] = {}
        self._cut: list[RunningAction] = []
        self._sequence = [0] * lanes
        self._episode = [0] * lanes

    @property
    def next_end_s(self) -> float:
        """When the next action ends, infinity if none runs."""
        while self._heap and self.running.get(self._heap[0].lane) is not self._heap[0]:
            heapq.heappop(self._heap)  # it was cut short
        return self._heap[0].ends_at_s if self._heap else float("inf")

    def start(self, lane: int, at_s: float) -> Run:
        """The lane, which rests, chooses an action and begins it."""
        attempt = self._choose(lane, at_s)
        counted = self.counts[lane] = self._more(lane, started=1)
        run = Run(at_s + attempt.duration_s, next(self._order), at_s, lane, counted.started, attempt)
        self.running[lane] = run
        heapq.heappush(self._heap, run)
        return run

    def start_all(self, at_s: float | None = None) -> None:
        """Every lane begins now, or at `at_s`."""
        for lane in range(len(self.counts)):
            self.start(lane, self._clock.now_s if at_s is None else at_s)

    def end_next(self) -> Run:
        """The action that ends next ends; its lane rests."""
        assert self.next_end_s < float("inf"), "nothing runs"
        run = heapq.heappop(self._heap)
        del self.running[run.lane]
        self.counts[run.lane] = self._more(run.lane, completed=1)
        self._ended.setdefault(run.lane, []).append(run)
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
        run = self.running.pop(lane)
        age_s = self._clock.now_s - run.started_at_s
        self.counts[lane] = self._more(lane, ended_without_row_s=age_s, **{kind.name.lower(): 1})
        self._cut.append(self._told(run, kind))

    def report(self) -> None:
        """Tell the service what runs, what was cut and how much was started. It goes out with the next heartbeat."""
        self.connection.report(self.counts, [self._told(run) for run in self.running.values()] + self._cut)
        self._cut = []

    def _told(self, run: Run, ended: EndKind | None = None) -> RunningAction:
        age_s = self._clock.now_s - run.started_at_s
        return RunningAction(
            run.lane, run.number, age_s, run.attempt.policy_version, episode_age_s=age_s, ended=ended, ticking=False
        )

    def _more(self, lane: int, **further: float) -> LaneCounts:
        """The lane's counts with these added."""
        counted = self.counts[lane]
        return replace(counted, **{name: getattr(counted, name) + value for name, value in further.items()})

    def deliver(self) -> int:
        """Send what ended and wait until all of it is acknowledged. Returns the steps. Raises DeadlineError if it is not in time."""
        ended, self._ended = self._ended, {}
        for lane, runs in ended.items():
            self.connection.insert(self._segment(lane, runs))
        if ended and not self.connection.drain(DEADLINE_S):
            raise DeadlineError(f"the replay service did not acknowledge within {DEADLINE_S:g} s")
        return sum(map(len, ended.values()))

    def _segment(self, lane: int, runs: Sequence[Run]) -> Segment:
        """The steps as one episode of the lane, cut behind the last of them."""
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
            duration_s=np.array([attempt.duration_s for attempt in attempts]),
            started_at_s=np.array([run.started_at_s for run in runs]),
            end_kind=np.full(steps, EndKind.COMPLETED, np.uint8),
            log_prob=np.array([attempt.log_prob for attempt in attempts], np.float32),
            policy_version=np.array([attempt.policy_version for attempt in attempts], np.int64),
            closed=True,
        )
