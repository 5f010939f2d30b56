"""How does each slot advance at its own pace: one process per slot, and one inference for whatever is ready.

Waits for the slots' sockets only, never for an environment. An action that lasts longer than `step_timeout_s` is killed and
delivered; an exception, a segfault or an exit ends that slot only, which gets a new process.
"""

import selectors
import time
from collections.abc import Generator

from actors.lane import Lane
from actors.outcomes import Beginning
from actors.remote_slot import Gone, RemoteSlot, SlotState
from actors.rollout import CREDIT_LOOK_S, RolloutParts, row_of
from actors.slot_wire import Fault, Finished
from sojourn.experience import Columns, EndKind, Segment

LOOK_S = 0.1  # how often deadlines and `stop` are looked at when no slot has anything to say


def asynchronous(parts: RolloutParts) -> Generator[Segment, None, None]:
    """Keep every slot acting, for ever; gives segments as they fill, end or age, and each completion that was slow.

    Raises EnvironmentFault when environments failed too often in a row.
    """
    slots = _Slots(parts)
    flush_age_s, next_look_s = parts.fleet.flush_age_s, 0.0
    try:
        while not parts.ending:
            started_s = time.monotonic()
            slots.start_processes(started_s)
            blocked = slots.start_actions()
            acted_s = time.monotonic() - started_s
            heard_s = slots.hear(CREDIT_LOOK_S if blocked else LOOK_S)
            now_s = time.monotonic()
            parts.measures.turn(acted_s + heard_s)
            if blocked:
                parts.measures.waited_for_credit(now_s - started_s - acted_s)
            slots.end_overdue(now_s)
            if now_s >= next_look_s:
                parts.board.flush_aged(flush_age_s, now_s)
                next_look_s = now_s + flush_age_s / 4
            yield from parts.board.collect()
        parts.faults.check()
    finally:
        slots.close()


class _Slots:
    """All slots of the rollout and the selector that watches them."""

    def __init__(self, parts: RolloutParts) -> None:
        self._parts = parts
        self._board = parts.board
        self._deadline_s = 0.0  # of the slot that has the first one, when last looked
        self._selector = selectors.DefaultSelector()
        self._slots = [
            RemoteSlot(lane.slot, parts.schema, parts.environment, simulated_clock=parts.simulated_clock)
            for lane in parts.board.lanes
        ]

    def start_processes(self, now_s: float) -> None:
        """Start a process for every slot that has none and whose time has come."""
        for slot in self._slots:
            if slot.state is SlotState.GONE and now_s >= slot.restart_at_s:
                try:
                    slot.start(self._parts.next_seed(slot.slot))
                except Gone as gone:
                    self._replace(slot, str(gone))
                else:
                    self._selector.register(slot.connection, selectors.EVENT_READ, slot)

    def start_actions(self) -> int:
        """Choose actions for all slots that are ready, in one inference. Gives how many must wait for start credits."""
        ready = [slot for slot in self._slots if slot.state is SlotState.READY]
        allowed = self._parts.gate.allowed(len(ready)) if ready else 0
        chosen = sorted(ready, key=lambda slot: slot.since_s)[:allowed]  # who has waited longest goes first
        if chosen:
            acted = self._parts.behaviour.act(self._board.observations.batch([slot.slot for slot in chosen]))
            log_prob = acted.log_prob.tolist()
            for row, slot in enumerate(chosen):
                self._start(slot, row_of(acted.action, row), log_prob[row])
        return len(ready) - len(chosen)

    def _start(self, slot: RemoteSlot, action: Columns, log_prob: float) -> None:
        started_s = time.monotonic()
        with self._board.lock:
            if self._board.taken:
                return
            self._board.lanes[slot.slot].start(action, log_prob, self._parts.behaviour.policy_version, started_s)
        try:
            slot.act(action, started_s)
        except Gone:
            return  # the end of its connection is heard next, like any other crash

    def hear(self, timeout_s: float) -> float:
        """Wait until a slot has something to say, or a deadline or `timeout_s` has come, and take all that is there.

        Gives the seconds that the taking took, without the wait.
        """
        now_s = time.monotonic()
        self._deadline_s = min(slot.deadline_s for slot in self._slots)
        events = self._selector.select(max(0.0, min(timeout_s, self._deadline_s - now_s)))
        started_s = time.monotonic()
        for key, _ in events:
            self._hear_one(key.data)
        return time.monotonic() - started_s

    def _hear_one(self, slot: RemoteSlot) -> None:
        try:
            answer = slot.receive()
        except Gone as gone:
            self._lose(slot, EndKind.CRASHED, str(gone))
        else:
            if isinstance(answer, Fault):
                self._lose(slot, EndKind.FAILED, answer.reason)
            else:
                self._note(slot, answer)

    def _note(self, slot: RemoteSlot, answer: Beginning | Finished) -> None:
        now_s = time.monotonic()
        with self._board.lock:
            if self._board.taken:
                return
            lane = self._board.lanes[slot.slot]
            if isinstance(answer, Beginning):
                lane.begin(answer, now_s)
            else:
                self._complete(lane, answer, now_s)

    def _complete(self, lane: Lane, finished: Finished, now_s: float) -> None:
        """Called with the lock held. A slow action is handed over at once: its row is old already."""
        lane.complete(finished.outcome, now_s)
        if finished.outcome.terminated or finished.outcome.truncated:
            self._parts.faults.went_well()
        if finished.finished_at_s - lane.started_at_s >= self._parts.fleet.flush_age_s:
            lane.flush()

    def end_overdue(self, now_s: float) -> None:
        """Kill the slots that have taken too long: an action is delivered as killed, a reset is a fault."""
        if now_s < self._deadline_s:
            return  # what has begun since ends later still
        for slot in self._slots:
            if now_s >= slot.deadline_s:
                self._kill(slot, now_s)

    def _kill(self, slot: RemoteSlot, now_s: float) -> None:
        if slot.state is SlotState.BEGINNING:
            self._replace(slot, f"no first observation within {slot.deadline_s - slot.since_s:g} s")
            return
        slot.begin_anew()  # the killed action has ended the episode
        self._forget(slot, restart_at_s=now_s)
        with self._board.lock:
            if not self._board.taken:
                self._board.lanes[slot.slot].kill(self._parts.environment.step_timeout_s, now_s)

    def _lose(self, slot: RemoteSlot, kind: EndKind, reason: str) -> None:
        """The slot's environment or process is gone. Whatever ran ends without a row and its episode is cut."""
        with self._board.lock:
            if self._board.taken:
                return
            lane = self._board.lanes[slot.slot]
            if lane.running:
                lane.lose(kind, time.monotonic())
            else:
                lane.cut()
        self._replace(slot, reason)

    def _replace(self, slot: RemoteSlot, reason: str) -> None:
        self._forget(slot, restart_at_s=float("inf"))
        self._parts.faults.note(slot.slot, reason, self._parts.completed)
        slot.restart_at_s = time.monotonic() + self._parts.faults.wait_s()

    def _forget(self, slot: RemoteSlot, *, restart_at_s: float) -> None:
        self._parts.measures.restarted()
        if slot.state is not SlotState.GONE:
            self._selector.unregister(slot.connection)
            slot.end(restart_at_s)

    def close(self) -> None:
        """End all processes at once."""
        for slot in self._slots:
            slot.end()
        self._selector.close()
