"""Where do the events of a process go? One line each, to standard error or to a file. Metrics count; logs tell."""

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

LINE = "%(asctime)s %(levelname)s %(name)s: %(message)s"


def log_to_stderr() -> None:
    """Events of all rooms, for a process that runs one role."""
    _take(logging.StreamHandler(sys.stderr))


@contextmanager
def log_to(file: Path) -> Iterator[None]:
    """Events of all rooms into a file, for a process whose terminal shows something else."""
    file.parent.mkdir(parents=True, exist_ok=True)
    writer = logging.FileHandler(file)
    rooms, propagated = logging.getLogger("sojourn"), logging.getLogger("sojourn").propagate
    _take(writer)
    try:
        yield
    finally:
        rooms.removeHandler(writer)
        rooms.propagate = propagated
        writer.close()


def _take(receiver: logging.Handler) -> None:
    receiver.setFormatter(logging.Formatter(LINE))
    rooms = logging.getLogger("sojourn")
    rooms.addHandler(receiver)
    rooms.setLevel(logging.INFO)
    rooms.propagate = False
