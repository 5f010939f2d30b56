"""Does the rollout still go on, or must it be ended from outside? Watches it from another thread and keeps accounts flowing.

The rollout runs on a thread of its own, so that a signal, a heartbeat and a time limit are served while it is inside a call of
an environment. Python cannot end such a call: its thread is left behind, and only the end of the process ends it.
"""

import enum
import faulthandler
import threading
import time
from collections.abc import Callable
from typing import Protocol

from actors.board import LaneBoard

TICK_S = 0.1  # how often is looked
GRACE_S = 1.5  # from `stop` until running actions are aborted
NO_ACTION_ALLOWANCE_S = 60.0  # beyond the time limit: making or resetting an environment is no action
DEAF_ALLOWANCE_S = 5.0  # beyond the time limit: a call that holds the interpreter lock lets nobody look


class Ending(enum.Enum):
    """Why the watch is over."""

    ENDED = "the rollout returned or raised"
    STOPPED = "it was told to stop, and is still inside an environment"
    HUNG = "it has been inside an environment for longer than the time limit"


class Asked(Protocol):
    """What says that the end has come: an event, or whatever looks like one."""

    def is_set(self) -> bool: ...


class Watch:
    """Watches one rollout's thread until it ends, is told to stop, or hangs."""

    def __init__(self, board: LaneBoard, *, step_timeout_s: float, own_process: bool, report: Callable[[float], None]) -> None:
        """own_process: the environments run in this process (lockstep), so a hang is ours.  report: called every tick."""
        self._board = board
        self._step_timeout_s = step_timeout_s
        self._own_process = own_process
        self._report = report
        self._armed_s = 0.0

    def run(self, rollout: threading.Thread, stop: Asked, leaving: threading.Event) -> Ending:
        """Blocks. stop: asks for the end.  leaving: set here once the end has come, and tells the rollout."""
        try:
            stopped_s = None
            while rollout.is_alive():
                rollout.join(TICK_S)
                now_s = time.monotonic()
                self._report(now_s)
                if self._hangs(now_s):
                    return Ending.HUNG
                if stop.is_set():
                    leaving.set()
                    stopped_s = stopped_s or now_s
                    if now_s - stopped_s > GRACE_S:
                        return Ending.STOPPED
                self._arm(now_s)
            return Ending.ENDED
        finally:
            leaving.set()
            if self._armed_s:
                faulthandler.cancel_dump_traceback_later()

    def _hangs(self, now_s: float) -> bool:
        since_s = self._board.waiting_on
        if since_s is None:
            return False
        acting = any(lane.running for lane in self._board.lanes)
        return now_s - since_s >= self._step_timeout_s + (0.0 if acting else NO_ACTION_ALLOWANCE_S)

    def _arm(self, now_s: float) -> None:
        """If nobody can look for too long (a call holds the interpreter lock), end the process from a thread that needs no lock."""
        if self._own_process and now_s - self._armed_s > 1.0:
            faulthandler.dump_traceback_later(self._step_timeout_s + DEAF_ALLOWANCE_S, exit=True)
            self._armed_s = now_s
