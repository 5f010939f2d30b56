"""What was acknowledged, kept apart from everything that it checks, and the verdict on what the service holds afterwards.

No I/O. Thread-safe while it is written; judged when nothing writes any more.
"""

import threading
from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np

from sojourn.bench.load.steps import ACTOR_BITS

PLACE_MASK = (1 << ACTOR_BITS) - 1


@dataclass(frozen=True)
class Verdict:
    """Steps that were offered, acknowledged, refused with a reason, and found.

    lost: acknowledged and not there, though nothing of its lane that is as old has left the ring.
    doubled: copies beyond the first.  strange: rows that nobody offered, or whose parts do not belong together.
    """

    offered: int
    acknowledged: int
    refused: int
    held: int
    lost: int
    doubled: int
    strange: int

    @property
    def clean(self) -> bool:
        return self.lost == self.doubled == self.strange == 0


@dataclass
class _Actor:
    """offered: numbers 0 ... offered - 1 were given out.  acknowledged, refused: ranges of them."""

    offered: int = 0
    acknowledged: list[range] = field(default_factory=list)
    refused: list[range] = field(default_factory=list)


class Ledger:
    """Which step numbers were offered, acknowledged and refused."""

    def __init__(self, lanes: int, segment_steps: int) -> None:
        """Each actor gives its numbers to lanes in turn, `segment_steps` at a time."""
        self._lanes, self._segment_steps = lanes, segment_steps
        self._actors: dict[int, _Actor] = {}
        self._lock = threading.Lock()

    def offer(self, actor: int, steps: int) -> int:
        """The next numbers of an actor are in use. Returns the first of them, as it stands in the rows."""
        with self._lock:
            known = self._actors.setdefault(actor, _Actor())
            first = known.offered
            known.offered += steps
        return (actor << ACTOR_BITS) + first

    def acknowledge(self, actor: int, first: int, steps: int, *, refused: bool) -> None:
        """The service has answered for these steps. first: place in what the actor ever offered."""
        with self._lock:
            known = self._actors.setdefault(actor, _Actor())
        (known.refused if refused else known.acknowledged).append(range(first, first + steps))

    @property
    def acknowledged(self) -> int:
        """Steps so far."""
        return sum(len(part) for known in list(self._actors.values()) for part in list(known.acknowledged))

    def judge(self, found: Iterable[np.ndarray], *, whole: bool, strange: int = 0) -> Verdict:
        """Compare with the numbers that were found, int64[N] each.

        whole: nothing has left the ring; otherwise what is older than everything found of its lane may have left it.
        strange: rows that were found and are none of ours.
        """
        numbers = np.concatenate([np.empty(0, np.int64), *found])
        actors = numbers >> ACTOR_BITS
        held = lost = doubled = 0
        for actor, known in self._actors.items():
            places = numbers[actors == actor] & PLACE_MASK
            strange += int(np.count_nonzero(places >= known.offered))
            copies = np.bincount(places[places < known.offered], minlength=known.offered)
            held += int(np.count_nonzero(copies))
            doubled += int(copies.sum()) - int(np.count_nonzero(copies))
            missing = self._marked(known.acknowledged, known.offered) & (copies == 0)
            lost += int(np.count_nonzero(missing if whole else missing & self._not_outlived(copies > 0)))
        strange += int(np.count_nonzero(~np.isin(actors, list(self._actors))))
        return Verdict(
            offered=sum(known.offered for known in self._actors.values()),
            acknowledged=self.acknowledged,
            refused=sum(len(part) for known in self._actors.values() for part in known.refused),
            held=held,
            lost=lost,
            doubled=doubled,
            strange=strange,
        )

    def _not_outlived(self, there: np.ndarray) -> np.ndarray:
        """bool[N] of places that are younger than the oldest one of their lane that is there: a ring lets the oldest go first."""
        lane = (np.arange(len(there)) // self._segment_steps) % self._lanes
        younger = np.zeros(len(there), np.bool_)
        for number in range(self._lanes):
            of_lane = lane == number
            if (there & of_lane).any():
                oldest = int(np.argmax(there & of_lane))
                younger[oldest:] |= of_lane[oldest:]
        return younger

    @staticmethod
    def _marked(parts: list[range], size: int) -> np.ndarray:
        marked = np.zeros(size, np.bool_)
        for part in parts:
            marked[part.start : part.stop] = True
        return marked
