"""Heartbeats of an actor: what it counts and runs goes out once a second, start credits and pace come back.

One stream in a thread of its own. Ages are stamped anew at every send, so a report may be older than the heartbeat it is in. Ages run
on the clock that is handed in, which may be a simulated one; waits are on the monotonic clock.
"""

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from protos import replay_pb2 as pb
from replay.link import Session, our_errors
from sojourn.experience import EndKind

EVERY_S = 1.0
AT_ONCE_GAP_S = 0.1  # heartbeats that say news keep this distance
LISTED_FROM_S = 0.1  # shorter actions are counted, not listed


@dataclass(frozen=True)
class LaneCounts:
    """What a lane (slot) has counted in this incarnation, cumulative.

    started: actions begun.  completed, killed, failed, aborted, crashed: ends by kind.
    ended_without_row_s: summed duration of failed, aborted and crashed actions.
    """

    lane: int
    started: int
    completed: int = 0
    killed: int = 0
    failed: int = 0
    aborted: int = 0
    crashed: int = 0
    ended_without_row_s: float = 0.0

    @property
    def ended(self) -> int:
        return self.completed + self.killed + self.failed + self.aborted + self.crashed


@dataclass(frozen=True)
class RunningAction:
    """An action that runs, or that ended without a row since the report before.

    action_number: counts the lane's starts.  age_s, episode_age_s: at the report, on the duration clock.
    ended: how it ended without a row, None while it runs.
    ticking: whether the ages go on by themselves between report and send (the wall clock; a simulated one stands still).
    """

    lane: int
    action_number: int
    age_s: float
    policy_version: int
    task: str = ""
    episode_age_s: float = 0.0
    ended: EndKind | None = None
    ticking: bool = True


@dataclass(frozen=True)
class Pace:
    """What the service last said to an actor.

    start_credits: further actions that may start now, over all lanes; meaningful if gated.  insert_pause_s: wait so long
    before the next insert.  retired: finish the stream, then go to another shard.
    counted_starts: starts that the service had counted when it said so; starts made since then use the credits up.
    """

    start_credits: int = 0
    gated: bool = False
    insert_pause_s: float = 0.0
    env_steps: int = 0
    learner_step: int = 0
    retired: bool = False
    counted_starts: int = 0


@dataclass(frozen=True)
class _Report:
    lanes: tuple[LaneCounts, ...] = ()
    running: tuple[RunningAction, ...] = ()
    counted_at_message: int = 0
    at_s: float = 0.0
    number: int = 0

    def news(self, gated: bool) -> object:
        """Changes with everything that the service should hear at once: what is listed, and, behind a gate, each start and end."""
        listed = frozenset(
            (action.lane, action.action_number, action.ended) for action in self.running if _is_listed(action, 0.0)
        )
        counts = (self.started, sum(lane.ended for lane in self.lanes)) if gated else (0, 0)
        return listed, counts

    @property
    def started(self) -> int:
        return sum(lane.started for lane in self.lanes)


class _Said(NamedTuple):
    """What a heartbeat said: the keys of ends without a row, how many starts, and the number of the report."""

    ends: list[tuple[int, int]]
    started: int
    report: int


