"""How does a doctor say what he found? Lines of plain text: the verdict, what to change, and the figures behind them. Pure."""

from collections.abc import Iterator, Sequence

import numpy as np

from sojourn.diagnosis.classes import ClassFate, class_fates
from sojourn.diagnosis.doctor import Diagnosis, Verdict
from sojourn.diagnosis.evidence import LEAK_ALARM, Evidence, Shares, as_array
from sojourn.durations import BUCKETS, LABELS
from sojourn.monitor import DurationRecord
from sojourn.readable import seconds

SAID = {
    Verdict.UNKNOWN: "TOO EARLY to say",
    Verdict.CLEAN: "CLEAN",
    Verdict.REPAIRED: "REPAIRED by weighting",
    Verdict.BIASED: "BIASED",
}
NOTHING_YET = "unknown: nothing was learned from yet"
CLASS_COLUMNS = ("items", "lost", "undrawn")
COLUMNS = ("started", "learned", "weighted", "lag", "ratio", "reward", "TD error")


def told(diagnosis: Diagnosis) -> Iterator[str]:
    """Everything, a line at a time."""
    evidence = diagnosis.evidence
    yield _line("regime", f"{diagnosis.regime.name}: {diagnosis.regime.says}")
    yield _line("verdict", f"{SAID[diagnosis.verdict]}: {diagnosis.because}")
    for change in diagnosis.changes:
        yield _line("change", change)
    for remark in diagnosis.remarks:
        yield _line("note", remark)
    yield ""
    yield from _facts(evidence)
    if evidence.durations is not None:
        yield ""
        yield from _durations(diagnosis.record, evidence.durations)
    for kind, shares in evidence.labels.items():
        yield ""
        yield from _labels(kind, shares)
    classes = class_fates(diagnosis.record)
    if len(classes) > 1:
        yield ""
        yield from _classes(classes)


def _line(name: str, text: str) -> str:
    return f"{name:<10} {text}"


def _facts(evidence: Evidence) -> Iterator[str]:
    running = f"{evidence.in_flight:,.0f} in flight (oldest {seconds(evidence.oldest_s)})"
    censored = evidence.lost + evidence.in_flight / max(1.0, evidence.started)
    ends = f"censored {censored:.1%}, of which lost {evidence.lost:.1%}   killed {evidence.killed:.1%}"
    yield _line("starts", f"{evidence.started:,.0f}   {running}   {ends}")
    weights = f"ESS {evidence.ess_share:.0%} of a batch   cut {evidence.capped:.1%}   repaired {evidence.repaired:.1%}"
    yield _line("weights", f"{weights}   standard error {evidence.weight_error:.1%}   power {evidence.exponent:.2f}")
    for name, shares in evidence.laws.items():
        before, after = shares.before, shares.after
        chance = f"chance {after.chance_mean:.3f} +- {after.chance_sd:.3f}"
        yield _line("gap", f"{name} {before.distance:.3f} before weighting, {after.distance:.3f} after   {chance}")
    yield _line("states", _state_gap(evidence))
    yield _line("actions", _action_gap(evidence))


def _state_gap(evidence: Evidence) -> str:
    """The gap of states, which labels of tasks show."""
    state = evidence.labels.get("task")
    if state is not None:
        return f"gap {state.after.distance:.3f} (tasks, after weighting)"
    return "unknown: no column of tasks" if evidence.actions else NOTHING_YET


def _action_gap(evidence: Evidence) -> str:
    """The gap of actions given the state, which the mean score shows."""
    if not evidence.actions:
        return NOTHING_YET
    if evidence.leak != evidence.leak:
        return "given the state: unknown, this algorithm has no policy gradient on stored actions"
    gap = "" if evidence.action_gap != evidence.action_gap else f"gap {evidence.action_gap:.3f} given the state   "
    return f"{gap}score leak {evidence.leak:.1f} (chance 1, alarm from {LEAK_ALARM:.0f})"


def _durations(record: DurationRecord, shares: Shares) -> Iterator[str]:
    yield f"{'duration':<12}" + "".join(f"{name:>10}" for name in COLUMNS)
    means = means_by_bucket(record)
    for place in np.flatnonzero((shares.expected > 0.0) | (shares.collected > 0.0)):
        parts = "".join(f"{share[place]:>10.1%}" for share in (shares.expected, shares.collected, shares.weighted))
        numbers = "".join(f"{'-' if np.isnan(mean[place]) else format(mean[place], '.3g'):>10}" for mean in means.values())
        yield f"{_bucket(int(place)):<12}{parts}{numbers}"


def means_by_bucket(record: DurationRecord) -> dict[str, np.ndarray]:
    """Mean lag, clipped ratio, reward and TD error of the actions in each bucket, NaN where none was measured: float64[buckets]."""
    counts = as_array(record.buckets.get("measured", {}), BUCKETS)
    sums = {name: record.buckets.get(name, {}) for name in ("lag_versions", "clipped_ratio", "reward", "td_error")}
    with np.errstate(invalid="ignore", divide="ignore"):
        means = {name: as_array(sums[name], BUCKETS) / counts for name in sums}
    if not sums["clipped_ratio"]:
        means["clipped_ratio"] = np.full(len(BUCKETS), np.nan)
    return means


def _bucket(place: int) -> str:
    return f"over {BUCKETS[place - 1]} s" if place == len(BUCKETS) - 1 else f"to {BUCKETS[place]} s"


def _labels(kind: str, shares: Shares) -> Iterator[str]:
    yield f"{kind:<12}" + "".join(f"{name:>10}" for name in COLUMNS[:3])
    for place in np.flatnonzero((shares.expected > 0.0) | (shares.collected > 0.0)):
        parts = "".join(f"{share[place]:>10.1%}" for share in (shares.expected, shares.collected, shares.weighted))
        yield f"{LABELS[place]:<12}{parts}"


def _classes(fates: Sequence[ClassFate]) -> Iterator[str]:
    yield f"{'actors':<22}" + "".join(f"{name:>10}" for name in CLASS_COLUMNS)
    for fate in fates:
        yield f"{fate.name:<22}{fate.came:>10,.0f}{fate.lost:>10.1%}{fate.undrawn:>10.1%}"
