"""What must not outlive a run: embedded servers and processes. Ends only what was verified to be this run's."""

import os
import shutil
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil

from replay.embedded import EmbeddedServer

GRACE_S = 2.0


def end_embedded_servers(run_folder: Path) -> None:
    """End embedded servers whose shard could not do so itself, and remove their sockets. They lose nothing: restarts read their files."""
    for shard in sorted({int(file.stem) for file in (run_folder / "redis").glob("*.lock")}):
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


def end_users_of(folder: Path, deadline_s: float) -> None:
    """End processes that write to files below a private folder, giving them time to leave by themselves; then remove the folder."""
    end(list(users_of(folder)), deadline_s)
    shutil.rmtree(folder, ignore_errors=True)


def users_of(folder: Path) -> Iterator[psutil.Process]:
    """This user's processes that have a file below it open for writing."""
    for process in psutil.process_iter():
        try:
            if process.uids().real == os.getuid() and any(_writes_below(file, folder) for file in process.open_files()):
                yield process
        except psutil.Error:
            continue  # it has just ended, or is not ours to look at


def _writes_below(file: Any, folder: Path) -> bool:
    return getattr(file, "mode", "w") != "r" and Path(file.path).is_relative_to(folder)


def descendants() -> list[psutil.Process]:
    return psutil.Process().children(recursive=True)


def end(processes: Collection[psutil.Process], grace_s: float = GRACE_S) -> None:
    """SIGKILL what is still there after `grace_s`. A process id that was given to another process meanwhile is left alone."""
    _, alive = psutil.wait_procs(processes, timeout=grace_s)
    for process in alive:
        if process.is_running():
            process.kill()
    psutil.wait_procs(alive, timeout=GRACE_S)
