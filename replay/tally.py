"""How many actions ended, and how many were cut off, by duration and by label? Counts since this life of the service began.

Pure: no I/O, no clock. Rows that are read back at start-up count again: what is learned from them is still to come.
"""

import numpy as np

from replay.rows import Rows
from sojourn.durations import LABEL_KINDS, LABELS, PARTS, counts_of, label_of, part_of


class Tally:
    """Counts of all starts of a shard whose ends are known.

    ended: completed and killed actions, float64[PARTS].  cut: failed, aborted and crashed ones at their ages, float64[PARTS].
    labels: actions with a row by discrete action and by task, float64[labels] each, 0 where there is no such label.
    task_column: extra column of the tasks, "" for none.
    """

    def __init__(self) -> None:
        self.ended, self.cut = np.zeros(PARTS), np.zeros(PARTS)
        self.labels = {kind: np.zeros(len(LABELS)) for kind in LABEL_KINDS}
        self.task_column = ""

    def rows(self, rows: Rows, steps: np.ndarray) -> None:
        """Rows were accepted, of which those at steps bool[N] hold an action."""
        self.ended += counts_of(part_of(rows.duration_s[steps]), PARTS)
        for kind, name in zip(LABEL_KINDS, ("action", self.task_column), strict=True):
            column = rows.columns.get(name)
            if column is not None and column.ndim == 1 and column.dtype.kind in "iu":
                self.labels[kind] += counts_of(label_of(column[steps]), len(LABELS))

    def lost(self, age_s: float) -> None:
        """An action ended without a row at this age."""
        self.cut[part_of(np.array([age_s]))] += 1

    def flat(self) -> np.ndarray:
        """All counts behind each other: ended, cut, labels by kind. A copy."""
        return np.concatenate([self.ended, self.cut, *self.labels.values()])


def split(flat: np.ndarray) -> tuple[np.ndarray, np.ndarray, list[np.ndarray]]:
    """`Tally.flat` taken apart: ended, cut, labels of each kind."""
    kinds = flat[2 * PARTS :].reshape(len(LABEL_KINDS), len(LABELS))
    return flat[:PARTS], flat[PARTS : 2 * PARTS], list(kinds)
