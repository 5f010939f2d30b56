"""The rows of the chaos table: which fault, on which stage, what must hold, how often, and what a user sees of it."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from math import inf
from typing import Protocol

import numpy as np

from sojourn.bench.chaos import faults, network_faults, server_faults, training_faults
from sojourn.bench.chaos.faults import Fault
from sojourn.bench.chaos.lossy import trial_in_a_namespace
from sojourn.bench.chaos.snapshot import Snapshot
from sojourn.bench.chaos.stage import Setting, Stage
from sojourn.bench.chaos.training import TrainingRun
from sojourn.bench.chaos.training_faults import TrainingFault
from sojourn.bench.chaos.trial import Found, measure
from sojourn.config import Config
from sojourn.config.load import load_config

MILLION = 1_000_000
OFTEN, SELDOM = 100, 5
SETTINGS = (
    "tables.replay.limiter.samples_per_insert=null",
    "tables.replay.capacity_steps=1_500_000",
    "learners.batch_size=256",
    "learners.prefetch=2",
    "learners.batches_per_message=1",
)
SCALED = (
    "environment.kwargs={step_s: 0.002}",
    "tables.replay.limiter.samples_per_insert=null",
)  # acknowledgements wait for no learner
SPILLING = ("actors.outage_buffer_bytes=1_000_000", "tables.replay.limiter.samples_per_insert=null")
PPO = (
    "algorithm=ppo",
    "tables.replay.sampler=fifo",
    "tables.replay.consume=true",
    "tables.replay.item=segment",
    "tables.replay.length=16",
    "tables.replay.limiter.min_size=32",
    "tables.replay.limiter.samples_per_insert=null",
)
USUAL = Setting()


Attempt = Callable[[np.random.Generator], Found]
"""One trial, with chance of its own."""
Snapshots = Callable[[Config, int], Snapshot]
"""A snapshot of at least so many steps, made for this configuration when it is first asked for."""


class Row(Protocol):
    """A line of the table. seen: what the user sees.  trials: how many there shall be.  alone: each begins everything anew.

    sampled_within_s: how soon samples must go on; infinite where no time is promised.
    """

    @property
    def name(self) -> str: ...
    @property
    def fault(self) -> str: ...
    @property
    def must_hold(self) -> str: ...
    @property
    def seen(self) -> str: ...
    @property
    def trials(self) -> int: ...
    @property
    def alone(self) -> bool: ...
    @property
    def needs_root(self) -> bool: ...
    @property
    def sampled_within_s(self) -> float: ...

    def opened(self, snapshots: Snapshots, seed: int, most_steps: int) -> AbstractContextManager[Attempt]:
        """Start what the trials need; it ends with the context. most_steps: of the snapshot."""


@dataclass(frozen=True)
class StageRow:
    """A row whose fault meets services with simulated actors."""

    name: str
    fault: str
    must_hold: str
    make: Callable[[Stage, np.random.Generator], Fault]
    seen: str
    setting: Setting = USUAL
    trials: int = SELDOM
    alone: bool = False
    needs_root: bool = False
    sampled_within_s: float = inf

    @contextmanager
    def opened(self, snapshots: Snapshots, seed: int, most_steps: int) -> Iterator[Attempt]:
        config = load_config(None, [*SETTINGS, f"actors.replicas={self.setting.actors}"])
        snapshot = snapshots(config, min(self.setting.steps, most_steps))
        with Stage(config, self.setting, snapshot, seed) as stage:
            yield lambda rng: measure(stage, self.make(stage, rng), rng)


@dataclass(frozen=True)
class TrainingRow:
    """A row whose fault meets a real training run."""

    name: str
    fault: str
    must_hold: str
    inject: TrainingFault
    seen: str
    overrides: tuple[str, ...] = ()
    singly: bool = False
    trials: int = SELDOM
    alone: bool = False
    needs_root: bool = False
    sampled_within_s: float = inf

    @contextmanager
    def opened(self, snapshots: Snapshots, seed: int, most_steps: int) -> Iterator[Attempt]:
        with TrainingRun(self.overrides, singly=self.singly) as run:
            yield lambda rng: self.inject(run)


@dataclass(frozen=True)
class LossyRow:
    """The row whose network loses packets: every trial is a process in a namespace of its own."""

    name: str = "network-loss"
    fault: str = "5 % of all packets lost, in both directions"
    must_hold: str = "0 lost, inserts and samples go on"
    seen: str = "higher acknowledgement times"
    trials: int = SELDOM
    alone: bool = False
    needs_root: bool = True
    sampled_within_s: float = inf

    @contextmanager
    def opened(self, snapshots: Snapshots, seed: int, most_steps: int) -> Iterator[Attempt]:
        config = load_config(None, [*SETTINGS, f"actors.replicas={USUAL.actors}"])
        snapshot = snapshots(config, min(USUAL.steps, most_steps))
        yield lambda rng: trial_in_a_namespace(snapshot, int(rng.integers(1 << 30)))


_ROWS: tuple[Row, ...] = (
    StageRow(
        "kill-shard",
        "kill -9 of a replay shard",
        "0 lost, 0 doubled; samples again within 5 s at 1,000,000 steps",
        faults.KillShard,
        "actors keep acting and buffer; the learner waits; `sojourn status` shows the shard recovering",
        Setting(steps=MILLION),
        OFTEN,
        sampled_within_s=5.0,
    ),
    StageRow(
        "kill-before-acknowledgement",
        "kill -9 of a shard after its write, before its acknowledgement",
        "the resend is recognised: 0 lost, 0 doubled",
        faults.KillBetweenWriteAndAnswer,
        'as above; the duplicate is counted in `sojourn_replay_inserts{outcome="duplicate"}` or never sent',
        Setting(steps=MILLION, wire="redis"),
        OFTEN,
    ),
    StageRow(
        "kill-redis",
        "kill -9 of Redis at level `process`, at random moments, also while it rewrites its file",
        "0 lost, 0 doubled; the service waits and goes on",
        faults.KillRedis,
        "inserts pause; samples go on; the log says that the server was started again",
    ),
    StageRow(
        "network-cut",
        "no network for 30 s",
        "0 lost, recovers alone",
        network_faults.PulledCable,
        "actors buffer; inserts and samples wait; everybody connects again",
        Setting(wire="clients"),
    ),
    StageRow(
        "network-slow",
        "200 ms more for each round trip",
        "0 lost, inserts and samples go on",
        network_faults.SlowNetwork,
        "higher acknowledgement times",
        Setting(wire="clients"),
    ),
    LossyRow(),
    StageRow(
        "redis-out-of-memory",
        "Redis out of memory",
        "inserts wait with the reason, samples go on, 0 lost",
        server_faults.RedisOutOfMemory,
        "`sojourn status` shows the reason",
    ),
    StageRow(
        "disk-full",
        "no room on Redis's disk",
        "inserts wait with the reason, samples go on, 0 lost",
        server_faults.DiskFull,
        "`sojourn status` shows the reason",
    ),
    StageRow(
        "torn-file",
        "append-only file ends in half an entry",
        "the rest is served, 0 lost",
        server_faults.TornFile,
        "Redis's log names the place where the file was cut off",
    ),
    StageRow(
        "corrupted-chunk",
        "a byte of a stored chunk is changed",
        "found by checksum, named by key, left out; the rest is served",
        server_faults.CorruptedChunk,
        "the log names the chunk's key",
        alone=True,
    ),
    StageRow(
        "500-reconnect",
        "500 actors reconnect at once",
        "no failure, acknowledgements p99 under 5 s",
        network_faults.ManyReconnect,
        "nothing",
        Setting(actors=500, mean_duration_s=0.05, wire="clients"),
    ),
    StageRow(
        "never-reads",
        "a client that never reads",
        "memory within budget",
        network_faults.NeverReads,
        "nothing",
        Setting(wire="aside"),
    ),
    StageRow(
        "term-shard",
        "SIGTERM to a replay shard",
        "drained within 10 s, 0 lost",
        faults.EndShard,
        "actors buffer until it is back",
    ),
    TrainingRow(
        "kill-actor",
        "kill -9 of an actor of `sojourn train`",
        "0 lost; replaced within 10 s",
        training_faults.kill_actor,
        "one line in the log; the others go on",
    ),
    TrainingRow(
        "kill-learner",
        "kill -9 of the learner of `sojourn train`",
        "0 lost; replaced within 10 s; goes on from its last checkpoint; actors never stop",
        training_faults.kill_learner,
        "one line in the log; learner steps since the last checkpoint are made again",
    ),
    TrainingRow(
        "kill-learner-with-leases",
        "kill -9 of a learner between a FIFO draw and its checkpoint",
        "the leased batch is delivered again",
        training_faults.kill_learner_with_leases,
        "`sojourn_replay_redelivered_items` counts them",
        overrides=PPO,
    ),
    TrainingRow(
        "kill-spilling-actor",
        "kill -9 of an actor with a spill file",
        "the spill arrives once: 0 lost, 0 doubled",
        training_faults.kill_spilling_actor,
        "RUN/spill/ holds a file until the actor's next life has delivered it",
        overrides=SPILLING,
        singly=True,
        alone=True,
    ),
    TrainingRow(
        "corrupted-spill",
        "a byte of a spill file is changed",
        "found by checksum, put aside; the rest arrives once",
        training_faults.damage_spill,
        "the log names the file",
        overrides=SPILLING,
        singly=True,
        alone=True,
    ),
    TrainingRow(
        "kill-everything",
        "kill -9 of everything, then `sojourn resume`",
        "0 lost, counters go on",
        training_faults.kill_everything,
        "`sojourn resume` goes on where the last acknowledgement was",
        alone=True,
    ),
    TrainingRow(
        "scale-actors",
        "1 to 8 to 2 actors",
        "0 lost, 0 doubled, seeds unique",
        training_faults.scale_actors,
        "`sojourn scale actors=8`",
        overrides=SCALED,
        alone=True,
    ),
    TrainingRow(
        "scale-shards",
        "1 to 4 to 2 replay shards",
        "0 lost, 0 doubled, seeds unique",
        training_faults.scale_shards,
        "`sojourn scale replay=4`; no actor or learner stops",
        overrides=(*SCALED, "actors.replicas=8"),
        alone=True,
    ),
    *(
        TrainingRow(
            f"term-{role}",
            f"SIGTERM to {what}",
            "drained within 10 s, 0 lost",
            training_faults.end_role(f"{role}-0"),
            "nothing is lost; its successor goes on",
            singly=True,
        )
        for role, what in (("actor", "an actor"), ("learner", "the learner"), ("parameters", "the parameter service"))
    ),
)
ROWS: dict[str, Row] = {row.name: row for row in _ROWS}
QUICK = ("kill-shard", "kill-before-acknowledgement")
