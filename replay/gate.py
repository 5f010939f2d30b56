"""How many actions may start now, so that what they give is not too old when it is consumed? The admission gate of a table.

Pure: no I/O, no clock, and blind to how long an action will take, so it cannot prefer quick ones. A start is admitted while

    consumed + completed but not consumed + running < (eta + updates + 1) B

with B steps an update, `updates` learner steps and eta = `max_staleness` (docs/duration.md, section 4). Completed and consumed together
are the accepted rows less those that were dropped; leased items count as consumed.
"""

from dataclasses import dataclass, field

from replay.answers import Stream
from replay.client_records import Counts
from sojourn.experience import EndKind


@dataclass
class GatedLife:
    """One actor's life at the gate.

    allowance: starts, counted from the life's begin, that it has leave for; never taken back.  lanes: that it reported.
    on_the_way: actions that it had completed and whose rows had not come when it last reported.
    """

    allowance: int = 0
    counts: Counts = field(default_factory=Counts)
    lanes: int = 1
    on_the_way: int = 0

    @property
    def outstanding(self) -> int:
        """Rows that may still come of it."""
        return max(0, self.allowance - self.counts.started) + self.counts.open + self.on_the_way


class Gate:
    """Admission of one table.

    Invariant: what was admitted never exceeds (eta + updates + 1) B while counts are as reported; a grant is never taken back.
    """

    def __init__(self, most_lag: int, steps_per_update: float) -> None:
        self._most_lag = most_lag
        self._steps = steps_per_update
        self._lives: dict[Stream, GatedLife] = {}
        self._base_step: int | None = None
        self._base_consumed = 0.0
        self._step = 0

    def learner_began(self) -> None:
        """A learner's new life: updates and consumption count from its first report on, since it may resume at an earlier step."""
        self._base_step = None

    def learner_reported(self, learner_step: int, consumed: float) -> None:
        """consumed: steps ever, leased ones included."""
        if self._base_step is None:
            self._base_step, self._base_consumed = learner_step, consumed
            self._step = learner_step
        self._step = max(self._step, learner_step)

    def left(self, stream: Stream) -> None:
        """The actor is gone, for now or for good: nothing is waited for."""
        self._lives.pop(stream, None)

    @property
    def limit(self) -> float:
        """Steps that may be consumed, wait or run, counted from the learner's begin."""
        updates = self._step - self._base_step if self._base_step is not None else 0
        return (self._most_lag + updates + 1) * self._steps

    def admitted(self, accepted: float) -> float:
        """Steps that are consumed, wait, run, are on their way or may start. accepted: rows ever, less those that were dropped."""
        return accepted - self._base_consumed + sum(life.outstanding for life in self._lives.values())

    def grant(self, stream: Stream, counts: Counts, lanes: int, on_the_way: int, accepted: float) -> int:
        """Take a life's report and return how many actions more it may start: its part of what is free, by lanes."""
        life = self._lives.setdefault(stream, GatedLife())
        life.counts, life.lanes, life.on_the_way = counts, max(1, lanes), on_the_way
        life.allowance = max(life.allowance, counts.started)
        free = int(self.limit - self.admitted(accepted))
        all_lanes = sum(other.lanes for other in self._lives.values())
        part = -(-free * life.lanes // all_lanes)
        life.allowance += max(0, min(free, part))
        return life.allowance - counts.started


def row_giving(counts: Counts) -> int:
    """Actions that ended with a row."""
    return counts.ended[EndKind.COMPLETED] + counts.ended[EndKind.KILLED]
