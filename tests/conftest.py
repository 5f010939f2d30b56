"""What every test may rely on."""

import logging
from collections.abc import Iterator

import pytest

LONGEST_FIRST = (
    "test_launcher_runs.py",
    "test_duration_rows.py",
    "test_doctor.py",
    "test_pendulum.py",
    "test_chaos_trials.py",
    "test_launcher_cluster.py",
    "test_walk.py",
    "test_learning_again.py",
    "test_service_durability.py",
    "test_actor_asynchronous.py",
    "test_actor_services.py",
    "test_duration_learning.py",
    "test_whole_line.py",
    "test_service_exactly_once.py",
    "test_learner_role.py",
    "test_examples_run.py",
    "test_metrics_scrape.py",
    "test_wire_fuzz.py",
    "test_duration_price.py",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files that take long come first: then no process is left with one when the others have nothing more to do."""
    place = {name: number for number, name in enumerate(LONGEST_FIRST)}
    items.sort(key=lambda item: place.get(item.path.name, len(place)))


@pytest.fixture(autouse=True)
def logging_as_it_was() -> Iterator[None]:
    """A role that a test ran in this process has taken over the log of all rooms; the next test gets it back."""
    rooms = logging.getLogger("sojourn")
    before = (rooms.handlers[:], rooms.level, rooms.propagate)
    yield
    rooms.handlers[:], rooms.level, rooms.propagate = before
