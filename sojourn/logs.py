"""Where do the events of a process go? One line each, to standard error or to a file. Metrics count; logs tell."""

import logging
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

LINE = "%(asctime)s %(levelname)s %(name)s: %(message)s"


def log_to_stderr() -> None:
    """Events of all rooms, for a process that runs one role."""
    _take(logging.StreamHandler(sys.stderr))


@contextmanager
def log_to(file: Path) -> Iterator[None]:
    """Events of all rooms into a file, for a process whose terminal shows something else."""
    file.parent.mkdir(parents=True, exist_ok=True)
    writer = _File(file)
    rooms, propagated = logging.getLogger("sojourn"), logging.getLogger("sojourn").propagate
    _take(writer)
    before, threading.excepthook = threading.excepthook, _thread_failed
    try:
        yield
    finally:
        threading.excepthook = before
        rooms.removeHandler(writer)
        rooms.propagate = propagated
        with suppress(OSError):  # a full disk: the line that did not fit is lost
            writer.close()


class _File(logging.FileHandler):
    """A full disk loses lines of the log; it prints no stack trace for each."""

    def handleError(self, record: logging.LogRecord) -> None:
        return None


def _thread_failed(failure: threading.ExceptHookArgs) -> None:
    """A thread of a library ended with an error (TensorBoard's writer, on a full disk): an event, not a stack trace on the terminal."""
    name = failure.thread.name if failure.thread else "?"
    logging.getLogger("sojourn").error("thread %s ended: %s: %s", name, failure.exc_type.__name__, failure.exc_value)


def _take(receiver: logging.Handler) -> None:
    receiver.setFormatter(logging.Formatter(LINE))
    rooms = logging.getLogger("sojourn")
    rooms.addHandler(receiver)
    rooms.setLevel(logging.INFO)
    rooms.propagate = False
