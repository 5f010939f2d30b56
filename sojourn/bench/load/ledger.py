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

    lost: acknowledged and not there, though something older of its lane can still be drawn.
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

    def judge(self, found: Iterable[np.ndarray], *, living: Iterable[np.ndarray] | None = None, strange: int = 0) -> Verdict:
        """Compare with the numbers that were found, int64[N] each.

        living: those of which a table still has the item: what is older than all of these of its lane may have left the ring, which lets
        the oldest go first. (Rows that are found and have no item any more tell nothing: another lane holds on to their chunk.) None:
        nothing has left the ring.
        strange: rows that were found and are none of ours.
        """
        numbers = np.concatenate([np.empty(0, np.int64), *found])
        alive = None if living is None else np.concatenate([np.empty(0, np.int64), *living])
        actors = numbers >> ACTOR_BITS
        held = lost = doubled = 0
        for actor, known in self._actors.items():
            places = numbers[actors == actor] & PLACE_MASK
            strange += int(np.count_nonzero(places >= known.offered))
            copies = np.bincount(places[places < known.offered], minlength=known.offered)
            held += int(np.count_nonzero(copies))
            doubled += int(copies.sum()) - int(np.count_nonzero(copies))
            missing = self._marked(known.acknowledged, known.offered) & (copies == 0)
            if alive is not None:
                missing &= self._not_outlived(alive[alive >> ACTOR_BITS == actor] & PLACE_MASK, known.offered)
            lost += int(np.count_nonzero(missing))
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

    def _not_outlived(self, living: np.ndarray, size: int) -> np.ndarray:
        """bool[size] of places behind the oldest one of their lane that lives.  living: places, int64[N]."""
        younger = np.zeros(size, np.bool_)
        lane, lane_of_living = self._lane(np.arange(size)), self._lane(living)
        for number in np.unique(lane_of_living).tolist():
            oldest = int(living[lane_of_living == number].min())
            younger[oldest:] |= lane[oldest:] == number
        return younger

    def _lane(self, places: np.ndarray) -> np.ndarray:
        lanes: np.ndarray = (places // self._segment_steps) % self._lanes
        return lanes

    @staticmethod
    def _marked(parts: list[range], size: int) -> np.ndarray:
        marked = np.zeros(size, np.bool_)
        for part in parts:
            marked[part.start : part.stop] = True
        return marked
