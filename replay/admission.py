"""Which gates does a shard have, and what do they say to an actor? The service's side of admission; see replay/gate.py for the rule.

No I/O, no clock. Counts come from heartbeats, rows from the store.
"""

from replay.answers import Stream
from replay.client_records import Counts
from replay.gate import Gate, row_giving
from replay.store import Store
from sojourn.config import Config


class Admission:
    """The gates of all tables with `max_staleness` and `on_stale: gate`. An actor may start what all of them admit."""

    def __init__(self, config: Config) -> None:
        learners, shards = config.learners, config.replay.shards
        batch = learners.batch_size * learners.replicas / shards
        self._gates = {
            name: Gate(table.max_staleness, batch * table.steps_per_item)
            for name, table in config.tables.items()
            if table.max_staleness is not None and table.on_stale == "gate"
        }
        self._steps_per_item = {name: config.tables[name].steps_per_item for name in self._gates}
        self._rows: dict[Stream, int] = {}

    @property
    def gated(self) -> bool:
        return bool(self._gates)

    def inserted(self, stream: Stream, steps: int) -> None:
        """Rows of a life were accepted."""
        if self._gates:
            self._rows[stream] = self._rows.get(stream, 0) + steps

    def left(self, stream: Stream) -> None:
        """The actor's heartbeats have ended."""
        for gate in self._gates.values():
            gate.left(stream)

    def closed(self, stream: Stream) -> None:
        """The life is over."""
        self._rows.pop(stream, None)
        self.left(stream)

    def learner_began(self) -> None:
        for gate in self._gates.values():
            gate.learner_began()

    def learner_reported(self, store: Store, table: str, learner_step: int) -> None:
        """A learner that draws from this table has done so many updates."""
        if table in self._gates:
            waiting = store.items(table) * self._steps_per_item[table]
            self._gates[table].learner_reported(learner_step, self._accepted(store, table) - waiting)

    def grant(self, store: Store, stream: Stream, counts: Counts, lanes: int, all_arrived: bool) -> int:
        """Take a report; actions that the life may start from now on.

        all_arrived: every message with rows of the counted actions has been taken in, so that what is missing was refused.
        """
        if stream not in self._rows:  # a life that this service did not see begin
            self._rows[stream] = row_giving(counts)
        on_the_way = 0 if all_arrived else max(0, row_giving(counts) - self._rows[stream])
        return min(
            gate.grant(stream, counts, lanes, on_the_way, self._accepted(store, name)) for name, gate in self._gates.items()
        )

    def _accepted(self, store: Store, table: str) -> float:
        return store.env_steps - store.lost_items(table) * self._steps_per_item[table]
