"""Is anything lost or doubled when a run goes on with another number of shards? Real services over one run folder."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from replay.client import exported_rows, shard_for
from sojourn.columns import Schema
from sojourn.errors import UnavailableError
from sojourn.experience import Segment

ACTORS = [f"actor-{index}" for index in range(8)]
STEPS = 16


class Ledger:
    """What was acknowledged: each step's number, unique over actors and lives, is its reward."""

    def __init__(self, make_segment: Callable[..., Segment]) -> None:
        self._make_segment = make_segment
        self._next = 0
        self.numbers: list[int] = []

    def insert(self, actor: Any) -> None:
        """One closed episode of new numbers; they are in the ledger once they are acknowledged."""
        numbers = np.arange(self._next, self._next + STEPS)
        self._next += STEPS
        actor.insert(self._make_segment(0, 0, steps=STEPS, closed=True, reward=numbers.astype(np.float32)))
        assert actor.drain(20.0)
        self.numbers += numbers.tolist()


def stored(services: list[Any]) -> list[int]:
    """The numbers of all steps that the shards hold, from their durable tiers."""
    found: list[int] = []
    for service in services:
        info = service.info()
        if info.schema_json:
            for chunk in exported_rows(service.address, Schema.from_json(info.schema_json), "replay"):
                found += chunk.rows.reward[(chunk.rows.kind & 1) == 1].astype(int).tolist()
    return sorted(found)


def resumed(services: list[Any], taking: int) -> None:
    """All services begin a new life; so many of them take inserts."""
    for service in services:
        service.stop()
    for service in services:
        service.taking = taking
        service.start()


def one_life_each(services: list[Any], taking: int, ledger: Ledger) -> None:
    for name in ACTORS:
        actor = services[shard_for(name, range(taking))].actor(name)
        ledger.insert(actor)
        actor.close()


def test_a_run_goes_on_with_more_and_with_fewer_shards_and_nothing_is_lost_or_doubled(
    make_service: Any, make_segment: Callable[..., Segment], soon: Callable[..., Any]
):
    services = [make_service(replay={"durability": "process"}) for _ in range(3)]
    ledger = Ledger(make_segment)
    for taking in (1, 3, 2):
        resumed(services, taking)
        one_life_each(services, taking, ledger)
        assert stored(services) == sorted(ledger.numbers)
        assert sum(service.info().env_steps for service in services) == len(ledger.numbers)

    with pytest.raises(UnavailableError, match="retired"):
        services[2].actor("actor-new", timeout_s=0.1)
    learner = services[0].learner(addresses=tuple(service.address for service in services))
    soon(lambda: set(learner.sample(20.0).info.shard.tolist()) == {0, 1, 2})
    assert learner.facts().env_steps == len(ledger.numbers)
    learner.close()
