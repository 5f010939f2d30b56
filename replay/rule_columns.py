"""What does a draw say for the table's weight that is not in its items' rows? Columns `info.<name>` of the rule. No I/O, no clock."""

from collections.abc import Callable

import numpy as np

from replay.horizons import Horizon
from replay.item_set import ItemSet
from replay.rules import columns_of
from sojourn.config.schema import TableSettings
from sojourn.experience import Columns


class RuleColumns:
    """The extra columns of one table, none where its weight is 1 by rule or where its rows say all (replay/batch_columns.py)."""

    def __init__(self, settings: TableSettings, items: ItemSet, horizon: Horizon) -> None:
        self._items = items
        makers: dict[str, Callable[[np.ndarray, Columns], np.ndarray]] = {
            "stratum": lambda at, _: items.slab.beside["stratum"][at],
            "lag": lambda at, _: horizon.lags(at),
            "episode_elapsed_s": self._episode_elapsed_s,
        }
        self._makers = {name: makers[name] for name in columns_of(settings) if name in makers}

    def of(self, positions: np.ndarray, columns: Columns) -> Columns:
        """Columns [N] of the items at positions int64[N], whose other columns are there already."""
        return {f"info.{name}": make(positions, columns) for name, make in self._makers.items()}

    def _episode_elapsed_s(self, positions: np.ndarray, columns: Columns) -> np.ndarray:
        """From the episode's first start to the end of the item's last action, NaN where the episode's start is not known."""
        end_s: np.ndarray = columns["info.episode_elapsed_s"]
        end_s -= self._items.slab.beside["episode_start_s"][positions]
        return end_s
