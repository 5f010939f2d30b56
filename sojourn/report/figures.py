"""The figures of a report: what each shows of a run's history. Draws with matplotlib, without pyplot's global state; writes nothing."""

from collections.abc import Callable, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from sojourn.monitor import Progress
from sojourn.report.history import History, shares

FIRST, SECOND, THIRD = "#3b82f6", "#f59e0b", "#10b981"  # readable on white and on black
SIZE_INCHES = (7.5, 3.2)


def learning_curve(history: History) -> Figure | None:
    """Training and evaluation returns over environment steps, with what was expected."""
    training = history.over_env_steps(lambda record: record.training_return)
    steps = [one["env_steps"] for one in history.evaluations]
    if not training[0] and not steps:
        return None
    figure, axes = _figure("environment steps", "return of an episode")
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
    """Environment steps and updates a second, over time."""
    return _over_time(
        history,
        "per second",
        [
            ("environment steps", lambda record: record.env_steps_per_s),
            ("updates", lambda record: record.updates_per_s),
        ],
    )


def policy_lag(history: History) -> Figure | None:
    """How many versions old the acting policies were, over time."""
    return _over_time(history, "versions behind", [("mean lag of drawn items", lambda record: record.policy_lag)])


def replay_age(history: History) -> Figure | None:
    """How old the items in the replay are, over time."""
    return _over_time(
        history,
        "seconds",
        [("oldest item", lambda record: record.replay_oldest_s), ("mean age", lambda record: record.replay_age_s)],
    )


def duration_distribution(history: History) -> Figure | None:
    """How long actions lasted: share of each bucket of the actors' histograms."""
    return _bars(history.last.duration_counts if history.last else {}, "duration of an action in seconds", "share of actions")


def lag_distribution(history: History) -> Figure | None:
    """How many versions old the policies behind drawn items were: share of each bucket."""
    return _bars(history.last.lag_counts if history.last else {}, "versions behind", "share of drawn items")


FIGURES: dict[str, tuple[str, Callable[[History], Figure | None]]] = {
    "learning_curve": ("Learning curve", learning_curve),
    "throughput": ("Throughput", throughput),
    "policy_lag": ("Policy lag", policy_lag),
    "lag_distribution": ("Distribution of policy lag", lag_distribution),
    "duration_distribution": ("Distribution of action durations", duration_distribution),
    "replay_age": ("Age of the replay", replay_age),
}
"""File name -> heading and how it is drawn; None where nothing was recorded of it."""


def _figure(x_label: str, y_label: str) -> tuple[Figure, Axes]:
    figure = Figure(figsize=SIZE_INCHES, layout="constrained")
    axes = figure.add_subplot()
    axes.set_xlabel(x_label)
    axes.set_ylabel(y_label)
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(alpha=0.2)
    return figure, axes


def _over_time(history: History, y_label: str, curves: Sequence[tuple[str, Callable[[Progress], float | None]]]) -> Figure | None:
    points = [(label, history.over_minutes(value)) for label, value in curves]
    if not any(at for _, (at, _) in points):
        return None
    figure, axes = _figure("minutes", y_label)
    for (label, (at, value)), colour in zip(points, (FIRST, SECOND, THIRD), strict=False):
        axes.plot(at, value, color=colour, linewidth=1.2, label=label)
    axes.set_ylim(bottom=0)
    axes.legend(frameon=False, fontsize="small")
    return figure


def _bars(counts: dict[str, float], x_label: str, y_label: str) -> Figure | None:
    parts = shares(counts)
    if not parts:
        return None
    figure, axes = _figure(x_label, y_label)
    axes.bar([label for label, _ in parts], [part for _, part in parts], color=FIRST)
    return figure


def _band(mean: Sequence[float], std: Sequence[float]) -> tuple[list[float], list[float]]:
    pairs: list[Any] = list(zip(mean, std, strict=True))
    return [middle - spread for middle, spread in pairs], [middle + spread for middle, spread in pairs]
