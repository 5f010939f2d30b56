"""How likely was it that an action of this length could be seen at all? Survival curves from starts and ends.

Pure: no I/O, no clock, no randomness. Two estimators of G(x), the chance that an action of length x is not cut off:
`remaining_window` from the windows that starts had left, `censoring_time` (Kaplan-Meier) from running, crashed and aborted
actions. `duration_law` is the Kaplan-Meier curve of durations themselves. Weights are 1 / G (docs/duration.md).

Curves are made of tables of counts, because counts of several shards can be added and curves cannot.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from replay.step_search import fill_cells, look_up

CELLS_A_TIME = 16  # of the curve's search: where times are evenly spread, few cells have two
NEARLY = 1e-9  # an action that ended exactly at the end of its window was seen, whatever rounding says


@dataclass(frozen=True)
class EventTable:
    """How many starts had their event, and how many left for whatever reason, at each time.

    time: float64[M], ascending.  events, leaving: float64[M], events <= leaving.
    """

    time: np.ndarray
    events: np.ndarray
    leaving: np.ndarray

    @classmethod
    def of(cls, observed_s: np.ndarray, event: np.ndarray) -> "EventTable":
        """observed_s float64[N]: time of the event or of leaving without.  event: bool[N]."""
        time, group = np.unique(np.asarray(observed_s, np.float64), return_inverse=True)
        events = np.bincount(group, weights=event, minlength=len(time))
        return cls(time, events, np.bincount(group, minlength=len(time)).astype(np.float64))

    @property
    def starts(self) -> float:
        return float(self.leaving.sum())

    def coarser(self, most: int) -> "EventTable":
        """At most `most` times; a group stands at its largest time, so no start is lost.

        Groups shrink with what is left, so that 1 / G errs everywhere by the same part, about ln(starts) / most: 0.3 % of 65,536
        starts in 4,096 groups. Groups of equal size would make the longest actions' weights arbitrary.
        """
        if len(self.time) <= most:
            return self
        left = np.cumsum(self.leaving[::-1])[::-1] / self.starts
        group = np.minimum((np.log(left) / np.log(left[-1]) * most).astype(np.int64), most - 1)
        last = np.flatnonzero(np.append(np.diff(group) > 0, True))
        first = np.append(0, last[:-1] + 1)
        return EventTable(self.time[last], np.add.reduceat(self.events, first), np.add.reduceat(self.leaving, first))


def added(tables: Sequence[EventTable]) -> EventTable:
    """The table of all the starts together, one table or more."""
    time, group = np.unique(np.concatenate([table.time for table in tables]), return_inverse=True)
    events = np.bincount(group, np.concatenate([table.events for table in tables]), len(time))
    return EventTable(time, events, np.bincount(group, np.concatenate([table.leaving for table in tables]), len(time)))


@dataclass(frozen=True)
class SurvivalCurve:
    """P(T >= x) as a left-continuous step function.

    time: float64[M], ascending, where the curve steps down just behind.  survival: float64[M + 1], from 1 downwards, >= 0:
    survival[i] holds for time[i - 1] < x <= time[i].  log_variance: float64[M + 1], variance of the logarithm there.
    """

    time: np.ndarray
    survival: np.ndarray
    log_variance: np.ndarray

    def inverse_at(self, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """1 / P(T >= x), never infinite, and its relative standard error: float64[N] each, NaN where x is.

        A little generous about ties: what was seen could be seen, so its own start counts.
        """
        found, (first, scale) = np.empty((2, len(x))), self._cells
        look_up(np.ascontiguousarray(x, np.float64), self._seen, first, scale, self._inverse, found)
        return found[0], found[1]

    @cached_property
    def _inverse(self) -> np.ndarray:
        """Of each step, float64[M + 1, 2]: side by side, since both are asked for together."""
        return np.stack([1.0 / np.maximum(self.survival, self.least), np.sqrt(self.log_variance)], axis=1)

    @cached_property
    def _seen(self) -> np.ndarray:
        """The longest that is counted to each time. float64[M]."""
        return (self.time + NEARLY) / (1.0 - NEARLY)

    @cached_property
    def _cells(self) -> tuple[np.ndarray, float]:
        """For `look_up`: cells up to the last time, and one behind it; one for all where times have no end. Cells per unit of time."""
        apart = len(self.time) > 0 and NEARLY < self.time[-1] < np.inf
        cells = CELLS_A_TIME * len(self.time) if apart else 0
        scale = (cells - 1) / float(self._seen[-1]) if apart else 0.0
        first = np.zeros(cells + 2, np.int64)
        fill_cells(self._seen, scale, first)
        return first, scale

    def at(self, x: np.ndarray) -> np.ndarray:
        """P(T >= x): float64, same shape as x."""
        return self.survival[np.searchsorted(self.time, x, side="left")]

    @property
    def least(self) -> float:
        """The smallest survival above 0."""
        return float(self.survival[self.survival > 0.0].min())


def remaining_window(remaining_s: np.ndarray, effective_starts: float | None = None) -> SurvivalCurve:
    """Share of started actions whose remaining window was at least x.

    remaining_s: window left at each start, float64[N], N >= 1; starts that finished and starts that did not.
    effective_starts: independent starts behind the N for the variance (starts are clustered by actor and window); default N.
    Source: inverse probability of censoring with a known censoring time (Robins and Rotnitzky 1992).
    """
    return window_curve(EventTable.of(remaining_s, np.ones(len(remaining_s), bool)), effective_starts)


def window_curve(table: EventTable, effective_starts: float | None = None) -> SurvivalCurve:
    """`remaining_window` of a table in which every start has its event at the end of its window."""
    starts = _some(table)
    survival = np.maximum(0.0, 1.0 - np.append(0.0, np.cumsum(table.leaving)) / starts)
    with np.errstate(divide="ignore"):
        variance = (1.0 - survival) / (survival * (effective_starts or starts))
    return SurvivalCurve(table.time, survival, variance)


def duration_law(observed_s: np.ndarray, ended: np.ndarray) -> SurvivalCurve:
    """Kaplan-Meier curve of the duration of actions over all starts.

    observed_s: duration, or age so far, float64[N].  ended: bool[N]: True for completed and killed actions, False for running,
    aborted and crashed ones (censored at their age; a censoring at the same time comes after the end).
    Source: Kaplan and Meier 1958; variance of the logarithm: Greenwood 1926.
    """
    return product_limit(EventTable.of(observed_s, np.asarray(ended, dtype=bool)), censored_leave_first=False)


def censoring_time(observed_s: np.ndarray, ended: np.ndarray) -> SurvivalCurve:
    """Kaplan-Meier curve of the time after which crashes, aborts and the like would have cut an action.

    Arguments as in `duration_law`; here the cuts are the events and an end at the same time precedes the cut.
    """
    return product_limit(EventTable.of(observed_s, ~np.asarray(ended, dtype=bool)), censored_leave_first=True)


def product_limit(table: EventTable, *, censored_leave_first: bool) -> SurvivalCurve:
    """Product over event times of 1 - events / at risk.

    censored_leave_first: whether those without the event at a time are no longer at risk for events at that same time.
    """
    _some(table)
    at_risk = table.leaving[::-1].cumsum()[::-1] - ((table.leaving - table.events) if censored_leave_first else 0.0)
    stepping = table.events > 0
    time, events, at_risk = table.time[stepping], table.events[stepping], at_risk[stepping]
    survival = np.concatenate(([1.0], np.cumprod(1.0 - events / at_risk)))
    with np.errstate(divide="ignore"):
        variance = np.concatenate(([0.0], np.cumsum(events / (at_risk * (at_risk - events)))))
    return SurvivalCurve(time, survival, variance)


def _some(table: EventTable) -> float:
    if table.starts <= 0.0:
        raise ValueError("a survival curve needs at least one start")
    return table.starts
