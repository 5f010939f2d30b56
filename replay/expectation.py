"""Which durations and labels would a table's draws have, were nothing lost? The law of starts that draws are compared with.

Pure: no I/O, the clock is handed in. A table that hands out each item once stands against all starts so far. A ring stands, at every
draw, against the starts of the time that it spans: so many insertions, seconds or versions back, however the policy has
changed meanwhile.
"""

from collections import deque

import numpy as np

from replay.answers import Facts
from replay.tally import Tally, split
from sojourn.config.schema import TableSettings
from sojourn.durations import BUCKETS, LABEL_KINDS, LABELS, PARTS, by_bucket, counts_of, part_of, product_limit

POINTS = 256  # at which the tally is remembered over a span


class Expectation:
    """Expected draws of one table by duration and by label, since this life of the service began.

    durations: float64[buckets].  labels: float64[labels] by kind.
    Invariant: the remembered points lie ascending, the first of them at or before the beginning of the table's span.
    """

    def __init__(self, settings: TableSettings) -> None:
        self._settings = settings
        self._points: deque[tuple[float, np.ndarray]] = deque()
        self._drawn: int | None = None  # what an earlier life drew is not this one's
        self.durations = np.zeros(len(BUCKETS))
        self.labels = {kind: np.zeros(len(LABELS)) for kind in LABEL_KINDS}

    def look(self, tally: Tally, running_s: np.ndarray, facts: Facts, newest_version: int, now_s: float) -> None:
        """Take note of what was drawn since the last look. running_s: ages of the actions that run, float64[N]."""
        if self._settings.sampler == "fifo":
            self._all_starts(tally, running_s)
            return
        position, span = self._span(facts, newest_version, now_s)
        flat = tally.flat()
        before = self._before(position, span)
        if self._drawn is None:
            self._drawn = facts.sampled_items
        if facts.sampled_items > self._drawn and flat.sum() > before.sum():
            self._add(flat - before, facts.sampled_items - self._drawn)
            self._drawn = facts.sampled_items
        self._remember(position, span, flat)

    def _all_starts(self, tally: Tally, running_s: np.ndarray) -> None:
        cut = tally.cut + counts_of(part_of(running_s), PARTS)
        self.durations = by_bucket(product_limit(tally.ended, cut)) * (tally.ended.sum() + cut.sum())
        self.labels = {kind: counts.copy() for kind, counts in tally.labels.items()}

    def _span(self, facts: Facts, newest_version: int, now_s: float) -> tuple[float, float]:
        """Where the table stands on the axis along which items leave it, and how much of that it holds."""
        if self._settings.horizon_s is not None:
            return now_s, self._settings.horizon_s
        if self._settings.horizon_versions is not None:
            return float(newest_version), self._settings.horizon_versions + 1.0
        return float(facts.inserted_items), float(facts.items)

    def _before(self, position: float, span: float) -> np.ndarray:
        """The tally at the beginning of the span, nothing where the table holds all there ever was."""
        while len(self._points) > 1 and self._points[1][0] <= position - span:
            self._points.popleft()
        first, flat = self._points[0] if self._points else (np.inf, np.zeros(0))
        return flat if first <= position - span else np.zeros(2 * PARTS + len(LABEL_KINDS) * len(LABELS))

    def _remember(self, position: float, span: float, flat: np.ndarray) -> None:
        if not self._points or position - self._points[-1][0] >= max(span, 1.0) / POINTS:
            self._points.append((position, flat))

    def _add(self, flat: np.ndarray, draws: int) -> None:
        ended, cut, labels = split(flat)
        self.durations += draws * by_bucket(product_limit(ended, cut))
        for kind, counts in zip(LABEL_KINDS, labels, strict=True):
            self.labels[kind] += draws * counts / max(1.0, counts.sum())
