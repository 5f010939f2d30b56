"""Is there a bias, how large, and which setting mends it? From a record of durations and the run's configuration. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from sojourn.config import Config
from sojourn.diagnosis.evidence import LEAK_ALARM, Evidence, Shares, evidence_of
from sojourn.diagnosis.gap import FEWEST, SMALL, Gap
from sojourn.diagnosis.regime import Regime, regime_of
from sojourn.diagnosis.remarks import remarks_on
from sojourn.diagnosis.remedies import changes_for
from sojourn.monitor import DurationRecord


class Verdict(StrEnum):
    """clean: nothing to repair.  repaired: weights make up for what is lost.  biased: they do not, or they make the bias."""

    UNKNOWN = "unknown"
    CLEAN = "clean"
    REPAIRED = "repaired"
    BIASED = "biased"


@dataclass(frozen=True)
class Diagnosis:
    """What a doctor finds.

    because: the figures of the verdict in a sentence.  changes: what to set, best first; empty where nothing is wrong.
    remarks: further sentences.
    """

    record: DurationRecord
    regime: Regime
    evidence: Evidence
    verdict: Verdict
    because: str
    changes: Sequence[str] = ()
    remarks: Sequence[str] = ()


def diagnose(record: DurationRecord, config: Config) -> Diagnosis:
    """The verdict on one record."""
    evidence = evidence_of(record, config)
    regime = regime_of(config, record, evidence)
    verdict, because = _verdict(evidence)
    changes = changes_for(config, regime, evidence) if verdict is Verdict.BIASED else ()
    return Diagnosis(record, regime, evidence, verdict, because, changes, remarks_on(config, record, evidence))


def _verdict(evidence: Evidence) -> tuple[Verdict, str]:
    laws = evidence.laws
    if not laws or min(evidence.actions, evidence.started) < FEWEST:
        known = f"{evidence.actions:,.0f} actions were learned from, {evidence.started:,.0f} started"
        return Verdict.UNKNOWN, f"{known}: {FEWEST} of each are needed to say anything"
    name, shares = _worst(laws, after=True)
    if shares.after.matters:
        return Verdict.BIASED, _told(name, shares.after)
    if evidence.leaks and not evidence.action_gap < SMALL:
        return Verdict.BIASED, _leak(evidence)
    changed, other = _worst(laws, after=False)
    if other.before.matters:
        return Verdict.REPAIRED, f"{_told(changed, other.before)}; after weighting {other.after.distance:.3f}"
    return Verdict.CLEAN, _told(name, shares.after)


def _worst(laws: dict[str, Shares], *, after: bool) -> tuple[str, Shares]:
    """The law whose gap is most alarming, the durations' if none is."""

    def alarm(law: tuple[str, Shares]) -> tuple[bool, float]:
        gap = law[1].after if after else law[1].before
        return (gap.matters, gap.distance if gap.matters else 0.0)

    return max(laws.items(), key=alarm)


def _told(name: str, gap: Gap) -> str:
    towards = (
        ("too many quick actions, " if gap.quicker else "too many slow actions, ") if gap.matters and name == "durations" else ""
    )
    chance = f"chance {gap.chance_mean:.3f} +- {gap.chance_sd:.3f}, p {'<' if gap.p_value < 0.001 else '='} {max(gap.p_value, 0.001):.3f}"
    return f"{towards}{name} started and learned from differ by {gap.distance:.3f} (total variation; {chance})"


def _leak(evidence: Evidence) -> str:
    gap = f" by {evidence.action_gap:.3f} (total variation)" if evidence.action_gap == evidence.action_gap else ""
    return f"actions differ from what the policy chose{gap}: score leak {evidence.leak:.0f}, alarm from {LEAK_ALARM:.0f}"
