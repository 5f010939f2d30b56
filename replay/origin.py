"""Whose rows are these, and when did they come? Of a message: one life, one moment. Of a pack: several of each, row by row. Pure."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from replay.answers import Stream
from replay.rows import Rows


@dataclass(frozen=True)
class Origin:
    """Of N rows.

    life: int64[N], index into `lives`; None where there is one.  now_s: when they came, on the service's clock, and held_s: how long
    they had been on their way by then; of all, or float64[N] each.
    Invariant: rows of a lane follow one another in order, and of a message all of a lane stand together.
    """

    lives: tuple[Stream, ...]
    now_s: float | np.ndarray
    held_s: float | np.ndarray = 0.0
    life: np.ndarray | None = None

    def came_s(self, part: slice) -> float | np.ndarray:
        """When the rows of this part came."""
        return self.now_s[part] if isinstance(self.now_s, np.ndarray) else self.now_s

    @property
    def first_s(self) -> float:
        return float(np.min(self.now_s))

    def lane_firsts(self, rows: Rows) -> np.ndarray:
        """Index of the first row of each lane, int64."""
        if self.life is None:
            return rows.lane_starts
        firsts: np.ndarray = np.unique((self.life << 32) + rows.lane.astype(np.int64), return_index=True)[1]
        return firsts

    def by_life(
        self, act: Callable[[Stream, np.ndarray], np.ndarray], lane: np.ndarray, at: np.ndarray | None = None
    ) -> np.ndarray:
        """`act` on each life's lanes, put together again as int64. lane: uint32 of the rows at int64 `at`, or of all."""
        if self.life is None:
            return act(self.lives[0], lane)
        life = self.life if at is None else self.life[at]
        found = np.empty(len(lane), np.int64)
        for number, stream in enumerate(self.lives):
            mine = life == number
            found[mine] = act(stream, lane[mine])
        return found

    def versions(self, policy_version: np.ndarray) -> Iterator[tuple[int, float]]:
        """Each version that is newer than all before it in these rows, and when it came. policy_version: int64[N]."""
        if not isinstance(self.now_s, np.ndarray):
            yield int(policy_version.max()), self.now_s
            return
        highest = np.maximum.accumulate(policy_version)
        for at in np.flatnonzero(np.diff(highest, prepend=highest[0] - 1)):
            yield int(highest[at]), float(self.now_s[at])
