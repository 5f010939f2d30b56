"""The figures of a report's section on durations: laws of what was started and learned from, and what durations go with. Writes nothing.

As in figures.py: drawn with matplotlib, without pyplot's global state; None where nothing was recorded.
"""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from sojourn.diagnosis.evidence import Shares, evidence_of
from sojourn.diagnosis.words import means_by_bucket
from sojourn.durations import BUCKETS, LABELS
from sojourn.report.figures import FIRST, SECOND, THIRD, Draw, panels_of
from sojourn.report.history import History, active_seconds

MOST_RECORDS = 100  # along a curve: chance is simulated for each, a few milliseconds
WIDTH = 0.27  # of one of three bars side by side


def duration_law(history: History) -> Figure | None:
    """Shares by duration: all starts (Kaplan and Meier), what was learned from, and that after weighting."""
    shares = evidence_of(history.durations[-1], history.config).durations
    if shares is None:
        return None
    figure, (axes,) = panels_of("duration of an action, up to so many seconds", ["share of actions"])
    _three_bars(axes, shares, BUCKETS)
    return figure


def label_shares(history: History) -> Figure | None:
    """The same shares by discrete action and by task."""
    labels = evidence_of(history.durations[-1], history.config).labels
    if not labels:
        return None
    figure, panels = panels_of("label", [f"share of {kind}s" for kind in labels])
    for axes, shares in zip(panels, labels.values(), strict=True):
        _three_bars(axes, shares, LABELS)
    return figure


def gap_over_time(history: History) -> Figure | None:
    """Total variation between durations started and learned from so far, before and after weighting."""
    every = -(-len(history.durations) // MOST_RECORDS)
    pairs = list(zip(active_seconds(history.durations), history.durations, strict=True))
    found = [(at_s / 60, evidence_of(record, history.config).durations) for at_s, record in pairs[::every]]
    known = [(at, shares) for at, shares in found if shares is not None]
    if len(known) < 2:
        return None
    at = [minute for minute, _ in known]
    figure, (axes,) = panels_of("minutes", ["total variation"])
    axes.plot(at, [shares.before.distance for _, shares in known], color=FIRST, linewidth=1.2, label="before weighting")
    axes.plot(at, [shares.after.distance for _, shares in known], color=SECOND, linewidth=1.2, label="after weighting")
    chance = [shares.after.chance_mean + 3 * shares.after.chance_sd for _, shares in known]
    axes.plot(at, chance, color=THIRD, linewidth=1, linestyle="--", label="chance reaches so far")
    axes.set_ylim(bottom=0)
    axes.legend(frameon=False, fontsize="small")
    return figure


def lag_by_duration(history: History) -> Figure | None:
    """How many versions behind actions are, and how much of them the policy ratio leaves, by duration."""
    return _means(history, [("lag_versions", "versions behind, mean"), ("clipped_ratio", "min(1, policy ratio), mean")])


def outcome_by_duration(history: History) -> Figure | None:
    """Reward and TD error by duration."""
    return _means(history, [("reward", "reward, mean"), ("td_error", "absolute TD error, mean")])


DURATION_FIGURES: dict[str, tuple[str, Draw]] = {
    "duration_law": ("Started, learned from, weighted: by duration", duration_law),
    "label_shares": ("Started, learned from, weighted: by action and task", label_shares),
    "duration_gap": ("Distance between started and learned from", gap_over_time),
    "lag_by_duration": ("Policy lag and clipped ratio by duration", lag_by_duration),
    "outcome_by_duration": ("Reward and TD error by duration", outcome_by_duration),
}
"""As FIGURES; drawn only where durations were recorded."""


def _three_bars(axes: Axes, shares: Shares, names: Sequence[str]) -> None:
    """Started, learned and weighted shares side by side, of the classes that have any."""
    laws = (("started", shares.expected, FIRST), ("learned from", shares.collected, SECOND), ("weighted", shares.weighted, THIRD))
    filled = np.flatnonzero(sum(law for _, law, _ in laws))
    for offset, (name, law, colour) in zip((-WIDTH, 0.0, WIDTH), laws, strict=True):
        axes.bar(np.arange(len(filled)) + offset, law[filled], WIDTH, color=colour, label=name)
    axes.set_xticks(np.arange(len(filled)), [names[int(place)] for place in filled])
    axes.legend(frameon=False, fontsize="small")


def _means(history: History, wanted: Sequence[tuple[str, str]]) -> Figure | None:
    means = means_by_bucket(history.durations[-1])
    shown = [(means[name], label) for name, label in wanted if np.isfinite(means[name]).any()]
    if not shown:
        return None
    figure, panels = panels_of("duration of an action, up to so many seconds", [label for _, label in shown])
    for axes, (values, _) in zip(panels, shown, strict=True):
        known = np.flatnonzero(np.isfinite(values))
        if not np.any(values < 0.0):
            axes.set_ylim(0.0, 1.05 * float(values[known].max()) or 1.0)
        axes.plot([BUCKETS[place] for place in known], values[known], color=FIRST, marker="o", markersize=3, linewidth=1.2)
    return figure
