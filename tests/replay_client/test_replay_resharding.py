"""Is anything lost or doubled when a run goes on with another number of shards? Real services over one run folder."""

import threading
from collections.abc import Callable
from contextlib import suppress
from itertools import count, takewhile
from pathlib import Path
from typing import Any

import numpy as np

from replay.client import Wanted, exported_rows, shard_for
from replay.embedded import EmbeddedServer
from sojourn.columns import Schema
from sojourn.errors import DeadlineError
from sojourn.experience import Segment
from sojourn.roles import shards_in
from sojourn.shard_list import ShardList, read_shard_list, shard_list, take_counts, write_shard_list
from tests.waiting import DEADLINE_S, eventually

ACTORS = [f"actor-{index}" for index in range(8)]
STEPS = 16
FREE = {"min_size": 1, "samples_per_insert": None}


class Ledger:
    """What was acknowledged: each step's number, unique over actors and lives, is its reward."""

    def __init__(self, make_segment: Callable[..., Segment], first: int = 0) -> None:
        self._make_segment = make_segment
        self._next = first
        self.numbers: list[int] = []

    def insert(self, actor: Any, episode: int = 0) -> None:
        """One closed episode of new numbers; they are in the ledger once they are acknowledged. episode: of this life."""
        numbers = np.arange(self._next, self._next + STEPS)
        self._next += STEPS
        reward = numbers.astype(np.float32)
        actor.insert(self._make_segment(0, episode * (STEPS + 1), STEPS, episode=episode, closed=True, reward=reward))
        assert actor.drain(DEADLINE_S)
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


def resumed(services: list[Any], taking: int) -> list[Any]:
    """All services that the run has begin a new life; so many of them take inserts."""
    for service in services:
        service.stop()
    listed = (read_shard_list(services[0].folder) or ShardList(1, 1)).scaled(taking)
    write_shard_list(services[0].folder, listed)
    return [services[shard].start() for shard in listed.here]


def one_life_each(services: list[Any], taking: int, ledger: Ledger) -> None:
    for name in ACTORS:
        actor = services[shard_for(name, range(taking))].actor(name)
        ledger.insert(actor)
        actor.close()


def test_a_run_goes_on_with_more_and_with_fewer_shards_and_nothing_is_lost_or_doubled(
    make_service: Any, make_segment: Callable[..., Segment]
):
    services = [make_service(started=False, replay={"durability": "process"}) for _ in range(3)]
    ledger = Ledger(make_segment)
    for taking in (1, 3, 2):
        here = resumed(services, taking)
        one_life_each(services, taking, ledger)
        assert stored(here) == sorted(ledger.numbers)
        assert sum(service.info().env_steps for service in here) == len(ledger.numbers)

    eventually(services[2].takes_no_lives)
    learner = services[0].learner(addresses=tuple(service.address for service in services))
    eventually(lambda: set(learner.sample(DEADLINE_S).info.shard.tolist()) == {0, 1, 2})
    assert learner.facts().env_steps == len(ledger.numbers)
    learner.close()


def exported(service: Any) -> list[int]:
    """First row numbers of the chunks that a shard holds."""
    schema = Schema.from_json(service.info().schema_json)
    return [chunk.first_row for chunk in exported_rows(service.address, schema, "replay")]


def size_of(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.rglob("*"))


def embedded(folder: Path, shard: int) -> EmbeddedServer:
    return EmbeddedServer(folder, shard, appendfsync="no", memory_bytes=0, rewrite_min_bytes=0)


class MovingActor:
    """Inserts all the time, and follows the list as actors do: it ends its life and begins another where it belongs now."""

    def __init__(self, name: str, first: int, services: list[Any], make_segment: Callable[..., Segment]) -> None:
        self.ledger = Ledger(make_segment, first)
        self.homes: list[int] = []
        self.stop = threading.Event()
        self._name, self._services = name, services
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def _home(self) -> int:
        return shard_for(self._name, range(shard_list(self._services[0].folder).taking))

    def _run(self) -> None:
        while not self.stop.is_set():
            self.homes.append(self._home())
            actor = self._services[self.homes[-1]].actor(self._name)
            for episode in takewhile(lambda _: not self.stop.is_set() and self._home() == self.homes[-1], count()):
                self.ledger.insert(actor, episode)
            actor.close()


