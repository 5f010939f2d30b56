"""Which items are too old for their table? Horizons in seconds and in policy versions, and what late items weigh.

No I/O, no clock; nothing is drawn here. An item's age counts from its first action's start, so slow actions have less of their
horizon left when they arrive: the weight by inclusion is one over the share that is left (docs/duration.md).
"""

from collections.abc import Mapping

import numpy as np

from replay.item_set import ItemSet
from replay.kernels import kernel
from replay.layout import VERSION_WORD
from replay.removers import OldestStartRemover, Remover
from replay.rules import rule_of
from replay.versions import Versions
from sojourn.config.schema import TableSettings


class Horizon:
    """The horizons of one table.

    rule: how the table loses actions.  expired_items: left at the horizon.  late_items: were past it, or too many versions behind, when they came.
    Invariant: every live item knows how many versions it was behind when it came.
    """

    def __init__(self, settings: TableSettings, items: ItemSet, versions: Versions) -> None:
        self._settings, self._items, self._versions = settings, items, versions
        self.rule = rule_of(settings)
        self._most_lag = _most_lag(settings)
        self.expired_items = self.late_items = 0

    def order(self, positions: np.ndarray, priorities: np.ndarray) -> np.ndarray:
        """What the remover orders items by: their starts where it goes by starts, else float32 priorities. float64[N]."""
        if self._settings.horizon_s is not None:
            return self._items.started_s(positions)
        if self._settings.horizon_versions is not None:
            return self.versions_of(positions).astype(np.float64)
        return priorities.astype(np.float64)

    def versions_of(self, positions: np.ndarray) -> np.ndarray:
        """Policy version of each item's first step, int64[N]."""
        found: np.ndarray = self._items.slab.blocks.words[positions, VERSION_WORD]
        return found

    def in_time(self, starts: np.ndarray, came_s: np.ndarray) -> np.ndarray:
        """Which new items may still enter, bool[N].

        came_s: float64[N]. Those of an earlier life, read back, entered then: they are judged by what rows say, never more strictly.
        """
        heard = self._versions.newest_at(float(came_s[-1])) if len(came_s) else 0
        most = np.iinfo(np.int32).max if self._most_lag is None else self._most_lag
        note_lags(self._items.slab.blocks.words, starts, heard, most, self._items.arrays.lag)
        fits = np.ones(len(starts), np.bool_)
        if self._most_lag is not None:
            fits &= self._versions.newest - self.versions_of(starts) <= self._most_lag
        if self._settings.horizon_s is not None:
            fits &= came_s - self._items.started_s(starts) < self._settings.horizon_s
        return fits

    def expired(self, remover: Remover, now_s: float) -> np.ndarray:
        """Take the items out of the remover that have reached the horizon. Positions int64[N]."""
        if not isinstance(remover, OldestStartRemover):
            return np.empty(0, np.int64)
        if self._settings.horizon_s is not None:
            positions = remover.pop_below(np.nextafter(now_s - self._settings.horizon_s, np.inf))
        else:
            positions = remover.pop_below(float(self._versions.newest - (self._settings.horizon_versions or 0)))
        self.expired_items += len(positions)
        return positions

    def state(self) -> dict[str, int]:
        """For a snapshot, ready for JSON."""
        return {"expired_items": self.expired_items, "late_items": self.late_items}

    def restore(self, state: Mapping[str, int]) -> None:
        """Count on from another life."""
        self.expired_items, self.late_items = state.get("expired_items", 0), state.get("late_items", 0)

    def lags(self, positions: np.ndarray) -> np.ndarray:
        """Versions that each item was behind when it came, int64[N]."""
        behind: np.ndarray = self._items.arrays.lag[positions].astype(np.int64)
        return behind

    def start_ages_s(self, positions: np.ndarray) -> np.ndarray:
        """Time from the start of each item's first action until the item was drawable, float64[N]."""
        age_s: np.ndarray = self._items.arrays.drawable_s[positions] - self._items.started_s(positions)
        return age_s

    def draw_weights(self, positions: np.ndarray) -> np.ndarray:
        """What leaves are multiplied by with `duration.apply: draw`. float64[N], >= 0."""
        if self._settings.duration.weight == "linear":
            return self._items.seconds(positions, self._items.lengths(positions))
        if self._settings.duration.weight == "inclusion" and self.rule.name == "start_age":
            return share_left(self.start_ages_s(positions), self.rule.horizon)
        if self._settings.duration.weight == "inclusion" and self.rule.name == "version_age":
            return share_left(self.lags(positions).astype(np.float64), self.rule.horizon + 1.0)
        return np.ones(len(positions))


@kernel
def note_lags(words: np.ndarray, starts: np.ndarray, newest: int, most: int, lag: np.ndarray) -> None:
    """Write into lag int32[P] how many versions, at most `most`, the rows at starts int64[N] are behind the newest."""
    for at in starts:
        lag[at] = min(max(newest - words[at, VERSION_WORD], 0), most)


def share_left(age: np.ndarray, horizon: float) -> np.ndarray:
    """horizon / (horizon - age): one over the share of its horizon that an item of this age had left; NaN if none was left.

    age: float64[N] >= 0.  Returns float64[N] >= 1.  Source: docs/duration.md, replay evicted by start age.
    """
    left = horizon - age
    if np.minimum.reduce(left) > 0.0:  # nearly always: two passes instead of four
        weights: np.ndarray = horizon / left
        return weights
    return np.where(left > 0.0, horizon / np.where(left > 0.0, left, 1.0), np.nan)


def _most_lag(settings: TableSettings) -> int | None:
    """Versions that a new item may be behind, None for no limit."""
    limits = [settings.horizon_versions, settings.max_staleness if settings.on_stale == "drop" else None]
    return min((limit for limit in limits if limit is not None), default=None)
