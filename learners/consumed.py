"""Which actions does a batch hold, how long did they take, and how much does each count? Items of every kind as single actions.

Pure NumPy. An n-step item stands for its first action (every action begins one); a segment or sequence for all of its own.
B items, N actions.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from sojourn.config.schema import TableSettings
from sojourn.durations import BUCKETS, bucket_of, counts_of, label_of
from sojourn.experience import Batch


@dataclass(frozen=True)
class Consumed:
    """N actions of a batch.

    places: index of the duration's bucket, int64[N].  lag: versions behind, float64[N].  reward: float64[N].
    valid: bool[B, L] of sequences and segments, True for steps that count: N of them; bool[B] of transitions, all True.
    collected: 1 / (items x probability), 1 where draws follow no priority, float64[N].
    weighted: that times the factors of duration and pool, float64[N].  loss_weight: float64[N], of the item.
    labels: index of the label by kind, int64[N] each, of the kinds that there are.
    """

    places: np.ndarray
    lag: np.ndarray
    reward: np.ndarray
    valid: np.ndarray
    collected: np.ndarray
    weighted: np.ndarray
    loss_weight: np.ndarray
    labels: Mapping[str, np.ndarray]

    def by_bucket(self, weight: np.ndarray | None) -> np.ndarray:
        """Sum of weights float64[N] (None: 1 each) by bucket: float64[buckets]."""
        return counts_of(self.places, len(BUCKETS), weight)

    def of_items(self, values: np.ndarray) -> np.ndarray:
        """Values of items [B], for each of their actions [N]."""
        return values if self.valid.ndim == 1 else np.repeat(values, self.valid.sum(axis=1))


def consumed_of(batch: Batch, table: TableSettings, task_column: str, newest_version: int) -> Consumed:
    """The actions of a batch. task_column: "" where no extra labels tasks."""
    columns, info = batch.columns, batch.info
    whole = columns["policy_version"].ndim == 2
    valid = columns["mask"] if whole else np.ones(len(batch), np.bool_)
    of_actions = valid if whole else (slice(None), 0)
    lag = np.maximum(0, newest_version - (columns["policy_version"][valid] if whole else columns["policy_version"]))
    repeats = valid.sum(axis=1) if whole else 1
    collected, weighted = _counting(batch, table)
    action = columns.get("action")
    labels = {}
    if action is not None and action.ndim == valid.ndim and action.dtype.kind in "iu":
        labels["action"] = label_of(action[valid] if whole else action)
    if task_column:
        labels["task"] = label_of(np.repeat(info.task, repeats))
    return Consumed(
        places=bucket_of(columns["duration_s"][of_actions]),
        lag=lag.astype(np.float64),
        reward=columns["reward"][of_actions].astype(np.float64),
        valid=valid,
        collected=np.repeat(collected, repeats),
        weighted=np.repeat(weighted, repeats),
        loss_weight=np.repeat(batch.loss_weight.astype(np.float64), repeats),
        labels=labels,
    )


def _counting(batch: Batch, table: TableSettings) -> tuple[np.ndarray, np.ndarray]:
    """What each item counts before and after its duration weight, float64[B] each.

    Where draws follow the duration weight, a draw is weighted by being drawn; what its priority does is left to its factor.
    """
    info, factors = batch.info, batch.factors
    collected = np.ones(len(batch)) if table.sampler == "fifo" else 1.0 / (info.table_items * info.probability)
    if table.duration.apply == "draw":
        return collected, factors.get("priority", np.ones(len(batch))).astype(np.float64)
    duration = factors.get("duration", np.ones(len(batch))) * factors.get("pool", np.ones(len(batch)))
    return collected, collected * duration
