"""Is every step stored once, and drawn again, when a service is killed under load and a new life of it reads its Redis?"""

import itertools
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest

from sojourn.config.load import dump_config
from sojourn.experience import Segment
from sojourn.metrics import Metrics
from tests.replay_client.outage import Stepping
from tests.waiting import DEADLINE_S, eventually

SEGMENTS_AFTER = 100  # that are inserted once the service is dead


@pytest.fixture
def killable(make_service: Any):
    """A service whose first life is a process of its own; the later ones run here, as always."""
    tables = {"replay": {"capacity_steps": 1 << 18, "limiter": {"samples_per_insert": None, "min_size": 1}}}
    service = make_service(started=False, replay={"durability": "process", "insert_window": 4}, tables=tables)
    (service.folder / "config.yaml").write_text(dump_config(service.config))
    arguments = ["--run-folder", str(service.folder), "--run-id", "run", "--index", str(service.index)]
    process = subprocess.Popen([sys.executable, "-m", "replay", *arguments])
    eventually(service.answers)
    yield service, process
    if process.poll() is None:
        process.kill()
    process.wait()


def test_every_step_is_stored_once_after_kill_9(
    killable: tuple[Any, subprocess.Popen[bytes]], make_segment: Callable[..., Segment]
):
    service, process = killable
    actor = service.actor(fleet={"flush_bytes": 1_024, "flush_age_s": 0.01}, buffer_bytes=1 << 16)
    dead, steps = threading.Event(), itertools.count(0, 8)

    def numbers() -> Iterator[int]:
        """While it lives, and some more."""
        while not dead.is_set():
            yield next(steps)
        yield from itertools.islice(steps, SEGMENTS_AFTER)

    stepping = Stepping(actor, partial(make_segment, 0), numbers())
    eventually(lambda: actor.pace().env_steps >= 800)
    process.kill()  # under load
    process.wait()
    dead.set()

    service.start()
    assert stepping.is_over()
    assert actor.drain(DEADLINE_S)
    inserted = next(steps)
    info = service.info()
    assert (info.env_steps, info.rows) == (inserted, inserted)
    assert (info.refused, info.gaps) == (0, 0)
    assert info.service_incarnation > 0
    actor.close()


def test_a_killed_shard_is_left_out_of_batches_and_returns_by_itself(
    killable: tuple[Any, subprocess.Popen[bytes]],
    make_service: Any,
    make_segment: Callable[..., Segment],
):
    mortal, process = killable
    other = make_service()
    for service in (mortal, other):
        actor = service.actor()
        actor.insert(make_segment(service.index, 0, steps=64, closed=True))
        assert actor.drain(DEADLINE_S)
        actor.close()
    metrics = Metrics("learner")
    learner = other.learner(addresses=(mortal.address, other.address), metrics=metrics)

    def shards() -> set[int]:
        batch = learner.sample(DEADLINE_S)
        assert batch.info.probability == pytest.approx(1.0 / batch.info.table_items)  # of what takes part
        return set(batch.info.shard.tolist())

    eventually(lambda: shards() == {0, 1})
    process.kill()  # while it is sampled
    process.wait()
    eventually(lambda: shards() == {1})
    assert metrics.registry.get_sample_value("sojourn_learner_shards_left_out_total") >= 1
    mortal.start()
    eventually(lambda: shards() == {0, 1})
    assert learner.facts().items == 128
    learner.close()
