"""What must not outlive a run: embedded servers and processes. Ends only what was verified to be this run's."""

from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

from replay.embedded import EmbeddedServer
from sojourn.config import Config

GRACE_S = 2.0


def end_embedded_servers(config: Config, run_folder: Path) -> None:
    """End embedded servers whose shard could not do so itself, and remove their sockets. They lose nothing: restarts read their files."""
    if not (run_folder / "redis").exists():
        return
    for shard in range(config.replay.shards):
        EmbeddedServer(run_folder, shard, appendfsync="no", memory_bytes=0, rewrite_min_bytes=0).stop()


def forget_announcements(run_folder: Path) -> None:
    """What roles announced: their ports may belong to strangers soon."""
    for file in (run_folder / "roles").glob("*.json"):
        file.unlink(missing_ok=True)


@contextmanager
def ending_descendants(shutdown: Callable[[], None]) -> Iterator[None]:
    """Call `shutdown` afterwards; what was started inside, and its children and theirs, is gone then even if it did not obey."""
    before = {process.pid for process in descendants()}
    try:
        yield
    finally:
        ours = [process for process in descendants() if process.pid not in before]
        shutdown()
        end(ours)


def descendants() -> list[psutil.Process]:
    return psutil.Process().children(recursive=True)


def end(processes: Collection[psutil.Process]) -> None:
    """SIGKILL what is still there after GRACE_S. A process id that was given to another process meanwhile is left alone."""
    _, alive = psutil.wait_procs(processes, timeout=GRACE_S)
    for process in alive:
        if process.is_running():
            process.kill()
    psutil.wait_procs(alive, timeout=GRACE_S)
