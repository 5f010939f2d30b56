"""One shard's state: store, fences, clients, durable tier, counters, and who waits for what of it.

No network of its own. Invariant: one event loop alone touches it, so it needs no locks; every await is a point where others go on.
"""

import math
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from replay.admission import Admission
from replay.answers import Appended, Stream
from replay.arrow import SYSTEM_COLUMNS, stored_columns
from replay.client_records import ClientRecords, Counts, Running
from replay.expectation import Expectation
from replay.fences import Fences
from replay.holdings import Holdings
from replay.rows import Rows
from replay.rules import reads_start_log, rule_of
from replay.start_log import StartLog
from replay.start_order import StartOrder
from replay.store import Store
from replay.summaries import Summaries
from replay.tier import DurableTier, Standing
from replay.wakeups import Wakeups
from sojourn.columns import Schema
from sojourn.config import Config
from sojourn.errors import ConfigError, UnavailableError, ValidationError
from sojourn.metrics import Metrics
from sojourn.seeds import lane_seed

if TYPE_CHECKING:
    from replay.archiver import Archiver

TOTALS = "#totals"
"""Fence field that holds the shard's counts at the latest commit; no client id begins with #."""
DURABLE_SPARE = 1.1  # chunks that are only partly live, over the bytes of a full table


@dataclass(frozen=True)
class Clock:
    """now_s: monotonic.  unix_s: the wall clock, for what must make sense to a later life of the service."""

    now_s: Callable[[], float] = time.monotonic
    unix_s: Callable[[], float] = time.time


@dataclass
class ShardCounts:
    """What the shard has counted over all its lives.

    retired: it takes no new lives of actors.  residence_s: how old its items become since it is retired, by table.
    """

    duplicates: int = 0
    refused: int = 0
    message_gaps: int = 0
    fenced: int = 0
    learner_step: int = 0
    retired: bool = False
    residence_s: dict[str, float] = field(default_factory=dict)


@dataclass
class Waits:
    """Cumulative seconds, by table, that inserts and samplers waited in this life."""

    insert_s: dict[str, float] = field(default_factory=lambda: defaultdict(float))
    sample_s: dict[str, float] = field(default_factory=lambda: defaultdict(float))


