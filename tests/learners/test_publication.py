"""When a policy goes out, through the real parameter service, and under which version."""

import threading

import pytest

from learners.publication import Publication
from sojourn.algorithms import build_policy
from sojourn.errors import UnavailableError
from sojourn.metrics import Metrics
from sojourn.parameters.client import Publisher
from tests.waiting import DEADLINE_S, eventually


class Door:
    """The service's address, once it is opened."""

    def __init__(self, address) -> None:
        self._address, self.open = address, threading.Event()

    def __call__(self) -> str:
        if not self.open.is_set():
            raise UnavailableError("not yet")
        return self._address()


@pytest.fixture
def policy(make_config, schema):
    return build_policy(make_config(), schema)


@pytest.fixture
def world(make_run):
    """(run, its door, publisher through the door)"""
    run = make_run()
    door = Door(run.parameters)
    publisher = Publisher(door, run_id="run", client_id="learner-0")
    yield run, door, publisher
    publisher.close()


def test_while_the_service_is_away_one_snapshot_waits_and_the_newest_follows(world, policy):
    run, door, publisher = world
    publication = Publication(publisher, "sac", every_s=0.0, metrics=Metrics("learner"))
    publication.publish(policy, 0, 0, trained=False)
    assert not publication.due(5)
    door.open.set()
    eventually(lambda: publication.due(5))
    assert not publication.due(0)  # nothing new
    publication.publish(policy, 5, 60, trained=True)
    publication.flush(deadline_s=DEADLINE_S)
    assert publication.take_versions() == ((0, 1), (5, 2))
    assert publication.take_versions() == ()
    assert publication.version == 2
    latest = eventually(lambda: (snapshot := run.watcher.latest()) and snapshot.policy_version == 2 and snapshot)
    assert (latest.learner_step, latest.env_steps, latest.algorithm) == (5, 60, "sac")


def test_it_is_not_due_before_its_time(world, policy):
    _, door, publisher = world
    door.open.set()
    now_s = 100.0
    metrics = Metrics("learner")
    publication = Publication(publisher, "sac", every_s=2.0, metrics=metrics, version=7, clock=lambda: now_s)
    assert publication.version == 7  # of a checkpoint
    publication.publish(policy, 0, 0, trained=False)
    publication.flush(deadline_s=DEADLINE_S)
    now_s = 101.9
    assert not publication.due(1)
    now_s = 102.0
    assert publication.due(1)
    assert metrics.registry.get_sample_value("sojourn_learner_publications_total") == 1


def test_a_service_that_stays_away_costs_the_deadline_and_no_error(world, policy):
    _, _, publisher = world
    publication = Publication(publisher, "sac", every_s=0.0, metrics=Metrics("learner"))
    publication.publish(policy, 3, 0, trained=True)
    publication.flush(deadline_s=0.05)
    assert publication.take_versions() == ()
