"""The starts of one class of actors: when each began, how long it lasted or was watched, and how it ended. Bounded memory.

Pure: no I/O, the clock is handed in. A start is kept when it has ended; those that run are the start log's (replay/start_log.py).
"""

from typing import NamedTuple

import numpy as np

MOST_STRATA = 256
KEPT_STARTS = 65_536
FIRST_ROOM = 1_024


class Starts(NamedTuple):
    """N starts that have ended, oldest end first.

    start_s float64[N], on the service's clock.  duration_s float64[N], or the age at an end without a row.
    kind uint8[N]: `EndKind`.  first bool[N]: the first action of its episode.
    """

    start_s: np.ndarray
    duration_s: np.ndarray
    kind: np.ndarray
    first: np.ndarray


class Fate(NamedTuple):
    """Items that came, those of them that were lost, and those of the lost that had never been drawn."""

    came: int = 0
    lost: int = 0
    undrawn: int = 0

    def plus(self, other: "Fate") -> "Fate":
        return Fate(*(mine + more for mine, more in zip(self, other, strict=True)))


def _room(size: int) -> Starts:
    return Starts(np.zeros(size), np.zeros(size), np.zeros(size, np.uint8), np.zeros(size, np.bool_))


class Stratum:
    """The latest `KEPT_STARTS` starts of a (pool, speed class), and what pools are weighted by.

    lane_seconds: time that lanes were watched, from their first start on.  completions: actions that gave a row in that time.
    span_s: from the first start until now, so that lane_seconds / span_s is the mean number of lanes.
    fates: what became of the items of each table, by its name.
    Invariant: the first three are of the same time; old time is forgotten by halves.
    """

    def __init__(self, pool: str, speed_class: str, kept: int = KEPT_STARTS) -> None:
        self.pool, self.speed_class = pool, speed_class
        self.lane_seconds = self.completions = 0.0
        self.fates: dict[str, Fate] = {}
        self._first_s, self._last_s = np.inf, -np.inf
        self._kept = kept
        self._ring = _room(min(FIRST_ROOM, kept))
        self._count = 0  # starts added in this life of the service, and restored
        self._before = 0  # those of earlier lives that were not restored

    def __len__(self) -> int:
        return min(self._count, len(self._ring.kind))

    @property
    def added(self) -> int:
        """Starts ever added, also those that are forgotten."""
        return self._before + self._count

    def between(self, first: int, stop: int) -> Starts:
        """Starts of these numbers, counted from the first ever added, as far as they are kept."""
        oldest = self.added - len(self)
        return Starts(*(column[max(0, first - oldest) : max(0, stop - oldest)] for column in self.starts()))

    def restore(self, starts: Starts | None, *, added: int, worked: tuple[float, float], watched_s: tuple[float, float]) -> None:
        """Put these in the place of all that is known. worked: lane seconds and completions.  watched_s: from when until when."""
        self._ring, self._count = _room(min(FIRST_ROOM, self._kept)), 0
        if starts is not None:
            self.add(starts)
        self._before = added - self._count
        (self.lane_seconds, self.completions), (self._first_s, self._last_s) = worked, watched_s

    @property
    def watched_s(self) -> tuple[float, float]:
        """From the first start until now."""
        return self._first_s, self._last_s

    def add(self, starts: Starts) -> None:
        """Keep these, and forget the oldest ones over the bound."""
        new = len(starts.kind)
        if new > self._kept:
            self._count += new - self._kept
            starts, new = Starts(*(column[-self._kept :] for column in starts)), self._kept
        self._grow(min(self._kept, len(self) + new))
        places = (self._count + np.arange(new)) % len(self._ring.kind)
        for kept, column in zip(self._ring, starts, strict=True):
            kept[places] = column
        self._count += new

    def _grow(self, needed: int) -> None:
        size = len(self._ring.kind)
        if needed <= size:
            return
        larger, held = _room(min(self._kept, max(needed, 2 * size))), self.starts()
        for kept, column in zip(larger, held, strict=True):
            kept[: len(column)] = column
        self._ring = larger

    def starts(self) -> Starts:
        """All that are kept, oldest first. Copies."""
        size = len(self._ring.kind)
        if self._count <= size:
            return Starts(*(column[: self._count].copy() for column in self._ring))
        order = (self._count + np.arange(size)) % size
        return Starts(*(column[order] for column in self._ring))

    def became(self, table: str, fate: Fate) -> None:
        """So much more came to a table and was lost there."""
        self.fates[table] = self.fates.get(table, Fate()).plus(fate)

    @property
    def span_s(self) -> float:
        return max(0.0, self._last_s - self._first_s) if self.completions else 0.0

    def worked(self, lane_seconds: float, completions: float, until_s: float) -> None:
        """Lanes went on until then, so long and with so many completions more."""
        self._first_s = min(self._first_s, until_s - lane_seconds)
        self._last_s = max(self._last_s, until_s)
        self.lane_seconds += lane_seconds
        self.completions += completions
        if self.completions > 2 * self._kept:
            self.lane_seconds /= 2
            self.completions /= 2
            self._first_s = (self._first_s + self._last_s) / 2
