"""What do a run's counts prove? Gaps of durations and labels before and after weighting, and what became of all starts. Pure.

Random numbers only simulate chance, from a fixed seed: equal records give equal verdicts.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from sojourn.config import Config
from sojourn.diagnosis.gap import Gap, gap
from sojourn.durations import BUCKETS, LABEL_KINDS, LABELS
from sojourn.monitor import DurationRecord

SEED = 7
LEAK_ALARM = 9.0  # three standard errors, squared: at most one clean run in 370
CUT = ("aborted", "crashed")  # by something other than the environment


@dataclass(frozen=True)
class Shares:
    """One law in three states, and their gaps. expected, collected, weighted: float64[C], of sum 1, or 0 where there is nothing.

    collected: as it was learned from, priorities taken out.  weighted: with the factors of duration and pool.
    """

    expected: np.ndarray
    collected: np.ndarray
    weighted: np.ndarray
    before: Gap
    after: Gap


@dataclass(frozen=True)
class Evidence:
    """What is known of a run.

    durations: None where either side has nothing.  labels: by kind, of those that there are.
    actions: learned from.  started: known to the service.
    in_flight: running now.  failed, cut, killed: shares of the starts; the first two have no row.
    leak: the score's statistic, NaN without one.  action_gap: of a discrete action given the state, NaN.
    ess_share: of the latest batch.  capped, repaired: shares of the items learned from.
    """

    durations: Shares | None
    labels: Mapping[str, Shares]
    actions: float
    started: float
    in_flight: float
    oldest_s: float
    failed: float
    cut: float
    killed: float
    leak: float
    action_gap: float
    ess_share: float
    capped: float
    repaired: float
    weight_error: float
    exponent: float

    @property
    def laws(self) -> dict[str, Shares]:
        """Every law that is known, durations first."""
        durations = {} if self.durations is None else {"durations": self.durations}
        return {**durations, **{f"{kind}s": shares for kind, shares in self.labels.items()}}

    @property
    def lost(self) -> float:
        """Share of the starts that ended without a row."""
        return self.failed + self.cut

    @property
    def leaks(self) -> bool:
        """Whether consumed actions differ from what the policy chose, beyond chance."""
        return self.leak > LEAK_ALARM


def evidence_of(record: DurationRecord, config: Config) -> Evidence:
    """Reckon everything from one record."""
    facts = record.facts
    buckets = {name: as_array(counts, BUCKETS) for name, counts in record.buckets.items()}
    started = facts.get("started", 0.0)
    actions, items = buckets["actions"].sum(), max(1.0, facts.get("sampled_items", 0.0))
    compare = _Comparison(record, config, actions)
    found = {kind: compare.labels(kind) for kind in LABEL_KINDS}
    return Evidence(
        durations=compare.durations(buckets),
        labels={kind: shares for kind, shares in found.items() if shares is not None},
        actions=float(actions),
        started=started,
        in_flight=facts.get("running", 0.0),
        oldest_s=facts.get("oldest_action_s", 0.0),
        failed=facts.get("ended_failed", 0.0) / max(1.0, started),
        cut=sum(facts.get(f"ended_{kind}", 0.0) for kind in CUT) / max(1.0, started),
        killed=facts.get("ended_killed", 0.0) / max(1.0, started),
        leak=facts.get("score_leak", math.nan),
        action_gap=facts.get("action_gap", math.nan),
        ess_share=facts.get("ess_share", 1.0),
        capped=facts.get("weights_capped", 0.0) / items,
        repaired=facts.get("weights_repaired", 0.0) / items,
        weight_error=facts.get("weight_error", 0.0),
        exponent=facts.get("weight_exponent", 1.0),
    )


class _Comparison:
    """How far chance reaches in this run."""

    def __init__(self, record: DurationRecord, config: Config, actions: float) -> None:
        facts, table = record.facts, config.tables[config.learners.table]
        self._record = record
        self._rng = np.random.default_rng(SEED)
        self._error = facts.get("weight_error", 0.0)
        self._together = max(1.0, actions / max(1.0, facts.get("sampled_items", 0.0)))
        queued = facts.get("prefetched_batches", 0.0) * config.learners.batch_size
        waiting, running = facts.get("items", 0.0), facts.get("running", 0.0)
        started = max(1.0, facts.get("started", 0.0))
        self._lost = sum(facts.get(f"ended_{kind}", 0.0) for kind in ("failed", *CUT)) / started
        once = table.sampler == "fifo"
        self._drawn_from = math.inf if once else started
        self._unsettled = (running + waiting + queued) / started if once else running / (waiting or started)

    def durations(self, buckets: Mapping[str, np.ndarray]) -> Shares | None:
        squares = buckets["collected_squares"], buckets["weighted_squares"]
        return self._shares(buckets["expected"], buckets["collected"], buckets["weighted"], squares, self._unsettled)

    def labels(self, kind: str) -> Shares | None:
        """Squares of labels are not counted: they are taken as those of all actions together. What was lost has no label."""
        counts = {name: as_array(of_kind.get(kind, {}), LABELS) for name, of_kind in self._record.labels.items()}
        squares = []
        for name in ("collected", "weighted"):
            everything = sum(self._record.buckets.get(f"{name}_squares", {}).values())
            squares.append(_law(counts[name]) * everything)
        unsettled = self._unsettled + self._lost
        return self._shares(counts["expected"], counts["collected"], counts["weighted"], (squares[0], squares[1]), unsettled)

    def _shares(
        self,
        expected: np.ndarray,
        collected: np.ndarray,
        weighted: np.ndarray,
        squares: tuple[np.ndarray, np.ndarray],
        unsettled: float,
    ) -> Shares | None:
        common = {"drawn_from": self._drawn_from, "together": self._together, "unsettled": unsettled}
        before = gap(expected, collected, squares[0], self._rng, **common)
        after = gap(expected, weighted, squares[1], self._rng, error=self._error, **common)
        if before is None or after is None:
            return None
        return Shares(_law(expected), _law(collected), _law(weighted), before, after)


def as_array(counts: Mapping[str, float], names: tuple[str, ...]) -> np.ndarray:
    """Counts by name in the order of the names, 0 where there is none: float64[names]."""
    return np.array([counts.get(name, 0.0) for name in names])


def _law(counts: np.ndarray) -> np.ndarray:
    total = counts.sum()
    law: np.ndarray = counts / total if total > 0.0 else counts
    return law
