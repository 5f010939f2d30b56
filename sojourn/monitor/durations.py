"""What do durations do to what is learned? One record of what was started, what was learned from and how it was weighted. Pure.

The line of duration.jsonl. Sums are over all lives of the roles, those of earlier launches of the run as well: what a role that has ended
said last still counts. What the replay service keeps through its own restarts (starts, ends) is what it says now.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from sojourn.monitor.scrape import Reading
from sojourn.monitor.sums import Readings, highest, total

EXPECTED = "sojourn_replay_expected_actions"
LEARNED = (
    "actions",
    "collected",
    "collected_squares",
    "weighted",
    "weighted_squares",
    "measured",
    "lag_versions",
    "reward",
    "td_error",
    "clipped_ratio",
)
"""By bucket: `sojourn_learner_bucket_<name>`."""

LABELLED = {
    "expected": "sojourn_replay_expected_labels",
    "collected": "sojourn_learner_label_collected_total",
    "weighted": "sojourn_learner_label_weighted_total",
}
SUMMED = {
    "started": "sojourn_replay_actions_started",
    "running": "sojourn_replay_running_actions",
    "windows": "sojourn_replay_windows",
    "prefetched_batches": "sojourn_learner_prefetched_batches",
}
COUNTED = {
    "weights_capped": "sojourn_learner_weights_capped_total",
    "weights_repaired": "sojourn_learner_weights_repaired_total",
    "sampled_items": "sojourn_learner_sampled_items_total",
}
OF_TABLE = {
    "items": "sojourn_replay_items",
    "leased_items": "sojourn_replay_leased_items",
    "late_items": "sojourn_replay_late_items",
    "expired_items": "sojourn_replay_expired_items",
    "evicted_items": "sojourn_replay_evicted_items",
}
HIGHEST = {
    "oldest_action_s": "sojourn_replay_oldest_action_seconds",
    "window_dispersion": "sojourn_replay_window_dispersion",
    "ess_share": "sojourn_learner_weight_ess_share",
    "weight_exponent": "sojourn_learner_weight_exponent",
    "weight_error": "sojourn_learner_weight_error",
    "score_leak": "sojourn_learner_score_leak",
    "action_gap": "sojourn_learner_action_gap",
}
ENDED = "sojourn_replay_actions_ended"
CLASS_ITEMS = "sojourn_replay_class_items"


@dataclass(frozen=True)
class DurationRecord:
    """One record of duration.jsonl.

    time_s: Unix time.  elapsed_s: since this launch of the run.
    buckets: sums by quantity (`expected` and LEARNED) and bucket of duration; buckets of 0 are left out.
    labels: sums by quantity (LABELLED), kind of label and label.
    facts: further numbers by the names of SUMMED, COUNTED, OF_TABLE, HIGHEST and `ended_<kind>`; what nobody says is left out.
    classes: what became of the table's items (came, lost, undrawn), by pool and speed class.
    """

    time_s: float
    elapsed_s: float
    buckets: dict[str, dict[str, float]] = field(default_factory=dict)
    labels: dict[str, dict[str, dict[str, float]]] = field(default_factory=dict)
    facts: dict[str, float] = field(default_factory=dict)
    classes: list[dict[str, Any]] = field(default_factory=list)

    @classmethod
    def from_json(cls, fields: dict[str, Any]) -> "DurationRecord":
        """Inverse of `dataclasses.asdict`. Raises TypeError for another record."""
        return cls(**fields)


class DurationReckoner:
    """Remembers what each life of a replay shard or learner said last."""

    def __init__(self, table: str, before: DurationRecord | None = None) -> None:
        """table: the one that learners draw from.  before: the last record of the run's earlier launches."""
        self._table = table
        self._before = before or DurationRecord(0.0, 0.0)
        self._lives: dict[tuple[str, int, float], Reading] = {}
        self._latest: dict[str, Reading] = {}

    def heard(self, readings: Readings) -> None:
        """Take note of a scrape."""
        for name, reading in readings.items():
            if reading.samples and name.startswith(("replay-", "learner-")):
                self._lives[(name, *reading.life)] = reading
                self._latest[name] = reading

    def record(self, time_s: float, elapsed_s: float) -> DurationRecord:
        """What is known now."""
        before, buckets = self._before, {"expected": self._by_label(EXPECTED)}
        for name in LEARNED:
            suffix = "" if name == "reward" else "_total"  # rewards can be negative, so their sum is no counter
            buckets[name] = self._by_label(f"sojourn_learner_bucket_{name}{suffix}")
        buckets = {name: _added(before.buckets.get(name, {}), counts) for name, counts in buckets.items()}
        labels = {name: self._by_kind(series) for name, series in LABELLED.items()}
        for name, kinds in labels.items():
            earlier = before.labels.get(name, {})
            labels[name] = {kind: _added(earlier.get(kind, {}), kinds.get(kind, {})) for kind in earlier | kinds}
        return DurationRecord(time_s, elapsed_s, buckets, labels, self._facts(), self._classes())

    def _by_label(self, series: str) -> dict[str, float]:
        sums: dict[str, float] = {}
        for reading in self._lives.values():
            for sample in reading.samples:
                if sample.name == series and sample.value:
                    bucket = sample.labels["bucket"]
                    sums[bucket] = sums.get(bucket, 0.0) + sample.value
        return sums

    def _by_kind(self, series: str) -> dict[str, dict[str, float]]:
        sums: dict[str, dict[str, float]] = {}
        for reading in self._lives.values():
            for sample in reading.samples:
                if sample.name == series and sample.value:
                    of_kind = sums.setdefault(sample.labels["kind"], {})
                    of_kind[sample.labels["label"]] = of_kind.get(sample.labels["label"], 0.0) + sample.value
        return sums

    def _classes(self) -> list[dict[str, Any]]:
        sums: dict[tuple[str, str], dict[str, Any]] = {}
        for reading in self._latest.values():
            for sample in reading.samples:
                if sample.name == CLASS_ITEMS and sample.labels["table"] == self._table:
                    pool, speed_class, fate = (sample.labels[name] for name in ("pool", "speed_class", "fate"))
                    of_class = sums.setdefault((pool, speed_class), {"pool": pool, "speed_class": speed_class})
                    of_class[fate] = of_class.get(fate, 0.0) + sample.value
        return [sums[key] for key in sorted(sums)]

    def _facts(self) -> dict[str, float]:
        latest, table = self._latest, {"table": self._table}
        found = {name: total(latest, series) for name, series in SUMMED.items()}
        found |= {name: self._counted(name, series) for name, series in COUNTED.items()}
        found |= {name: total(latest, series, **table) for name, series in OF_TABLE.items()}
        found |= {name: highest(latest, series) for name, series in HIGHEST.items()}
        kinds = {sample.labels["kind"] for one in latest.values() for sample in one.samples if sample.name == ENDED}
        found |= {f"ended_{kind}": total(latest, ENDED, kind=kind) for kind in sorted(kinds)}
        return {name: value for name, value in found.items() if value is not None}

    def _counted(self, name: str, series: str) -> float | None:
        """A counter over all lives; None if nobody has ever said it."""
        lives = [total({role: reading}, series) for (role, *_), reading in self._lives.items()]
        said = [count for count in (self._before.facts.get(name), *lives) if count is not None]
        return sum(said) if said else None


def _added(first: Mapping[str, float], second: Mapping[str, float]) -> dict[str, float]:
    """Sums by key."""
    return {key: first.get(key, 0.0) + second.get(key, 0.0) for key in {**first, **second}}
