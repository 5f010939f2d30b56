"""How are N environments of one process stepped: in turn, with one batched inference for all, on one thread.

Blocks in the environments' own code. An exception there ends the slot's action as failed and gives the slot a new environment;
a hang or a segfault ends the process, which `actors.watchdog` sees to. Each environment's own call is timed.
"""

import logging
import time
from collections.abc import Generator, Iterator
from typing import Any

from actors.lane import Lane
from actors.rollout import CREDIT_LOOK_S, RolloutParts, actions_of, row_of
from actors.steps import CheckedEnvironment, make_checked
from sojourn.errors import EnvironmentFault
from sojourn.experience import Columns, EndKind, Segment

LOG = logging.getLogger("sojourn.actors")


def lockstep(parts: RolloutParts) -> Generator[Segment, None, None]:
    """Step every slot once per turn, for ever; gives segments as they fill, end or age.

    Raises EnvironmentFault when environments failed too often in a row.
    """
    slots = [_Slot(parts, lane) for lane in parts.board.lanes]
    flush_age_s = parts.fleet.flush_age_s
    next_look_s = 0.0
    try:
        for slot in slots:
            slot.renew()
        while (chosen := _admitted(parts, slots)) and not parts.ending:
            yield from _turn(parts, chosen, whole=len(chosen) == len(slots))
            now_s = time.monotonic()
            if now_s >= next_look_s:
                parts.board.flush_aged(flush_age_s, now_s)
                next_look_s = now_s + flush_age_s / 4
                yield from parts.board.collect()
        yield from parts.board.collect()
        parts.faults.check()
    finally:
        for slot in slots:
            slot.close()


def _admitted(parts: RolloutParts, slots: list["_Slot"]) -> list["_Slot"]:
    """The slots that may step now, those with the fewest starts first; waits for credits, and gives none when told to stop."""
    started_s = time.monotonic()
    while not (count := parts.gate.allowed(len(slots))) and not parts.ending:
        parts.stop.wait(CREDIT_LOOK_S)
    if count == len(slots):
        return slots
    parts.measures.waited_for_credit(time.monotonic() - started_s)
    return sorted(slots, key=lambda slot: slot.lane.started)[:count]


def _turn(parts: RolloutParts, slots: list["_Slot"], *, whole: bool) -> Iterator[Segment]:
    """One batched inference and one step of each slot."""
    started_s, away_s = time.monotonic(), 0.0
    board = parts.board
    acted = parts.behaviour.act(board.observations.batch(None if whole else [slot.lane.slot for slot in slots]))
    actions = actions_of(slots[0].action_space, acted.action, len(slots))
    log_prob, policy_version = acted.log_prob.tolist(), parts.behaviour.policy_version
    for row, slot in enumerate(slots):
        if parts.stop.is_set():
            return
        slot.advance(actions[row], row_of(acted.action, row), log_prob[row], policy_version)
        if board.has_segments:
            left_s = time.monotonic()
            yield from board.collect()
            away_s += time.monotonic() - left_s
    parts.measures.turn(time.monotonic() - started_s - away_s)


class _Slot:
    """One environment of this process and its lane."""

    def __init__(self, parts: RolloutParts, lane: Lane) -> None:
        self.lane = lane
        self.action_space = parts.schema.action_space
        self._parts = parts
        self._board = parts.board
        self._environment: CheckedEnvironment | None = None

    def advance(self, action: Any, columns: Columns, log_prob: float, policy_version: int) -> None:
        """Step the environment and note what came of it. action: as the environment takes it.  columns: as it is stored."""
        assert self._environment is not None
        started_s = time.monotonic()
        with self._board.lock:
            if self._board.taken:
                return
            self.lane.start(columns, log_prob, policy_version, started_s)
            self._board.waiting_on = started_s
        try:
            outcome = self._environment.step(action, started_s)
        except EnvironmentFault as fault:
            self._fail(fault)
            return
        with self._board.lock:
            if self._board.taken:
                return
            self._board.waiting_on = None
            self.lane.complete(outcome, self._environment.finished_at_s)
        if outcome.terminated or outcome.truncated:
            self._parts.faults.went_well()
            self._begin(None)

    def _fail(self, fault: EnvironmentFault) -> None:
        with self._board.lock:
            if self._board.taken:
                return
            self._board.waiting_on = None
            self.lane.lose(EndKind.FAILED, time.monotonic())
        self._note(fault)
        self.renew()

    def _begin(self, seed: int | None) -> None:
        """Reset; an environment that fails at it is replaced."""
        try:
            self._reset(seed)
        except EnvironmentFault as fault:
            self._note(fault)
            self.renew()

    def _reset(self, seed: int | None) -> None:
        assert self._environment is not None
        self._board.waiting_on = time.monotonic()
        beginning = self._environment.reset(seed)
        with self._board.lock:
            self._board.waiting_on = None
            if not self._board.taken:
                self.lane.begin(beginning, time.monotonic())

    def renew(self) -> None:
        """Make the environment anew with a fresh seed, and again until that works or the faults are too many."""
        parts = self._parts
        if self._environment is not None:
            parts.measures.restarted()
            self.close()
        while not parts.ending:
            parts.faults.pause(parts.stop)
            self._board.waiting_on = time.monotonic()
            try:
                self._environment = make_checked(parts.environment, parts.schema, simulated_clock=parts.simulated_clock)
                self._reset(parts.next_seed(self.lane.slot))
            except EnvironmentFault as fault:
                self._note(fault)
            else:
                return

    def _note(self, fault: EnvironmentFault) -> None:
        self._board.waiting_on = None
        self._parts.faults.note(self.lane.slot, str(fault), self._parts.completed)

    def close(self) -> None:
        """Close the environment; one that fails at that is gone as well."""
        environment, self._environment = self._environment, None
        if environment is not None:
            self._board.waiting_on = time.monotonic()
            try:
                environment.close()
            except EnvironmentFault as fault:
                LOG.warning("slot %d: %s", self.lane.slot, fault)
            self._board.waiting_on = None
