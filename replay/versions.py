"""Which policy version is the newest, and how long does one last? Learnt from rows, heartbeats and the learner's reports.

Pure: no I/O, the clock is handed in.
"""

from collections import deque
from collections.abc import Sequence

REMEMBERED = 64  # changes that the period is reckoned from


class Versions:
    """The newest version seen, and the recent changes.

    Invariant: `newest` never falls.
    """

    def __init__(self) -> None:
        self.newest = 0
        self._changes: deque[tuple[float, int]] = deque(maxlen=REMEMBERED)

    def learn(self, version: int, now_s: float) -> None:
        """Somebody has, or had, this version."""
        if version > self.newest:
            self.newest = version
            self._changes.append((now_s, version))

    @property
    def changes(self) -> list[tuple[float, int]]:
        """When each of the latest versions was first heard of, oldest first."""
        return list(self._changes)

    def restore(self, changes: Sequence[tuple[float, int]]) -> None:
        """Put the changes of an earlier life, on this life's clock, in the place of what rows, read back, have told."""
        self._changes = deque(changes, REMEMBERED)
        self.newest = max([self.newest, *(version for _, version in changes)])

    @property
    def period_s(self) -> float:
        """Mean time between two versions, 0 while that is not known."""
        if len(self._changes) < 2:
            return 0.0
        (first_s, first), (last_s, last) = self._changes[0], self._changes[-1]
        return max(0.0, last_s - first_s) / (last - first)
