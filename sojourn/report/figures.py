"""The figures of a report: what each shows of a run's history. Draws with matplotlib, without pyplot's global state; writes nothing."""

from collections.abc import Callable, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import StrMethodFormatter

from sojourn.monitor import Progress
from sojourn.monitor.sums import Buckets
from sojourn.report.history import History, shares

FIRST, SECOND, THIRD = "#3b82f6", "#f59e0b", "#10b981"  # readable on white and on black
SIZE_INCHES = (7.5, 3.2)
THOUSANDS = StrMethodFormatter("{x:,g}")

Curves = Sequence[tuple[str, Callable[[Progress], float | None]]]


def learning_curve(history: History) -> Figure | None:
    """Training and evaluation returns over environment steps, with what was expected."""
    training = history.over_env_steps(lambda record: record.training_return)
    steps = [one["env_steps"] for one in history.evaluations]
    if not training[0] and not steps:
        return None
    figure, (axes,) = panels_of("environment steps", ["return of an episode"])
    axes.xaxis.set_major_formatter(THOUSANDS)
    axes.plot(*training, color=FIRST, linewidth=1, label="training, exploration included")
    mean = [one["return_mean"] for one in history.evaluations]
    std = [one["return_std"] for one in history.evaluations]
    axes.fill_between(steps, *_band(mean, std), color=SECOND, alpha=0.25, linewidth=0)
    axes.plot(steps, mean, color=SECOND, marker="o", markersize=3, label="evaluation, mean and standard deviation")
    if history.config.run.expected_return is not None:
        axes.axhline(history.config.run.expected_return, color=THIRD, linestyle="--", linewidth=1, label="expected")
    axes.legend(frameon=False, fontsize="small")
    return figure


def throughput(history: History) -> Figure | None:
    """Environment steps and updates a second, over time, each on its own scale."""
    return _over_time(
        history,
        [
            ("environment steps a second", [("", lambda record: record.env_steps_per_s)]),
            ("updates a second", [("", lambda record: record.updates_per_s)]),
        ],
    )


def policy_lag(history: History) -> Figure | None:
    """How many versions old the policies behind drawn items were, over time."""
    return _over_time(history, [("versions behind, mean", [("", lambda record: record.policy_lag)])])


def replay_age(history: History) -> Figure | None:
    """How old the items in the replay are, and how full it is, over time."""
    ages: Curves = [("oldest item", lambda record: record.replay_oldest_s), ("mean", lambda record: record.replay_age_s)]
    return _over_time(history, [("age in seconds", ages), ("items", [("", lambda record: record.replay_items)])])


def duration_distribution(history: History) -> Figure | None:
    """How long actions lasted: share of each bucket of the actors' histograms."""
    return _bars(history.counts(lambda record: record.duration_counts), "duration of an action in seconds", "share of actions")


def lag_distribution(history: History) -> Figure | None:
    """How many versions old the policies behind drawn items were: share of each bucket."""
    return _bars(history.counts(lambda record: record.lag_counts), "versions behind", "share of drawn items")


Draw = Callable[[History], Figure | None]
FIGURES: dict[str, tuple[str, Draw]] = {
    "learning_curve": ("Learning curve", learning_curve),
    "throughput": ("Throughput", throughput),
    "policy_lag": ("Policy lag", policy_lag),
    "lag_distribution": ("Distribution of policy lag", lag_distribution),
    "duration_distribution": ("Distribution of action durations", duration_distribution),
    "replay_age": ("Age of the replay", replay_age),
}
"""File name -> heading and how it is drawn; None where nothing was recorded of it."""


def panels_of(x_label: str, y_labels: Sequence[str]) -> tuple[Figure, list[Axes]]:
    """A figure with one panel for each label of the vertical axis, side by side."""
    figure = Figure(figsize=SIZE_INCHES, layout="constrained")
    panels = [figure.add_subplot(1, len(y_labels), index + 1) for index in range(len(y_labels))]
    for axes, y_label in zip(panels, y_labels, strict=True):
        axes.set_xlabel(x_label)
        axes.set_ylabel(y_label)
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(alpha=0.12)
        axes.set_axisbelow(True)
    return figure, panels


def _over_time(history: History, panels: Sequence[tuple[str, Curves]]) -> Figure | None:
    """Curves over minutes of activity. panels: label of the vertical axis, and its curves by label."""
    figure, all_axes = panels_of("minutes", [label for label, _ in panels])
    drawn = 0
    for axes, (_, curves) in zip(all_axes, panels, strict=True):
        for (label, value), colour in zip(curves, (FIRST, SECOND, THIRD), strict=False):
            at, values = history.over_minutes(value)
            axes.plot(at, values, color=colour, linewidth=1.2, label=label)
            drawn += len(at)
        axes.set_ylim(bottom=0)
        axes.yaxis.set_major_formatter(THOUSANDS)
        if len(curves) > 1:
            axes.legend(frameon=False, fontsize="small")
    return figure if drawn else None


def _bars(counts: Buckets, x_label: str, y_label: str) -> Figure | None:
    parts = shares(counts)
    if not parts:
        return None
    figure, (axes,) = panels_of(x_label, [y_label])
    axes.bar([label for label, _ in parts], [part for _, part in parts], color=FIRST)
    return figure


def _band(mean: Sequence[float], std: Sequence[float]) -> tuple[list[float], list[float]]:
    pairs: list[Any] = list(zip(mean, std, strict=True))
    return [middle - spread for middle, spread in pairs], [middle + spread for middle, spread in pairs]
