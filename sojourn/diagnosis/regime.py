"""How does a run collect, what is lost on the way, and which setting would lose nothing or weigh it back? Pure.

From the configuration where it says so, from counts where only they show it (windows, crashes). docs/duration.md has the theory.
"""

from dataclasses import dataclass

from sojourn.config import Config
from sojourn.config.tables import TableSettings
from sojourn.diagnosis.evidence import Evidence
from sojourn.monitor import DurationRecord

LOST = 0.01  # of all starts: crashes and aborts below this are accidents
CLOSED_BY_COUNT = 0.05  # variance over mean of results in a window, below which their number seems to close it


@dataclass(frozen=True)
class Regime:
    """One way to collect.

    name: one word or two.  says: what it does to actions.  loses: whether actions can be lost by how long they take.
    keep: what to set so that nothing is lost, "" where nothing is.  rule: `duration.rule` under which inclusion weighs back what is lost, "" where no
    weight can.
    """

    name: str
    says: str
    loses: bool = False
    keep: str = ""
    rule: str = "auto"


def regime_of(config: Config, record: DurationRecord, evidence: Evidence) -> Regime:
    """The regime that loses most, or the table's own."""
    name = config.learners.table
    table = config.tables[name]
    if record.facts.get("windows", 0.0) > 0:
        return _windows(table, record)
    if evidence.lost > LOST:
        return _censoring(evidence) if evidence.cut > evidence.failed else _failures(evidence)
    return _table_regime(name, table)


def _windows(table: TableSettings, record: DurationRecord) -> Regime:
    dispersion = record.facts.get("window_dispersion")
    if dispersion is not None and dispersion < CLOSED_BY_COUNT:
        return Regime(
            "first of many",
            "windows hold nearly the same number of results each: the first ones close a round and the others are lost",
            True,
            "carry unfinished actions over into the next round instead of aborting them",
            "",
        )
    rule = "episode_window" if table.duration.rule == "episode_window" else "window"
    return Regime(
        "windows",
        "what is unfinished when a collection window ends is lost",
        True,
        "carry unfinished actions over the end of the window",
        rule,
    )


def _censoring(evidence: Evidence) -> Regime:
    return Regime(
        "censoring",
        f"{evidence.lost:.1%} of all starts end without a result, most of them crashed or aborted, long ones more often",
        True,
        "find in RUN/logs why they end, and let them end by environment.step_timeout_s, which delivers them",
        "censoring",
    )


def _failures(evidence: Evidence) -> Regime:
    return Regime(
        "failures",
        f"{evidence.failed:.1%} of all starts fail (the environment raises, or returns NaN or another shape) and are not learned from",
        True,
        "let the environment return a failed attempt as a result, with its reward and terminated; RUN/logs say what it raised",
        "",
    )


def _table_regime(name: str, table: TableSettings) -> Regime:
    if table.max_staleness is not None and table.on_stale == "drop":
        gate = ", or gate (starts wait)" if table.sampler == "fifo" else ""
        return Regime(
            "staleness drop",
            f"results more than {_versions(table.max_staleness)} old are dropped, slow actions first",
            True,
            f"tables.{name}.on_stale=none (late results are learned from, with their lag){gate}",
        )
    if table.remover == "start_age":
        return Regime(
            "start age",
            f"items leave {table.horizon_s:g} s after their action began, so slow ones stay for less",
            True,
            f"tables.{name}.remover=fifo and no horizon_s",
        )
    if table.remover == "version_age":
        return Regime(
            "version age",
            f"items leave when their policy is more than {_versions(table.horizon_versions or 0)} old, so slow ones stay for less",
            True,
            f"tables.{name}.remover=fifo and no horizon_versions",
        )
    if table.remover == "lowest_priority":
        return Regime(
            "lowest priority",
            "items of lowest priority leave first, which no weight can make up for",
            True,
            f"tables.{name}.remover=fifo",
            "",
        )
    return _lossless(table)


def _lossless(table: TableSettings) -> Regime:
    if table.sampler == "fifo":
        gate = f", behind a gate of {_versions(table.max_staleness)}" if table.max_staleness is not None else ""
        return Regime("FIFO", f"a queue in order of {table.order}{gate}: every result is handed out once, nothing is lost")
    ring = "prioritised ring" if table.sampler == "prioritised" else "ring"
    return Regime(ring, f"each item stays for {table.capacity_steps:,} insertions whatever its duration: nothing is lost")


def _versions(number: int) -> str:
    return "1 version" if number == 1 else f"{number} versions"
