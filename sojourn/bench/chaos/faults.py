"""What can go wrong with services and their Redis: each fault is injected once, and healed as far as it does not heal by itself.

Faults block for as long as they last. Nothing but the stage's own processes and files is touched.
"""

import resource
import threading
import time
from pathlib import Path
from typing import Protocol

import numpy as np
import psutil

from replay.client import LearnerConnection
from sojourn.bench.chaos.server import tell_server
from sojourn.bench.chaos.stage import Stage
from sojourn.bench.load.shards import RUN_ID, eventually, resident_bytes
from sojourn.errors import DeadlineError, SojournError

MIB = 1 << 20
KEPT_S = 10.0
FULL_S = 5.0


class Fault(Protocol):
    """inject: it happens.  heal: it is over; returns the moment from which recovery is counted, on the monotonic clock.

    said: what a user sees of it, for the results.  broken: promises that it found broken.
    breaks_sessions: whether the learner has to connect again.  damages: whether rows that are named may be gone.
    """

    said: str
    broken: list[str]
    breaks_sessions: bool
    damages: bool

    def inject(self) -> None: ...

    def heal(self) -> float: ...


class StageFault:
    """A fault on a stage, at random moments of its own generator."""

    breaks_sessions = True
    damages = False

    def __init__(self, stage: Stage, rng: np.random.Generator) -> None:
        self.stage, self.rng = stage, rng
        self.said = ""
        self.broken: list[str] = []
        self.since_s = 0.0

    def heal(self) -> float:
        return self.since_s

    def hold(self, seconds: float) -> None:
        """Let it last."""
        threading.Event().wait(seconds)

    def tier_says(self) -> str:
        """What `sojourn status` shows of the durable tier."""
        try:
            return self.stage.shard.info().durable_tier
        except SojournError as error:
            return str(error)


class KillShard(StageFault):
    """kill -9 of the service's process; its Redis lives on."""

    def inject(self) -> None:
        self.since_s = self.stage.shard.kill()

    def heal(self) -> float:
        self.stage.shard.start()
        return self.since_s


class KillBetweenWriteAndAnswer(StageFault):
    """Redis has written and its answers are kept back: the service dies after the write, before the acknowledgement."""

    def inject(self) -> None:
        self.stage.wire.hold_answers()
        if not self.stage.wire.held.wait(KEPT_S):
            raise DeadlineError(f"Redis answered nothing within {KEPT_S:g} s")
        self.since_s = self.stage.shard.kill()

    def heal(self) -> float:
        self.stage.wire.pass_answers()
        self.stage.shard.start()
        return self.since_s


class KillRedis(StageFault):
    """kill -9 of the embedded server; every second time while it rewrites its append-only file."""

    breaks_sessions = False

    def inject(self) -> None:
        life = self.stage.shard.redis_life()
        assert life is not None
        rewrites = bool(self.rng.integers(2))
        if rewrites:
            tell_server(self.stage.shard.redis_socket, "BGREWRITEAOF")
            self.hold(float(self.rng.uniform(0.0, 0.2)))
        psutil.Process(life.pid).kill()
        self.since_s = time.monotonic()
        self.said = "killed while rewriting" if rewrites else "killed while appending"


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


class RedisOutOfMemory(StageFault):
    """Redis refuses to write for want of memory, for a while; learners go on drawing."""

    breaks_sessions = False
    lasts_s = FULL_S

    def inject(self) -> None:
        socket = self.stage.shard.redis_socket
        self._before = tell_server(socket, "CONFIG", "GET", "maxmemory").split()[-1].decode()
        tell_server(socket, "CONFIG", "SET", "maxmemory", "1")
        eventually(lambda: self.tier_says().startswith("full"), "the service to say that Redis is full")
        self.said = self.tier_says()
        batches = self.stage.drawing.batches
        self.hold(self.lasts_s)
        if self.stage.drawing.batches == batches:
            self.broken.append("no batch was drawn while Redis was full")

    def heal(self) -> float:
        tell_server(self.stage.shard.redis_socket, "CONFIG", "SET", "maxmemory", self._before)
        return time.monotonic()


