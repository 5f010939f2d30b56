"""What can go wrong with a stage's Redis and its files: no memory, no room, half an entry, a changed byte.

Faults block for as long as they last. Files are damaged while everything is down.
"""

import resource
import time
from pathlib import Path

import psutil

from sojourn.bench.chaos.faults import StageFault
from sojourn.bench.chaos.server import tell_server
from sojourn.bench.chaos.stage import Stage
from sojourn.bench.load.shards import eventually

FULL_S = 5.0
DEAD_S = 60.0


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


def stop_everything(stage: Stage) -> None:
    """kill -9 of the service and of its Redis."""
    stage.shard.kill()
    life = stage.shard.redis_life()
    process = life.process() if life else None
    if process is not None:
        process.kill()
        process.wait(DEAD_S)


def newest_append_file(folder: Path) -> Path:
    """The file that the first shard's Redis appends to."""
    return max((folder / "redis" / "0").rglob("*.incr.aof"), key=lambda file: file.stat().st_mtime)