class Shard:
    """Everything that the calls of one replay service share.

    samplers, inserters: those who wait for rows or credits, and for room.
    lives: who each life of an actor said it is, JSON of `Identity` by `field_of(stream)`; empty at level `memory`.
    estimates: whether any table's weight is estimated from the start log.
    tier: None at level `memory`.  archiver: None but with `lineage: full`.  recovering: what is being read back, "" once it is served.
    """

    def __init__(self, config: Config, *, run_id: str, index: int, incarnation: int, metrics: Metrics, clock: Clock) -> None:
        self.config = config
        self.run_id = run_id
        self.index = index
        self.incarnation = incarnation
        self.metrics = metrics
        self.clock = clock
        self.born_s = clock.now_s()
        self.schema: Schema | None = None
        self.store: Store | None = None
        self.tier: DurableTier | None = None
        self.archiver: Archiver | None = None
        self.fences = Fences()
        self.clients = ClientRecords()
        self.lives: dict[str, str] = {}
        self.counts = ShardCounts()
        self.waits = Waits()
        self.samplers = Wakeups()
        self.inserters = Wakeups()
        self.holdings = Holdings()
        self.starts = StartLog(simulated=config.duration.clock == "env")
        self.expectation = Expectation(config.tables[config.learners.table])
        self.admission = Admission(config)
        self.start_order = StartOrder(strict=self.admission.gated)
        self.estimates = any(map(reads_start_log, config.tables.values()))
        self._summaries: Summaries | None = None
        self.corrupted: list[str] = []
        self._in_start_order = any(table.order == "start" for table in config.tables.values())
        self.recovering = "loading compiled kernels"

    def serving_store(self) -> Store:
        """The store. Raises UnavailableError while there is none."""
        self.require_recovered()
        if self.store is None:
            raise UnavailableError("no actor has said hello yet, so there is no schema and no table")
        return self.store

    def require_recovered(self) -> None:
        if self.recovering:
            raise UnavailableError(f"recovering: {self.recovering}")

    def install(self, schema: Schema, store: Store) -> None:
        self.schema, self.store = schema, store
        self.starts.tally.task_column = schema.task_column
        self._summaries = Summaries(self.starts, store.versions, self.config.duration.pool_shares, self.incarnation)
        self.samplers.notify()

    def make_store(self, schema: Schema) -> Store:
        """Build tables for a schema. Raises ConfigError when they do not fit into their byte budgets."""
        config = self.config
        bytes_per_row = row_bytes(schema)
        if config.replay.durability != "memory":
            check_durable_budget(config, bytes_per_row)
        return Store(
            schema,
            config.tables,
            seed=lane_seed(config.run.seed, "replay", self.index, 0, 0),
            batch_size=config.learners.batch_size,
            batches_per_message=config.learners.batches_per_message,
        )

    def standing(self, written: Mapping[Stream, int]) -> Standing:
        """What a server that lost something is told. written: last messages that lie there all the same, or are written with this."""
        texts = self.fences.durable_texts(written)
        if self.store is not None:
            texts[TOTALS] = Totals.of(self.store).to_text()
        return Standing(self.schema.to_json() if self.schema else b"", texts, self.lives)

    def fence_texts(self, streams: set[Stream], ahead: "Totals") -> dict[str, str]:
        """Fences of these streams and the totals, as the durable tier keeps them."""
        return {**self.fences.to_texts(streams), TOTALS: ahead.to_text()}

    @contextmanager
    def counted(self, call: str) -> Iterator[None]:
        """Count an open stream of this call."""
        gauge = self.metrics.gauge("sojourn_replay_streams").labels(call)
        gauge.inc()
        try:
            yield
        finally:
            gauge.dec()

    def start_credits(self, stream: Stream, counts: Counts, lanes: int, counted_at_message: int) -> int:
        """What the gates grant a life that has just reported: actions that it may start; -1 where there is no gate.

        counted_at_message: number of the last message with rows of the counted actions.
        """
        if self.store is None or not self.admission.gated:
            return -1
        all_arrived = self.fences[stream].stored >= counted_at_message
        return self.admission.grant(self.store, stream, counts, lanes, all_arrived)

    def heartbeat(self, stream: Stream, counts: Counts, running: Sequence[Running], report_age_s: float) -> None:
        """Take a client's report, put down so long ago, and hold back what tables in start order must not hand out yet."""
        now_s = self.clock.now_s()
        self.clients.heartbeat(*stream, counts, running, now_s)
        self.starts.reported(stream, counts, running, now_s)
        if self.store is not None:
            self.store.versions.learn(max((action.policy_version for action in running), default=0), now_s)
        if self.store is not None and self._in_start_order:
            self.start_order.reported(stream, running, now_s, report_age_s)
            self.store.hold_starts_after(self.start_order.known_until_s)
            self.samplers.notify()

    def learner_reported(self, learner_step: int, policy_version: int = 0, table: str = "") -> None:
        """How far a learner is, which version it has published, and the table that it draws from."""
        self.counts.learner_step = max(self.counts.learner_step, learner_step)
        if self.store is not None:
            self.store.versions.learn(policy_version, self.clock.now_s())
            self.admission.learner_reported(self.store, table, learner_step)

    def append(
        self, store: Store, rows: Rows, stream: Stream, now_s: float, held_s: float, first_row: int | None = None
    ) -> Appended:
        """Store rows, and log their starts."""
        beside = self.starts.arrived(stream, rows, now_s - held_s, now_s)
        self.admission.inserted(stream, rows.steps)
        return store.append(rows, stream, now_s, held_s=held_s, first_row=first_row, beside=beside)

    def close_stream(self, store: Store, stream: Stream, now_s: float) -> Appended:
        """A life is over: its lanes are cut, and what it ran has crashed."""
        self.starts.closed(stream)
        self.admission.closed(stream)
        self.start_order.closed(stream)
        if self._in_start_order:
            store.hold_starts_after(self.start_order.known_until_s)
            self.samplers.notify()
        return store.close_stream(stream, now_s)

    def end_window(self, pool: str, ago_s: float) -> int:
        """A pool's collection window ended so long ago. Returns its number. Raises ValidationError for what is no age."""
        if not 0.0 <= ago_s < math.inf:
            raise ValidationError(f"a window ended some seconds ago, got ago_s {ago_s}")
        return self.starts.end_window(pool, self.clock.now_s() - ago_s)

    def note_fates(self) -> None:
        """Tell the start log what became of items since it was told before."""
        if self.store is not None:
            self.starts.became(self.store.take_fates())

    def start_summary(self, table: str, now_s: float) -> tuple[int, bytes]:
        """Number and JSON of what the table's weight needs of the start log; 0 and empty if nothing."""
        settings = self.config.tables[table]
        if self._summaries is None or not reads_start_log(settings):
            return 0, b""
        return self._summaries.of(rule_of(settings).name, settings.duration.weight == "pool", now_s)

    def insert_waited(self, table: str, waited_s: float) -> None:
        self.waits.insert_s[table] += waited_s
        self.metrics.counter("sojourn_replay_insert_wait_seconds").labels(table).inc(waited_s)

    def sample_waited(self, table: str, waited_s: float) -> None:
        self.waits.sample_s[table] += waited_s
        self.metrics.counter("sojourn_replay_sample_wait_seconds").labels(table).inc(waited_s)

    def take_freed(self) -> list[int]:
        """Chunks of which nothing is held any more; the next commit deletes them."""
        if self.store is not None:
            self.holdings.free(self.store.take_freed_chunks())
        freed = self.holdings.take_freed()
        if self.archiver is not None:
            freed, kept = self.archiver.deletable(freed)
            self.holdings.put_back(kept)
        return freed

    @property
    def over_budget(self) -> bool:
        """Whether the chunks that are needed take more than `replay.redis_memory_bytes`."""
        return self.holdings.bytes > self.config.replay.redis_memory_bytes

    def tier_blocks(self) -> bool:
        """Whether inserts wait for the durable tier."""
        return self.tier_status() not in ("ok", "none")

    def tier_status(self) -> str:
        """ "ok", "down: reason", "full: reason" or "none"."""
        if self.tier is not None and self.over_budget:
            return f"full: chunks take {self.holdings.bytes} of {self.config.replay.redis_memory_bytes} bytes (replay.redis_memory_bytes)"
        if self.archiver is not None and self.archiver.status != "ok":
            return f"full: {self.archiver.status}"
        return "none" if self.tier is None else self.tier.status


