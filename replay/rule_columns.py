"""What does a draw say beside the usual facts, for the table's weight? Columns `info.<name>` of the rule. No I/O, no clock."""

from collections.abc import Callable

import numpy as np

from replay.horizons import Horizon
from replay.item_set import ItemSet
from replay.rules import columns_of
from sojourn.config.schema import TableSettings
from sojourn.experience import Columns


class RuleColumns:
    """The extra columns of one table, none where its weight is 1 by rule."""

    def __init__(self, settings: TableSettings, items: ItemSet, horizon: Horizon) -> None:
        self._items = items
        makers: dict[str, Callable[[np.ndarray, Columns], np.ndarray]] = {
            "stratum": lambda at, _: items.slab.beside["stratum"][at].astype(np.int64),
            "start_s": lambda at, _: items.started_s(at),
            "start_age_s": lambda at, _: horizon.start_ages_s(at),
            "lag": lambda at, _: horizon.lags(at),
            "episode_elapsed_s": self._episode_elapsed_s,
        }
        self._makers = {name: makers[name] for name in columns_of(settings)}

    def of(self, positions: np.ndarray, columns: Columns) -> Columns:
        """Columns [N] of the items at positions int64[N], whose other columns are there already."""
        return {f"info.{name}": make(positions, columns) for name, make in self._makers.items()}

    def _episode_elapsed_s(self, positions: np.ndarray, columns: Columns) -> np.ndarray:
        """From the episode's first start to the end of the item's last action, NaN where the episode's start is not known."""
        last_start_s = self._items.arrays.drawable_s[positions] - columns["info.delay_s"]
        last = np.arange(len(positions)), self._items.lengths(positions) - 1
        elapsed_s: np.ndarray = last_start_s + columns["duration_s"][last] - self._items.slab.beside["episode_start_s"][positions]
        return elapsed_s
