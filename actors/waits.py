"""How long did a lane wait behind each action? For runs that reckon rewards by the second: resets, inference and leave to start.

Pure state: no I/O, no clock (times are handed in). Used by one lane, by one thread at a time.
"""

from collections.abc import Callable

from sojourn.experience import IDLE, Segment


class Waits:
    """Charges the time between two actions to the first, and holds that one's segment back until the second starts.

    What cannot be charged to a row any more (it was sent, or an action was lost) is charged to the next one.
    Invariant: from the first row on, durations and waits of a lane add up to the time until its latest start.
    """

    def __init__(self, emit: Callable[[Segment], None], *, simulated_clock: bool) -> None:
        """simulated_clock: time passes in resets only, and they say how long they took."""
        self._emit = emit
        self._simulated_clock = simulated_clock
        self._held: Segment | None = None
        self._since_s: float | None = None
        self._passed_s = 0.0

    def reset_took(self, duration_s: float) -> None:
        """A reset has ended. On the wall clock its time is in what `take` finds."""
        if self._simulated_clock:
            self._passed_s += duration_s

    def row_ended(self, ended_at_s: float) -> None:
        """An action ended with a row."""
        self._since_s = ended_at_s

    def take(self, now_s: float) -> float:
        """Seconds that passed since then, or since the last call; the caller charges them."""
        passed_s, self._passed_s = self._passed_s, 0.0
        if self._since_s is None:
            return 0.0
        waited_s = 0.0 if self._simulated_clock else max(0.0, now_s - self._since_s)
        self._since_s = now_s
        return passed_s + waited_s

    def hold(self, segment: Segment) -> None:
        """Keep a segment whose last row's wait goes on. A cut without rows has none."""
        self._let_go()
        if len(segment):
            self._held = segment
        else:
            self._emit(segment)

    def charge(self, waited_s: float) -> None:
        """Charge what is held and emit it; keep the time for the next row if nothing is."""
        if self._held is None:
            self._passed_s += waited_s
        else:
            self._held.extras[IDLE][-1] += waited_s
            self._let_go()

    def held_for_s(self, now_s: float) -> float:
        """How long something has been held back, 0 for nothing."""
        return 0.0 if self._held is None or self._since_s is None else now_s - self._since_s

    def _let_go(self) -> None:
        held, self._held = self._held, None
        if held is not None:
            self._emit(held)
