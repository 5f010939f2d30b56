"""Replay shards as processes of this machine, as a launcher starts them: started, found ready, killed, ended, started again.

Starts `python -m replay` and nothing else; blocks until the shard answers.
"""

import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import psutil

from replay.client import ServiceInfo, service_info
from replay.embedded import EmbeddedServer, ServerLife, read_life, socket_path
from sojourn.config import Config
from sojourn.config.load import dump_config
from sojourn.errors import DeadlineError, SojournError, UnavailableError
from sojourn.roles import announced

RUN_ID = "bench"
READY_S = 60.0
END_S = 12.0
LOOK_S = 0.01  # how often it is looked at what nobody announces
INFO_S = 2.0


def eventually(holds: Callable[[], bool], what: str, deadline_s: float = READY_S) -> None:
    """Wait until the condition holds. Raises DeadlineError that says what was waited for."""
    until_s, pause = time.monotonic() + deadline_s, threading.Event()
    while not holds():
        if time.monotonic() > until_s:
            raise DeadlineError(f"waited {deadline_s:g} s for {what}")
        pause.wait(LOOK_S)


class ShardProcess:
    """One shard over several lives of its process, on one run folder, whose config.yaml it reads."""

    def __init__(self, folder: Path, index: int = 0, listen: str = "127.0.0.1:0") -> None:
        self.folder, self.index = folder, index
        self._listen = listen
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def name(self) -> str:
        return f"replay-{self.index}"

    def start(self) -> None:
        """Begin a life; `until_ready` waits for it."""
        logs = self.folder / "logs"
        logs.mkdir(parents=True, exist_ok=True)
        arguments = ["--run-folder", str(self.folder), "--run-id", RUN_ID, "--index", str(self.index), "--listen", self._listen]
        with (logs / f"{self.name}.log").open("ab") as log:
            self._process = subprocess.Popen([sys.executable, "-m", "replay", *arguments], stdout=log, stderr=log)

    def until_ready(self, deadline_s: float = READY_S) -> None:
        """Until this life has read everything back. Raises UnavailableError with its last words if it ends instead."""
        eventually(self._is_ready, f"{self.name} to be ready", deadline_s)

    def _is_ready(self) -> bool:
        if self._process is not None and self._process.poll() is not None:
            raise UnavailableError(f"{self.name} has ended with {self._process.returncode}: {self.last_words()}")
        try:
            return announced(self.folder, self.name).pid == self.pid and not self.info().recovering
        except SojournError:
            return False

    def last_words(self) -> str:
        lines = (self.folder / "logs" / f"{self.name}.log").read_text(errors="replace").strip().splitlines()
        return " | ".join(lines[-2:]) or "none"

    @property
    def pid(self) -> int:
        return self._process.pid if self._process else 0

    def address(self) -> str:
        """Where the living process listens. Raises UnavailableError while there is none."""
        said = announced(self.folder, self.name)
        if self._process is None or said.pid != self._process.pid:
            raise UnavailableError(f"{self.name} is starting")
        return said.address

    def info(self) -> ServiceInfo:
        return service_info(self.address, INFO_S)

    def kill(self) -> float:
        """kill -9. Returns when it was dead, on the monotonic clock."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
        return time.monotonic()

    def end(self) -> float:
        """SIGTERM, as at the end of a run. Returns how long it took; killed if that is over `END_S`. Its own Redis ends with it."""
        began_s = time.monotonic()
        if self._process is not None and self._process.poll() is None:
            self._process.terminate()
            try:
                self._process.wait(END_S)
            except subprocess.TimeoutExpired:
                self.kill()
        return time.monotonic() - began_s

    def resident_bytes(self) -> int:
        """Of the service's process, 0 if it is dead."""
        return resident_bytes(self.pid)

    @property
    def redis_socket(self) -> Path:
        return socket_path(self.folder, f"valkey-{self.index}.sock")

    def redis_life(self) -> ServerLife | None:
        """Its embedded server, if it has ever started one."""
        return read_life(self.folder / "redis" / f"{self.index}.json")

    def end_redis(self) -> None:
        """End an embedded server that a killed shard left behind."""
        EmbeddedServer(self.folder, self.index, appendfsync="no", memory_bytes=1 << 30, rewrite_min_bytes=1 << 30).stop()


def resident_bytes(pid: int) -> int:
    try:
        return int(psutil.Process(pid).memory_info().rss) if pid else 0
    except psutil.NoSuchProcess:
        return 0


class Shards:
    """All shards of a run. Use it as a context: they start together, and nothing of them is left at its end."""

    def __init__(self, folder: Path, config: Config, listen: str = "127.0.0.1:0") -> None:
        self.folder, self.config = folder, config
        self.each = [ShardProcess(folder, index, listen) for index in range(config.replay.shards)]

    def __enter__(self) -> "Shards":
        self.folder.mkdir(parents=True, exist_ok=True)
        (self.folder / "config.yaml").write_text(dump_config(self.config))
        try:
            for shard in self.each:
                shard.start()
            for shard in self.each:
                shard.until_ready()
        except SojournError:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        for shard in self.each:
            shard.end()
            shard.end_redis()

    def env_steps(self) -> int:
        return sum(shard.info().env_steps for shard in self.each)

    def redis_bytes(self) -> int:
        """Resident bytes of the embedded servers."""
        lives = [shard.redis_life() for shard in self.each]
        return sum(resident_bytes(life.pid) for life in lives if life and life.process())