def test_one_to_four_to_two_shards_under_load_loses_and_doubles_nothing(make_service: Any, make_segment: Callable[..., Segment]):
    services = [make_service(replay={"durability": "process"}, tables={"replay": {"capacity_steps": 1 << 17, "limiter": FREE}})]
    folder = services[0].folder
    write_shard_list(folder, ShardList(1, 1))
    actors = [MovingActor(name, index << 20, services, make_segment) for index, name in enumerate(ACTORS)]
    learner = services[0].learner(shards_now=lambda: shards_in(folder))
    known_steps = 0

    def drawn_from() -> set[int]:
        nonlocal known_steps
        shards = set(learner.sample(DEADLINE_S).info.shard.tolist())
        known_steps, before = learner.facts().env_steps, known_steps
        assert known_steps >= before  # what the run counts never goes back
        return shards

    eventually(lambda: drawn_from() == {0})
    services += [
        make_service(replay={"durability": "process"}, tables={"replay": {"capacity_steps": 1 << 17, "limiter": FREE}})
        for _ in range(3)
    ]
    write_shard_list(folder, ShardList(4, 4))
    used = {shard_for(name, range(4)) for name in ACTORS}
    eventually(lambda: {home for actor in actors for home in actor.homes[-1:]} == used)
    eventually(lambda: drawn_from() >= used)
    write_shard_list(folder, ShardList(2, 4))
    eventually(lambda: all(actor.homes[-1] < 2 for actor in actors))
    eventually(lambda: drawn_from() >= used)  # retired ones are drawn from as well

    for actor in actors:
        actor.stop.set()
    for actor in actors:
        actor.thread.join(DEADLINE_S)
        assert not actor.thread.is_alive()
    numbers = sorted(number for actor in actors for number in actor.ledger.numbers)
    assert stored(services) == numbers
    assert sum(service.info().env_steps for service in services) == len(numbers)
    learner.close()


class Hungry:
    """A learner that draws whatever it is given, in a thread of its own, until the block ends."""

    def __init__(self, learner: Any) -> None:
        self._learner = learner
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._draw, daemon=True)

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(DEADLINE_S)
        self._learner.close()

    def _draw(self) -> None:
        while not self._stop.is_set():
            with suppress(DeadlineError):
                self._learner.sample(0.1)


def test_the_ratio_of_samples_to_inserts_is_kept_over_all_shards(make_service: Any, make_segment: Callable[..., Segment]):
    """A shard that is new would wait for draws that follow priorities, and so for 48 items to be drawn from it."""
    paced = {"min_size": 16, "samples_per_insert": 1.0, "tolerance": 32.0}
    services = [make_service(tables={"replay": {"capacity_steps": 4_096, "limiter": paced}}) for _ in range(2)]
    old, new = (Ledger(make_segment, first) for first in (0, 1 << 20))
    with Hungry(services[0].learner("learner-0")):
        first = services[0].actor("actor-0")
        for episode in range(32):
            old.insert(first, episode)
    with Hungry(services[0].learner("learner-1", addresses=tuple(service.address for service in services))):
        second = services[1].actor("actor-1")
        for episode in range(12):
            new.insert(second, episode)
        eventually(lambda: surplus(services[0]) == surplus(services[1]))
    first.close()
    second.close()


def surplus(service: Any) -> float:
    told: float = service.info().table("replay").limiter_surplus
    return told


def test_a_retired_shard_that_is_empty_ends_and_what_it_had_counted_stays(
    make_service: Any, make_segment: Callable[..., Segment]
):
    """The list goes on as the launcher would write it. Grown again, the run has the same shard with the same fences."""
    small = {"replay": {"capacity_steps": 256, "limiter": FREE}}
    services = [make_service(started=False, replay={"durability": "process"}, tables=small) for _ in range(2)]
    folder = services[0].folder
    resumed(services, 2)
    ledger = Ledger(make_segment)
    stays, leaves = services[0].actor("actor-0"), services[1].actor("actor-1")
    for episode in range(20):
        ledger.insert(stays, episode)
        ledger.insert(leaves, episode)
    learner = services[0].learner(addresses=tuple(service.address for service in services), shards_now=lambda: shards_in(folder))
    eventually(lambda: set(learner.sample(DEADLINE_S).info.shard.tolist()) == {0, 1})
    counted, file_bytes = services[1].info(), size_of(folder / "redis" / "1")

    write_shard_list(folder, ShardList(1, 2))
    eventually(services[1].takes_no_lives)
    assert not services[1].has_ended  # a life has not finished
    leaves.close()
    eventually(lambda: services[1].has_ended)
    assert not embedded(folder, 1).alive()
    assert size_of(folder / "redis" / "1") < file_bytes / 2  # without what was deleted
    counts = take_counts(folder, 1)
    assert (counts.env_steps, counts.episodes) == (counted.env_steps, counted.episodes) == (320, 20)
    assert counts.table("replay").inserted_items == counted.table("replay").facts.inserted_items == 320

    write_shard_list(folder, ShardList(1, 2).without(1, counts))
    eventually(lambda: set(learner.sample(DEADLINE_S).info.shard.tolist()) == {0})
    assert (learner.facts().env_steps, learner.facts().inserted_items) == (640, 640)
    eventually(lambda: [cut.shard for cut in learner.cut(Wanted("step_1", 1, "", ()), DEADLINE_S)] == [0])
    late = services[0].learner(
        "learner-1", addresses=(services[0].address, services[1].address), shards_now=lambda: shards_in(folder)
    )
    eventually(lambda: late.facts().env_steps == 640)
    late.close()

    write_shard_list(folder, shard_list(folder).scaled(2))
    services[1].start()
    again = services[1].info()
    assert (again.env_steps, again.table("replay").facts.items) == (320, 0)
    back = services[1].actor("actor-1")
    ledger.insert(back)
    eventually(lambda: 1 in learner.sample(DEADLINE_S).info.shard)
    assert learner.facts().env_steps == 656
    assert min(exported(services[1])) > 340  # row numbers are never used twice
    for one in (back, stays, learner):
        one.close()
