"""A learner's cut over several shards: behind what it had said, without those that are down, and back with another number of shards."""

from collections.abc import Callable
from typing import Any

import numpy as np

from replay.client import Wanted, shard_for
from sojourn.chosen_cut import ChosenCut, ShardCut, write_chosen_cut
from sojourn.experience import PriorityUpdate, Segment
from sojourn.shard_list import ShardList, write_shard_list
from tests.waiting import DEADLINE_S, eventually

TABLES = {"replay": {"capacity_steps": 4_096, "priority_exponent": 1.0, "limiter": {"min_size": 1, "samples_per_insert": None}}}


def set_all(learner: Any, priority: float) -> None:
    """Items 1 to 16 of both shards."""
    key, shard = np.tile(np.arange(1, 17, dtype=np.uint64), 2), np.repeat(np.array([0, 1], np.uint32), 16)
    learner.update_priorities(PriorityUpdate("replay", key, np.full(32, priority, np.float32), shard))


def priorities(services: list[Any]) -> list[float]:
    return [service.info().tables[0].facts.total_priority for service in services]


def test_all_shards_are_cut_behind_what_the_learner_said_and_go_back_also_into_another_number_of_them(
    make_service: Callable[..., Any], make_segment: Callable[..., Segment]
) -> None:
    services = [make_service(replay={"durability": "process"}, tables=TABLES) for _ in range(2)]
    write_shard_list(services[0].folder, ShardList(2, 2))
    actors = {shard_for(f"actor-{index}", range(2)): f"actor-{index}" for index in range(8)}
    for number, service in enumerate(services):
        actor = service.actor(actors[number])
        actor.insert(make_segment(0, 0, 16, closed=True))
        assert actor.drain(DEADLINE_S)
        actor.close()
    learner = services[0].learner(addresses=tuple(service.address for service in services))
    learner.sample(DEADLINE_S)
    set_all(learner, 3.0)
    cuts = learner.cut(Wanted("step-1", 1, "", ()), DEADLINE_S)
    assert cuts == (ShardCut(0, 17, 16, 16), ShardCut(1, 17, 16, 16))
    set_all(learner, 5.0)
    eventually(lambda: priorities(services) == [80.0, 80.0])

    services[1].stop()
    eventually(lambda: learner.cut(Wanted("step-2", 2, "step-1", ()), 0.2)[1].reason == "it is down")
    first = learner.cut(Wanted("step-3", 3, "step-1", ()), DEADLINE_S)[0]
    assert (first.reason, first.row_number) == ("", 17)
    learner.close()
    services[0].stop()

    write_shard_list(services[0].folder, ShardList(3, 3))
    write_chosen_cut(services[0].folder, ChosenCut("step-1", {cut.shard: cut.row_number for cut in cuts}))
    for service in services:
        service.start()
    third = make_service(replay={"durability": "process"}, tables=TABLES)
    assert priorities(services) == [48.0, 48.0]
    assert [service.info().env_steps for service in (*services, third)] == [16, 16, 0]


def test_what_the_checkpoint_learned_from_does_not_come_back_and_what_was_only_fetched_does(
    make_service: Callable[..., Any], make_segment: Callable[..., Segment]
) -> None:
    queue = {"sampler": "fifo", "consume": True, **TABLES["replay"]}
    service = make_service(replay={"durability": "process"}, tables={"replay": queue})
    actor = service.actor()
    actor.insert(make_segment(0, 0, 64, closed=True))
    assert actor.drain(DEADLINE_S)
    actor.close()
    learner = service.learner()
    batch = learner.sample(DEADLINE_S)
    eventually(lambda: service.info().tables[0].leased_items == 64)  # the rest is on its way
    [cut] = learner.cut(Wanted("step-1", 1, "", (batch,)), DEADLINE_S)
    service.stop()  # before it could be told that the batch is consumed
    learner.close()
    write_chosen_cut(service.folder, ChosenCut("step-1", {0: cut.row_number}))
    service.start()
    again = service.learner("learner-1")
    keys = np.concatenate([again.sample(DEADLINE_S).info.key for _ in range(3)])
    assert sorted(keys.tolist()) == sorted(set(range(1, 65)) - set(batch.info.key.tolist()))
    again.close()