class Heartbeats:
    """The latest report and the latest answer. Thread-safe."""

    def __init__(
        self,
        client_id: str,
        now_s: Callable[[], float] = time.monotonic,
        at_once_gap_s: float = AT_ONCE_GAP_S,
        *,
        gated: bool = False,
    ) -> None:
        """gated: whether nothing may start before a reply has granted it."""
        self._client_id = client_id
        self._now_s = now_s
        self._gap_s = at_once_gap_s
        self._born_s = time.monotonic()
        self._changed = threading.Condition()
        self._report = _Report()
        self._told: object = None
        self._unheard: dict[tuple[int, int], tuple[RunningAction, float]] = {}  # ends without a row, and when they were told
        self._saying: deque[_Said] = deque()  # the heartbeats that wait for their replies
        self._sent = self._answered = self._wanted = 0  # numbers of reports: last sent, last replied to, to be sent at once
        self._pace = Pace(gated=gated)
        self._paused_until_s = 0.0
        self._closing = False
        self.replies = 0

    def report(self, lanes: Sequence[LaneCounts], running: Sequence[RunningAction], counted_at_message: int) -> None:
        """Set what the next heartbeat says; it goes out at once if something new must be listed."""
        report = _Report(tuple(lanes), tuple(running), counted_at_message, self._now_s())
        with self._changed:
            self._report = report = replace(report, number=self._report.number + 1)
            self._unheard.update({_key(action): (action, report.at_s) for action in running if action.ended is not None})
            if report.news(self._pace.gated) != self._told:
                self._changed.notify_all()

    def heard(self, timeout_s: float) -> bool:
        """Send the latest report at once and wait until the service has replied to it. False when it has not in time."""
        with self._changed:
            self._wanted = wanted = self._report.number
            self._changed.notify_all()
            return self._changed.wait_for(lambda: self._answered >= wanted, timeout_s)

    def pace(self) -> Pace:
        with self._changed:
            return self._pace

    def pause_left_s(self) -> float:
        """How long inserts should still wait."""
        return max(0.0, self._paused_until_s - time.monotonic())

    def close(self) -> None:
        """Say the last report and end the stream."""
        with self._changed:
            self._closing = True
            self._changed.notify_all()

    def serve(self, session: Session) -> bool:
        """Speak on one session until it breaks (raises) or all is said (True)."""
        ended = threading.Event()
        with self._changed:
            self._saying.clear()
        try:
            requests = self._requests(session, ended)
            with our_errors():
                replies = session.stub.Heartbeat(requests, metadata=session.metadata)
            for reply in replies:
                self._heard(reply)
        finally:
            ended.set()
            with self._changed:
                self._changed.notify_all()
        return self._closing

    def _heard(self, reply: pb.HeartbeatReply) -> None:
        with self._changed:
            said = self._saying.popleft() if self._saying else _Said([], 0, 0)
            self._answered = max(self._answered, said.report)
            self._pace = Pace(
                start_credits=reply.start_credits,
                gated=reply.gated,
                insert_pause_s=reply.insert_pause_s,
                env_steps=reply.env_steps,
                learner_step=reply.learner_step,
                retired=reply.retired,
                counted_starts=said.started,
            )
            self._paused_until_s = time.monotonic() + reply.insert_pause_s
            self.replies += 1
            for key in said.ends:
                self._unheard.pop(key, None)
            self._changed.notify_all()

    def _requests(self, session: Session, ended: threading.Event) -> Iterator[pb.HeartbeatRequest]:
        while True:
            with self._changed:
                if ended.is_set():
                    return
                report, closing, ends = self._report, self._closing, dict(self._unheard)
                self._told = report.news(self._pace.gated)
                self._saying.append(_Said(list(ends), report.started, report.number))
                self._sent = report.number
            yield self._request(session.incarnation, report, list(ends.values()))
            if closing:
                return
            self._wait(ended, time.monotonic())

    def _wait(self, ended: threading.Event, sent_s: float) -> None:
        """Until the next heartbeat is due: after a second, or sooner if there is news."""
        with self._changed:
            while not (ended.is_set() or self._closing):
                news = self._report.news(self._pace.gated) != self._told
                left_s = sent_s + (self._gap_s if news or self._starved else max(EVERY_S, self._gap_s)) - time.monotonic()
                if self._wanted > self._sent or left_s <= 0.0:
                    return
                self._changed.wait(left_s)

    @property
    def _starved(self) -> bool:
        """Whether a gate holds starts back: then the next heartbeat asks again soon."""
        pace = self._pace
        return pace.gated and pace.counted_starts + pace.start_credits <= self._report.started

    def _request(self, incarnation: int, report: _Report, ends: list[tuple[RunningAction, float]]) -> pb.HeartbeatRequest:
        """ends: those without a row that no reply has followed yet, and when each was told."""
        now_s = self._now_s()
        held_s = max(0.0, now_s - report.at_s)
        running = [action for action in report.running if action.ended is None and _is_listed(action, held_s)]
        return pb.HeartbeatRequest(
            client_id=self._client_id,
            incarnation=incarnation,
            lanes=[_lane_message(lane) for lane in report.lanes],
            running=[_running_message(action, held_s) for action in running]
            + [_running_message(action, max(0.0, now_s - told_s)) for action, told_s in ends],
            uptime_s=time.monotonic() - self._born_s,
            counted_at_message=report.counted_at_message,
            report_age_s=held_s,
        )


def _key(action: RunningAction) -> tuple[int, int]:
    return action.lane, action.action_number


def _is_listed(action: RunningAction, held_s: float) -> bool:
    return action.ended is not None or action.age_s + held_s * action.ticking >= LISTED_FROM_S


def _lane_message(lane: LaneCounts) -> pb.LaneCounters:
    return pb.LaneCounters(
        lane=lane.lane,
        started=lane.started,
        completed=lane.completed,
        killed=lane.killed,
        failed=lane.failed,
        aborted=lane.aborted,
        crashed=lane.crashed,
        ended_without_row_s=lane.ended_without_row_s,
    )


def _running_message(action: RunningAction, held_s: float) -> pb.RunningAction:
    passed_s = held_s if action.ticking and action.ended is None else 0.0
    return pb.RunningAction(
        lane=action.lane,
        action_number=action.action_number,
        age_s=action.age_s + passed_s,
        policy_version=action.policy_version,
        task=action.task,
        episode_age_s=action.episode_age_s + passed_s,
        ended=pb.EndKind.Name(action.ended or 0),
        has_ended=action.ended is not None,
        ended_ago_s=held_s if action.ended is not None else 0.0,
    )