@dataclass(frozen=True)
class Totals:
    """Counts that outlive the rows they count: number of the next row, accepted steps, ends of episodes and truncations."""

    next_row: int
    env_steps: int
    episodes: int

    @classmethod
    def of(cls, store: Store) -> "Totals":
        return cls(store.next_row_number, store.env_steps, store.episodes)

    def plus(self, rows: int, steps: int, episodes: int) -> "Totals":
        return Totals(self.next_row + rows, self.env_steps + steps, self.episodes + episodes)

    def to_text(self) -> str:
        return f"{self.next_row} {self.env_steps} {self.episodes}"

    @classmethod
    def from_text(cls, text: str) -> "Totals":
        return cls(*map(int, text.split()))


def row_bytes(schema: Schema) -> int:
    """Bytes of one row in a chunk, ragged columns at their longest."""
    return sum(column.row_bytes for column in (*SYSTEM_COLUMNS, *stored_columns(schema)))


def table_bytes(config: Config, bytes_per_row: int) -> int:
    """Bytes of the chunks of full tables, about."""
    rows = max(table.capacity_steps for table in config.tables.values())
    return int(rows * bytes_per_row * DURABLE_SPARE)


def check_durable_budget(config: Config, bytes_per_row: int) -> None:
    """Raise ConfigError when the chunks of full tables would not fit into the durable tier's budget."""
    needed, budget = table_bytes(config, bytes_per_row), config.replay.redis_memory_bytes
    if needed > budget:
        raise ConfigError(
            f"a full table of {bytes_per_row} bytes a step needs {needed} bytes in Redis, replay.redis_memory_bytes is {budget}: "
            "raise it, lower tables.*.capacity_steps, or set replay.durability: memory"
        )
