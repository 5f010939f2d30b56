"""The rows of the chaos table: which fault, on which stage, what must hold, how often, and what a user sees of it."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from sojourn.bench.chaos import faults
from sojourn.bench.chaos.faults import Fault
from sojourn.bench.chaos.stage import Setting, Stage

MILLION = 1_000_000
OFTEN, SELDOM = 100, 5
USUAL = Setting()


@dataclass(frozen=True)
class StageRow:
    """A row whose fault meets services with simulated actors.

    seen: what the user sees.  alone: every trial has a stage of its own, because the fault leaves damage behind.
    """

    name: str
    fault: str
    must_hold: str
    make: Callable[[Stage, np.random.Generator], Fault]
    seen: str
    setting: Setting = USUAL
    trials: int = SELDOM
    alone: bool = False


_ROWS: tuple[StageRow, ...] = (
    StageRow(
        "kill-shard",
        "kill -9 of a replay shard",
        "0 lost, 0 doubled; samples again within 5 s at 1,000,000 steps",
        faults.KillShard,
        "actors keep acting and buffer; the learner waits; `sojourn status` shows the shard recovering",
        Setting(steps=MILLION),
        OFTEN,
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
        faults.PulledCable,
        "actors buffer; inserts and samples wait; everybody connects again",
        Setting(wire="clients"),
    ),
    StageRow(
        "network-slow",
        "200 ms more for each round trip",
        "0 lost, inserts and samples go on",
        faults.SlowNetwork,
        "higher acknowledgement times",
        Setting(wire="clients"),
    ),
    StageRow(
        "redis-out-of-memory",
        "Redis out of memory",
        "inserts wait with the reason, samples go on, 0 lost",
        faults.RedisOutOfMemory,
        "`sojourn status` shows the reason",
    ),
    StageRow(
        "disk-full",
        "no room on Redis's disk",
        "inserts wait with the reason, samples go on, 0 lost",
        faults.DiskFull,
        "`sojourn status` shows the reason",
    ),
    StageRow(
        "torn-file",
        "append-only file ends in half an entry",
        "the rest is served, 0 lost",
        faults.TornFile,
        "Redis's log names the place where the file was cut off",
    ),
    StageRow(
        "corrupted-chunk",
        "a byte of a stored chunk is changed",
        "found by checksum, named by key, left out; the rest is served",
        faults.CorruptedChunk,
        "the log names the chunk's key",
        alone=True,
    ),
    StageRow(
        "500-reconnect",
        "500 actors reconnect at once",
        "no failure, acknowledgements p99 under 5 s",
        faults.ManyReconnect,
        "nothing",
        Setting(actors=500, mean_duration_s=0.05, wire="clients"),
    ),
    StageRow(
        "never-reads",
        "a client that never reads",
        "memory within budget",
        faults.NeverReads,
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
)
ROWS = {row.name: row for row in _ROWS}
QUICK = ("kill-shard", "kill-before-acknowledgement")
