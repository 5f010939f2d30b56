"""What can go wrong between clients and a stage's shard: nothing arrives, it arrives late, everybody comes at once, somebody never reads.

Faults block for as long as they last.
"""

import time

from replay.client import LearnerConnection
from sojourn.bench.chaos.faults import StageFault
from sojourn.bench.load.shards import RUN_ID, resident_bytes

MIB = 1 << 20
MOST_P99_S = 5.0
DRAWN_S = 10.0


class PulledCable(StageFault):
    """Nothing arrives in either direction for half a minute; connections are not told."""

    cut_s = 30.0

    def inject(self) -> None:
        self.stage.wire.pull()
        self.hold(self.cut_s)

    def heal(self) -> float:
        self.stage.wire.plug()
        return time.monotonic()


class SlowNetwork(StageFault):
    """200 ms more for every round trip, for ten seconds."""

    breaks_sessions = False
    delay_s = 0.1
    lasts_s = 10.0

    def inject(self) -> None:
        self.since_s = time.monotonic()
        self.stage.wire.delay_s = self.delay_s
        self.hold(self.lasts_s)
        self.said = f"acknowledgements take {1e3 * self.stage.heard.latency(self.since_s + 1.0).p50_s:.0f} ms (p50)"

    def heal(self) -> float:
        self.stage.wire.delay_s = 0.0
        return self.since_s


class ManyReconnect(StageFault):
    """Every connection of every actor breaks at once."""

    lasts_s = 5.0

    def inject(self) -> None:
        self.stage.wire.cut()
        self.since_s = time.monotonic()

    def heal(self) -> float:
        self.hold(self.lasts_s)
        latency = self.stage.heard.latency(self.since_s)
        self.said = f"acknowledgements p99 {latency.p99_s:.2f} s"
        if not latency.p99_s < MOST_P99_S:
            self.broken.append(f"p99 of acknowledgements was {latency.p99_s:.2f} s")
        return self.since_s


class NeverReads(StageFault):
    """A learner asks for far more than it reads: nothing of what it is sent leaves the wire."""

    breaks_sessions = False
    lasts_s = 10.0
    most_growth_bytes = 256 * MIB
    batches = 20_000

    def inject(self) -> None:
        config = self.stage.config
        greedy = config.learners.model_copy(update={"prefetch": self.batches, "batches_per_message": 64})
        before = resident_bytes(self.stage.shard.pid)
        self.since_s = time.monotonic()
        self._greedy = LearnerConnection(
            [self.stage.wire.address],
            run_id=RUN_ID,
            client_id="learner-greedy",
            table=config.learners.table,
            table_settings=config.tables[config.learners.table],
            learner=greedy,
            total_env_steps=config.run.env_steps,
        )
        self._greedy.schema(DRAWN_S)
        self._greedy.sample(DRAWN_S)
        self.stage.wire.pull()
        self.hold(self.lasts_s)
        growth = resident_bytes(self.stage.shard.pid) - before
        self.said = f"the service grew by {growth / MIB:.0f} MiB"
        if growth > self.most_growth_bytes:
            self.broken.append(self.said)

    def heal(self) -> float:
        self.stage.wire.plug()
        self._greedy.close()
        return self.since_s