class DiskFull(StageFault):
    """The append-only file cannot grow any more (RLIMIT_FSIZE on the server's process), for a while."""

    breaks_sessions = False
    lasts_s = FULL_S

    def inject(self) -> None:
        life = self.stage.shard.redis_life()
        assert life is not None
        self._pid = life.pid
        self._before = resource.prlimit(life.pid, resource.RLIMIT_FSIZE)
        size = newest_append_file(self.stage.folder).stat().st_size
        resource.prlimit(life.pid, resource.RLIMIT_FSIZE, (size + 100_000, self._before[1]))
        eventually(lambda: self.tier_says() != "ok", "the service to say that the disk is full")
        self.said = self.tier_says()
        batches = self.stage.drawing.batches
        self.hold(self.lasts_s)
        if self.stage.drawing.batches == batches:
            self.broken.append("no batch was drawn while the disk was full")

    def heal(self) -> float:
        if psutil.pid_exists(self._pid):
            resource.prlimit(self._pid, resource.RLIMIT_FSIZE, self._before)
        return time.monotonic()


class TornFile(StageFault):
    """Everything is killed and the append-only file ends in half an entry, as after a power cut."""

    def inject(self) -> None:
        stop_everything(self.stage)
        self.since_s = time.monotonic()
        with newest_append_file(self.stage.folder).open("ab") as file:
            file.write(b"*3\r\n$3\r\nSET\r\n$9\r\nhalf writ")

    def heal(self) -> float:
        self.stage.shard.start()
        self.since_s = time.monotonic()
        return self.since_s


class CorruptedChunk(StageFault):
    """One byte of a stored chunk is changed in the file while everything is down."""

    damages = True

    def inject(self) -> None:
        stop_everything(self.stage)
        file = newest_append_file(self.stage.folder)
        with file.open("r+b") as body:
            body.seek(int(file.stat().st_size * self.rng.uniform(0.2, 0.8)))
            at = body.tell()
            byte = body.read(1)
            body.seek(at)
            body.write(bytes([byte[0] ^ 0x55]))

    def heal(self) -> float:
        self.stage.shard.start()
        self.since_s = time.monotonic()
        self.stage.shard.until_ready()
        log = (self.stage.folder / "logs" / f"{self.stage.shard.name}.log").read_text(errors="replace")
        named = [line for line in log.splitlines() if "is left out" in line]
        if not named:
            self.broken.append("no damaged chunk was named")
        self.said = named[-1].split("ERROR", 1)[-1].strip() if named else ""
        return self.since_s


class ManyReconnect(StageFault):
    """Every connection of every actor breaks at once."""

    def inject(self) -> None:
        self.stage.wire.cut()
        self.since_s = time.monotonic()

    def heal(self) -> float:
        self.hold(FULL_S)
        latency = self.stage.heard.latency(self.since_s)
        self.said = f"acknowledgements p99 {latency.p99_s:.2f} s"
        if not latency.p99_s < 5.0:
            self.broken.append(f"p99 of acknowledgements was {latency.p99_s:.2f} s")
        return self.since_s


class NeverReads(StageFault):
    """A learner asks for far more than it reads: nothing of what it is sent leaves the wire."""

    breaks_sessions = False
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
        self._greedy.schema(KEPT_S)
        self._greedy.sample(KEPT_S)
        self.stage.wire.pull()
        self.hold(2 * FULL_S)
        growth = resident_bytes(self.stage.shard.pid) - before
        self.said = f"the service grew by {growth / MIB:.0f} MiB"
        if growth > self.most_growth_bytes:
            self.broken.append(self.said)

    def heal(self) -> float:
        self.stage.wire.plug()
        self._greedy.close()
        return self.since_s


class EndShard(StageFault):
    """SIGTERM to the service under load; a new one is started."""

    def inject(self) -> None:
        took_s = self.stage.shard.end()
        self.said = f"drained within {took_s:.1f} s"
        if took_s > 10.0:
            self.broken.append(f"draining took {took_s:.1f} s")
        self.since_s = time.monotonic()

    def heal(self) -> float:
        self.stage.shard.start()
        return self.since_s


def stop_everything(stage: Stage) -> None:
    """kill -9 of the service and of its Redis."""
    stage.shard.kill()
    life = stage.shard.redis_life()
    process = life.process() if life else None
    if process is not None:
        process.kill()
        process.wait(KEPT_S)


def newest_append_file(folder: Path) -> Path:
    """The file that the first shard's Redis appends to."""
    return max((folder / "redis" / "0").rglob("*.incr.aof"), key=lambda file: file.stat().st_mtime)
