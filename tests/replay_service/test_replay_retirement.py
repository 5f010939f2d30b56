"""Do the items of a retired shard stay as long as they would have, are they drawn until then, and what of the others?"""

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest

from replay.arrow import decode_chunk
from replay.departure import SILENCE_S, end_silent_lives, held, is_spent, unfinished
from replay.ingest import Ingest
from replay.limiter import RateLimiter
from replay.retirement import look
from replay.shard import Clock, Shard
from sojourn.config.schema import LimiterSettings
from sojourn.metrics import Metrics
from tests.waiting import eventually_async

STEPS = 8


class World:
    """A shard on a clock of the test's: each second one actor inserted an episode of 8 steps."""

    def __init__(self, kit: SimpleNamespace, **table: Any) -> None:
        self.now_s = 0.0
        config = kit.config(tables={"replay": {"capacity_steps": 128, **table}})
        clock = Clock(now_s=lambda: self.now_s)
        self.shard = Shard(config, run_id="run", index=0, incarnation=1, metrics=Metrics("replay"), clock=clock)
        self.shard.install(kit.schema, self.shard.make_store(kit.schema))
        for second in range(8):
            rows = decode_chunk(kit.schema, kit.body(kit.segment(lane=second, steps=STEPS, closed=True)))
            self.now_s = float(second)
            self.shard.append(self.shard.store, rows, ("actor-0", 1), self.now_s, 0.0)
        self.now_s = 8.0

    def items_at(self, now_s: float) -> int:
        self.now_s = now_s
        look(self.shard, now_s)
        self.shard.store.check()
        return self.shard.store.items("replay")


@pytest.fixture
def make_world(kit: SimpleNamespace) -> Any:
    return lambda **table: World(kit, **table)


def test_items_of_a_retired_shard_leave_when_a_full_table_would_have_evicted_them(make_world: Any) -> None:
    world = make_world()
    world.shard.counts.retired = True
    assert world.items_at(8.0) == 64  # 8 s filled half of the table: the oldest of a full one would be 16 s old
    assert world.shard.counts.residence_s == {"replay": 16.0}
    assert world.items_at(16.0) == 64
    assert world.items_at(16.5) == 56  # second 0
    assert world.items_at(20.5) == 24  # seconds 1 to 4
    assert world.items_at(24.0) == 0


def test_a_shard_that_is_taken_back_keeps_what_is_left(make_world: Any) -> None:
    world = make_world()
    world.shard.counts.retired = True
    assert world.items_at(8.0) == 64
    assert world.items_at(20.5) == 24
    world.shard.counts.retired = False
    assert world.items_at(100.0) == 24
    assert world.shard.counts.residence_s == {}


def test_what_is_to_be_consumed_stays_until_it_is(make_world: Any) -> None:
    world = make_world(sampler="fifo", consume=True)
    world.shard.counts.retired = True
    assert world.items_at(8.0) == world.items_at(1e6) == 64


async def test_a_life_that_says_nothing_for_ten_minutes_is_finished_so_that_its_shard_can_leave(make_world: Any) -> None:
    shard = make_world().shard
    shard.recovering, shard.lives["actor-0/1"] = "", "{}"
    shard.fences.go_on(("actor-0", 1), 1)
    ingest = Ingest(shard)
    end_silent_lives(shard, ingest, SILENCE_S)
    assert ingest.idle
    assert unfinished(shard) == [("actor-0", 1)]
    end_silent_lives(shard, ingest, SILENCE_S + 0.1)
    committing = asyncio.create_task(ingest.run())

    async def is_finished() -> bool:
        return not unfinished(shard)

    await eventually_async(is_finished)
    committing.cancel()
    assert held(shard) == 64
    assert not is_spent(shard, ingest)


async def test_a_shard_that_nothing_but_its_process_remembers_never_leaves(make_world: Any) -> None:
    world = make_world()
    world.shard.counts.retired = True
    world.items_at(8.0)
    assert world.items_at(100.0) == held(world.shard) == 0
    assert not is_spent(world.shard, Ingest(world.shard))  # level memory


def test_a_retired_shard_is_drawn_from_beyond_the_ratio_that_its_own_inserts_allow() -> None:
    """The learner sees to the ratio over all shards; nothing would ever refill this one's own."""
    limiter = RateLimiter(LimiterSettings(samples_per_insert=1.0, min_size=10), default_tolerance=4.0)
    limiter.charge_insert(6, 0.0)
    assert not limiter.can_sample()  # 6 of 10
    limiter.takes_no_inserts = True
    assert limiter.can_sample()
    limiter.charge_sample(1_000, 0.0)
    assert limiter.can_sample()
    limiter.takes_no_inserts = False
    assert not limiter.can_sample()
