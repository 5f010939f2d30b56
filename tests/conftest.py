"""What every test finds as it was: the loggers of all rooms."""

import logging
from collections.abc import Iterator

import pytest


@pytest.fixture(autouse=True)
def rooms_log_as_before() -> Iterator[None]:
    """A role that a test runs inside this process sends its events to that test's standard error, which is closed afterwards."""
    rooms = logging.getLogger("sojourn")
    handlers, level, propagate = list(rooms.handlers), rooms.level, rooms.propagate
    yield
    for handler in set(rooms.handlers) - set(handlers):
        rooms.removeHandler(handler)
    rooms.setLevel(level)
    rooms.propagate = propagate
