"""Up to when is every start known? Tables with `order: start` hand out nothing that began later.

Pure: no I/O, the clock is handed in. A report lists what has run for 100 ms or more, so what began shortly before it, or since, may be
running unknown. Behind a gate, where order by start bounds the lag, such a time is waited out; elsewhere only listed actions hold others back.
"""

from collections.abc import Sequence

from replay.answers import Stream
from replay.client_records import Running
from replay.heartbeat import LISTED_FROM_S

ON_THE_WAY_S = 0.1  # of a report, at most: what it lists is as of then


class StartOrder:
    """The reports of all actors. A client counts with its newest life."""

    def __init__(self, *, strict: bool) -> None:
        """strict: whether starts that no report can list yet hold others back."""
        self._strict = strict
        self._known_s: dict[str, tuple[int, float]] = {}  # by client: its life, and up to when its starts are known

    def reported(self, stream: Stream, running: Sequence[Running], now_s: float, report_age_s: float) -> None:
        """A heartbeat came, which lists what ran so long ago. An age that is none tells nothing."""
        client_id, incarnation = stream
        if self._known_s.get(client_id, (0, 0.0))[0] > incarnation:
            return
        if self._strict and not 0.0 <= report_age_s < float("inf"):
            return
        until_s = now_s - report_age_s - LISTED_FROM_S - ON_THE_WAY_S if self._strict else float("inf")
        started_s = (now_s - action.age_s for action in running if action.ended is None)
        self._known_s[client_id] = incarnation, min([until_s, *started_s])

    def closed(self, stream: Stream) -> None:
        """A life is over: nothing of it is still to come."""
        client_id, incarnation = stream
        if self._known_s.get(client_id, (0, 0.0))[0] == incarnation:
            del self._known_s[client_id]

    @property
    def known_until_s(self) -> float:
        """Infinity where nothing is held back."""
        return min((until_s for _, until_s in self._known_s.values()), default=float("inf"))
