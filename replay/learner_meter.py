"""What a learner's connection measures: what was drawn, how it was weighted, what went back. No I/O; a few microseconds a batch."""

from collections.abc import Callable

import numpy as np

from replay.shards import Composed
from replay.weighting import Weighted
from sojourn.experience import SampleInfo
from sojourn.metrics import Metrics

LOOKED_AT_EVERY = 8  # batches: looking at one takes three times as long as counting it


class LearnerMeter:
    """The series `sojourn_learner_sample*`, `_weight*`, `_priority*` and `_shards*` of one learner.

    Ages, delays and durations are observed for one item of every eighth batch, another one each time: a fair sample of what is drawn at
    a thousandth of the cost.
    """

    def __init__(self, metrics: Metrics, shards_down: Callable[[], int], queued_batches: Callable[[], int]) -> None:
        self._batches = metrics.counter("sojourn_learner_sampled_batches")
        self._items = metrics.counter("sojourn_learner_sampled_items")
        self._wait = metrics.counter("sojourn_learner_sample_wait_seconds")
        self._age = metrics.histogram("sojourn_learner_sampled_age_seconds")
        self._delay = metrics.histogram("sojourn_learner_sampled_delay_seconds")
        self._duration = metrics.histogram("sojourn_learner_sampled_duration_seconds")
        self._redelivered = metrics.counter("sojourn_learner_redelivered_items")
        self._ess_share = metrics.gauge("sojourn_learner_weight_ess_share")
        self._exponent = metrics.gauge("sojourn_learner_weight_exponent")
        self._error = metrics.gauge("sojourn_learner_weight_error")
        self._capped = metrics.counter("sojourn_learner_weights_capped")
        self._repaired = metrics.counter("sojourn_learner_weights_repaired")
        self._updates = metrics.counter("sojourn_learner_priority_updates")
        self._left_out = metrics.counter("sojourn_learner_shards_left_out")
        metrics.gauge("sojourn_learner_shards_down").set_function(shards_down)
        metrics.gauge("sojourn_learner_prefetched_batches").set_function(queued_batches)
        self._count = 0

    def waited(self, wait_s: float) -> None:
        self._wait.inc(wait_s)

    def drawn(self, composed: Composed, weighted: Weighted, exponent: float) -> None:
        """One batch was handed to the learner."""
        self._batches.inc()
        self._items.inc(len(composed.info.key))
        self._ess_share.set(weighted.ess_share)
        self._exponent.set(exponent)
        if self._count % LOOKED_AT_EVERY == 0:
            self._look_at(composed.info, weighted)
        self._count += 1
        for counter, count in (
            (self._redelivered, composed.redelivered),
            (self._left_out, composed.left_out),
            (self._capped, weighted.capped),
            (self._repaired, weighted.repaired),
        ):
            if count:
                counter.inc(count)

    def _look_at(self, info: SampleInfo, weighted: Weighted) -> None:
        item = self._count // LOOKED_AT_EVERY % len(info.key)
        self._age.observe(float(info.age_s[item]))
        self._delay.observe(float(info.delay_s[item]))
        self._duration.observe(float(info.duration_s[item]))
        if weighted.errors:
            self._error.set(mean_error(weighted.errors["duration"]))

    def updated(self, applied: int, late: int, dropped: int) -> None:
        """Priority updates reached a shard, or were let go of because it was down too long."""
        for outcome, count in (("applied", applied), ("late", late), ("dropped", dropped)):
            if count:
                self._updates.labels(outcome).inc(count)


def mean_error(relative_errors: np.ndarray) -> float:
    """Mean relative standard error of a batch's weights, of those that have one; float64[B]."""
    total = float(np.add.reduce(relative_errors))
    if np.isfinite(total):  # nearly always
        return total / len(relative_errors)
    known = relative_errors[np.isfinite(relative_errors)]
    return float(known.mean()) if len(known) else 0.0
