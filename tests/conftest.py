"""What every test may rely on."""

import logging
from collections.abc import Iterator

import pytest


@pytest.fixture(autouse=True)
def logging_as_it_was() -> Iterator[None]:
    """A role that a test ran in this process has taken over the log of all rooms; the next test gets it back."""
    rooms = logging.getLogger("sojourn")
    before = (rooms.handlers[:], rooms.level, rooms.propagate)
    yield
    rooms.handlers[:], rooms.level, rooms.propagate = before
