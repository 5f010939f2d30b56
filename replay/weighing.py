"""How does a learner weigh the batches that it takes? Those of one message together, by what all shards say. May block: see `Weighing`."""

from collections.abc import Callable
from dataclasses import replace

from replay.facts import TableFacts
from replay.rules import reads_start_log
from replay.shards import Composed, Together
from replay.start_summary import Summaries
from replay.weighting import Weigher, Weighted
from sojourn.config.schema import LearnerSettings, TableSettings


class Weighing:
    """Weighs batches in the order in which they are taken. Not thread-safe.

    Invariant: a batch's weights are those that it would have alone, whatever it came with.
    """

    def __init__(
        self,
        settings: TableSettings,
        learner: LearnerSettings,
        total_env_steps: int,
        summaries: Callable[[float], Summaries],
    ) -> None:
        """summaries: what the shards' start logs say, once all have said it; blocks so many seconds at most.

        Raises ConfigError when the table asks for a weighting that is not available.
        """
        self._weigher = Weigher(settings, total_env_steps, learner.ess_floor)
        self._summaries = summaries
        self.reads_start_logs = reads_start_log(settings)
        self._merged: tuple[TableFacts, Summaries, TableFacts] = TableFacts(), (), TableFacts()
        self._weighed: tuple[Together | None, list[Weighted]] = None, []

    @property
    def exponent(self) -> float:
        """What all raw weights are raised to: 1 unless the floor on the effective sample size binds."""
        return self._weigher.exponent

    def weigh(self, composed: Composed, timeout_s: float) -> Weighted:
        """Weigh a batch, and those of its message with it: at once they take little longer than one does alone."""
        together = composed.together
        if together is None or not self._weigher.takes_several:
            return self._weigher.weigh(composed.columns, composed.info, self._facts(composed, timeout_s))
        if self._weighed[0] is not together:
            facts = self._facts(composed, timeout_s)
            self._weighed = together, self._weigher.weigh_several(together.info, facts, together.batches)
        return self._weighed[1][composed.place]

    def _facts(self, composed: Composed, timeout_s: float) -> TableFacts:
        return self._with_start_logs(composed.facts, timeout_s) if self.reads_start_logs else composed.facts

    def _with_start_logs(self, facts: TableFacts, timeout_s: float) -> TableFacts:
        """With what all shards say of their starts, also those that this batch has nothing of: their counts belong together.

        Batches of one message have one answer.
        """
        summaries = self._summaries(timeout_s)
        told, known, merged = self._merged
        if told is not facts or known != summaries:
            merged = replace(facts, start_log=summaries)
            self._merged = facts, summaries, merged
        return merged
