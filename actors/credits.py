"""How many actions may start now? Follows the admission gate of the replay service. No I/O, no clock, does not block."""

from collections.abc import Callable

from replay.client import Pace


class StartGate:
    """Allows starts while the service's last grant lasts.

    A grant says how many starts may follow those that the service had counted when it answered, so starts made between a
    heartbeat and its reply use it up as well.
    """

    def __init__(self, pace: Callable[[], Pace], started: Callable[[], int]) -> None:
        """pace: the service's latest answer.  started: actions begun in this life, over all lanes."""
        self._pace = pace
        self._started = started

    def allowed(self, wanted: int) -> int:
        """How many of `wanted` actions may start now."""
        pace = self._pace()
        if not pace.gated:
            return wanted
        return max(0, min(wanted, pace.counted_starts + pace.start_credits - self._started()))
