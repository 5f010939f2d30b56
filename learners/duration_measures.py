"""What does a learner learn from, by how long the actions took and by what they were? Sums that a doctor compares with all starts.

No I/O, no clock. NumPy for what every batch says; what lies on the device (errors, ratios, scores) is read once a second, of a few batches.
"""

import numpy as np
import torch

from learners.consumed import Consumed, consumed_of
from learners.score_leak import ScoreLeak
from sojourn.algorithms import Update
from sojourn.config.schema import TableSettings
from sojourn.durations import BUCKETS, LABELS
from sojourn.experience import Batch
from sojourn.metrics import Metrics

MOST_WAITING = 16  # batches between two looks whose device facts are kept
COUNTED = ("actions", "collected", "collected_squares", "weighted", "weighted_squares")
MEASURED = ("measured", "lag_versions", "reward", "td_error", "clipped_ratio")
_PREFIX = "sojourn_learner_"


class DurationMeasures:
    """The series `sojourn_learner_bucket_*`, `sojourn_learner_label_*`, and the score's.

    Invariant: at most MOST_WAITING updates wait, unread, on the device.
    """

    def __init__(self, metrics: Metrics, table: TableSettings, task_column: str = "") -> None:
        """task_column: the extra that labels tasks, "" for none."""
        self._metrics, self._table, self._task_column = metrics, table, task_column
        self._sums = {name: np.zeros(len(BUCKETS)) for name in (*COUNTED, *MEASURED)}
        self._labels: dict[tuple[str, str], np.ndarray] = {}
        self._waiting: list[tuple[Consumed, Update]] = []
        self._leak = ScoreLeak()
        metrics.gauge(_PREFIX + "score_leak").set(np.nan)
        metrics.gauge(_PREFIX + "action_gap").set(np.nan)

    def updated(self, update: Update, batch: Batch, newest_version: int) -> None:
        """Count a batch that was learned from."""
        consumed = consumed_of(batch, self._table, self._task_column, newest_version)
        collected, weighted = consumed.collected, consumed.weighted
        for name, weight in (
            ("actions", None),
            ("collected", collected),
            ("collected_squares", collected * collected),
            ("weighted", weighted),
            ("weighted_squares", weighted * weighted),
        ):
            self._sums[name] += consumed.by_bucket(weight)
        for kind, places in consumed.labels.items():
            for name, weight in (("label_collected", collected), ("label_weighted", weighted)):
                counts = np.bincount(places, weight, len(LABELS))
                self._labels[name, kind] = self._labels.get((name, kind), 0.0) + counts
        if len(self._waiting) < MOST_WAITING:
            self._waiting.append((consumed, update))

    def look(self) -> None:
        """Read what waits, and show all sums."""
        for consumed, update in self._waiting:
            self._measure(consumed, update)
        self._waiting.clear()
        for name, sums in self._sums.items():
            if name == "reward":
                self._show_rewards(sums)
            else:
                self._add(f"{_PREFIX}bucket_{name}", sums)
        for (name, kind), sums in self._labels.items():
            self._add_labels(_PREFIX + name, kind, sums)
        self._metrics.gauge(_PREFIX + "score_leak").set(self._leak.statistic)
        self._metrics.gauge(_PREFIX + "action_gap").set(self._leak.gap)

    def _measure(self, consumed: Consumed, update: Update) -> None:
        if update.steps is None:
            error, ratio = consumed.of_items(_read(update.priority)), None
        else:
            error, ratio = _read(update.steps.error)[consumed.valid], _read(update.steps.ratio)[consumed.valid]
            self._leak.add(_read(update.steps.score)[consumed.valid], consumed.loss_weight * ratio, choices=update.steps.choices)
        good = np.isfinite(error) if ratio is None else np.isfinite(error) & np.isfinite(ratio)
        for name, values in (
            ("measured", np.ones(len(good))),
            ("lag_versions", consumed.lag),
            ("reward", consumed.reward),
            ("td_error", error),
            ("clipped_ratio", np.zeros(len(good)) if ratio is None else np.minimum(ratio, 1.0)),
        ):
            self._sums[name] += consumed.by_bucket(np.where(good, values, 0.0) * good)

    def _show_rewards(self, sums: np.ndarray) -> None:
        gauge = self._metrics.gauge(_PREFIX + "bucket_reward")
        for bucket, value in zip(BUCKETS, sums.tolist(), strict=True):
            if value:
                gauge.labels(bucket).set(value)

    def _add(self, series: str, sums: np.ndarray) -> None:
        """Counters are sums themselves: they are handed what came since the last look."""
        counter = self._metrics.counter(series)
        for bucket, value in zip(BUCKETS, sums.tolist(), strict=True):
            if value:
                counter.labels(bucket).inc(value)
        sums[:] = 0.0

    def _add_labels(self, series: str, kind: str, sums: np.ndarray) -> None:
        counter = self._metrics.counter(series)
        for label, value in zip(LABELS, sums.tolist(), strict=True):
            if value:
                counter.labels(kind, label).inc(value)
        sums[:] = 0.0


def _read(tensor: torch.Tensor) -> np.ndarray:
    found: np.ndarray = tensor.detach().cpu().numpy()
    return found
