"""How likely was it that an action of this length could be seen at all? Survival curves from starts and ends.

Pure NumPy: no I/O, no clock, no randomness. Two estimators of G(x), the chance that an action of length x is not cut off:
`remaining_window` from the windows that starts had left, `censoring_time` (Kaplan-Meier) from running, crashed and aborted
actions. `duration_law` is the Kaplan-Meier curve of durations themselves. Weights are 1 / G (docs/duration.md).
"""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class SurvivalCurve:
    """P(T >= x) as a left-continuous step function.

    time: float64[M], ascending, where the curve steps down just behind.  survival: float64[M + 1], from 1 downwards, >= 0:
    survival[i] holds for time[i - 1] < x <= time[i].  log_variance: float64[M + 1], variance of the logarithm there.
    """

    time: np.ndarray
    survival: np.ndarray
    log_variance: np.ndarray

    def at(self, x: np.ndarray) -> np.ndarray:
        """P(T >= x): float64, same shape as x."""
        return self.survival[np.searchsorted(self.time, x, side="left")]

    def log_variance_at(self, x: np.ndarray) -> np.ndarray:
        """Variance of log P(T >= x): float64, same shape as x. Its root is the relative standard error of 1 / P(T >= x)."""
        return self.log_variance[np.searchsorted(self.time, x, side="left")]


def remaining_window(remaining_s: np.ndarray, effective_starts: float | None = None) -> SurvivalCurve:
    """Share of started actions whose remaining window was at least x.

    remaining_s: window left at each start, float64[N], N >= 1; starts that finished and starts that did not.
    effective_starts: independent starts behind the N for the variance (starts are clustered by actor and window); default N.
    Source: inverse probability of censoring with a known censoring time (Robins and Rotnitzky 1992).
    """
    if len(remaining_s) == 0:
        raise ValueError("a survival curve needs at least one start")
    time, counts = np.unique(np.asarray(remaining_s, dtype=np.float64), return_counts=True)
    survival = 1.0 - np.concatenate(([0], np.cumsum(counts))) / len(remaining_s)
    with np.errstate(divide="ignore"):
        variance = (1.0 - survival) / (survival * (effective_starts or len(remaining_s)))
    return SurvivalCurve(time, survival, variance)


def duration_law(observed_s: np.ndarray, ended: np.ndarray) -> SurvivalCurve:
    """Kaplan-Meier curve of the duration of actions over all starts.

    observed_s: duration, or age so far, float64[N].  ended: bool[N]: True for completed and killed actions, False for running,
    aborted and crashed ones (censored at their age; a censoring at the same time comes after the end).
    Source: Kaplan and Meier 1958; variance of the logarithm: Greenwood 1926.
    """
    return _product_limit(observed_s, np.asarray(ended, dtype=bool), censored_leave_first=False)


def censoring_time(observed_s: np.ndarray, ended: np.ndarray) -> SurvivalCurve:
    """Kaplan-Meier curve of the time after which crashes, aborts and the like would have cut an action.

    Arguments as in `duration_law`; here the cuts are the events and an end at the same time precedes the cut.
    """
    return _product_limit(observed_s, ~np.asarray(ended, dtype=bool), censored_leave_first=True)


def _product_limit(observed_s: np.ndarray, event: np.ndarray, *, censored_leave_first: bool) -> SurvivalCurve:
    """Product over event times of 1 - events / at risk.

    censored_leave_first: whether those without the event at a time are no longer at risk for events at that same time.
    """
    if len(observed_s) == 0:
        raise ValueError("a survival curve needs at least one start")
    time, group = np.unique(np.asarray(observed_s, dtype=np.float64), return_inverse=True)
    events = np.bincount(group, weights=event, minlength=len(time))
    leaving = np.bincount(group, minlength=len(time)).astype(np.float64)
    at_risk = leaving[::-1].cumsum()[::-1] - ((leaving - events) if censored_leave_first else 0.0)
    stepping = events > 0
    time, events, at_risk = time[stepping], events[stepping], at_risk[stepping]
    survival = np.concatenate(([1.0], np.cumprod(1.0 - events / at_risk)))
    with np.errstate(divide="ignore"):
        variance = np.concatenate(([0.0], np.cumsum(events / (at_risk * (at_risk - events)))))
    return SurvivalCurve(time, survival, variance)
