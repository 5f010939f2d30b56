"""Which policy version is the newest, and how long does one last? Learnt from rows, heartbeats and the learner's reports.

Pure: no I/O, the clock is handed in.
"""

from bisect import bisect_right
from collections import deque
from collections.abc import Sequence

REMEMBERED = 256  # changes: older rows, read back, are told by other rows what was the newest version when they came
OF_PERIOD = 64  # changes that the period is reckoned from


class Versions:
    """The newest version seen, and the recent changes.

    Invariant: `newest` never falls.
    """

    def __init__(self) -> None:
        self.newest = 0
        self._changes: deque[tuple[float, int]] = deque(maxlen=REMEMBERED)
        self._earlier: list[tuple[float, int]] = []

    def learn(self, version: int, now_s: float) -> None:
        """Somebody has, or had, this version."""
        if version > self.newest:
            self.newest = version
            self._changes.append((now_s, version))

    @property
    def changes(self) -> list[tuple[float, int]]:
        """When each of the latest versions was first heard of, oldest first."""
        return list(self._changes)

    def expect(self, changes: Sequence[tuple[float, int]]) -> None:
        """Rows of an earlier life are read back, in which these were the changes, on this life's clock."""
        self._earlier = sorted(changes)

    def newest_at(self, now_s: float) -> int:
        """`newest`, or what an earlier life had heard of by then: rows alone tell of a version when the first action with it ends."""
        heard = bisect_right(self._earlier, now_s, key=lambda change: change[0])
        return max(self.newest, self._earlier[heard - 1][1]) if heard else self.newest

    def restore(self, changes: Sequence[tuple[float, int]]) -> None:
        """Put the changes of an earlier life, on this life's clock, in the place of what rows, read back, have told."""
        self._changes = deque(changes, REMEMBERED)
        self.newest = max([self.newest, *(version for _, version in changes)])

    @property
    def period_s(self) -> float:
        """Mean time between two versions, 0 while that is not known."""
        if len(self._changes) < 2:
            return 0.0
        (first_s, first), (last_s, last) = self._changes[max(0, len(self._changes) - OF_PERIOD)], self._changes[-1]
        return max(0.0, last_s - first_s) / (last - first)
