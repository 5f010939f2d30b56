"""Small chunks put together on a real Valkey: is everything read back once and as it was, whatever is killed when?"""

import itertools
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import gymnasium as gym
import numpy as np
import pytest

from replay.arrow import decode_chunk, encode_chunk
from replay.commit import Commit, StoredChunk
from replay.compaction import Compaction, next_run
from replay.holdings import Holdings, Small
from replay.packing import packed, unpacked
from replay.rebuild import Rebuild
from replay.redis_store import RedisStore
from replay.shard import Clock, Shard
from replay.tier import DurableTier
from sojourn.columns import Column, Schema, space_to_json
from sojourn.errors import UnavailableError
from sojourn.experience import Segment
from sojourn.metrics import Metrics

SMALL = 24  # one-step chunks of two actors in turn; a large one closes their run
LIVES = itertools.count(1)


class Life:
    """A shard over one server, as a service has it, from reading back on. It is never closed: what a kill -9 leaves is what is stored."""

    def __init__(self, kit: SimpleNamespace, url: str, **table: Any) -> None:
        self.kit = kit
        config = kit.config(replay={"durability": "process"}, tables={"replay": table})
        self.shard = Shard(config, run_id="run", index=0, incarnation=next(LIVES), metrics=Metrics("replay"), clock=Clock())
        self.store = RedisStore(url, run_id="run", shard=0, owner=self.shard.incarnation)
        self.tier = DurableTier(self.store, None, self.shard.standing)
        self.numbers: dict[str, int] = {}

    async def begin(self) -> "Life":
        await self.store.set_schema(self.kit.schema.to_json())
        await Rebuild(self.shard, self.tier).run()
        self.shard.recovering = ""
        return self

    async def insert(self, client: str, steps: int = 1) -> None:
        """As the committer does: durable, then applied."""
        store, number = self.shard.serving_store(), self.numbers.get(client, 0) + 1
        body = self.kit.body(self.kit.segment(first_sequence=(number - 1), steps=steps))
        chunk = StoredChunk(store.next_row_number, steps, client, 7, number, self.shard.clock.unix_s(), 0.25, body)
        self.numbers[client] = number
        await self.tier.write(Commit([chunk], {f"{client}/7": f"{number} live"}))
        self.shard.holdings.add(chunk.first_row, len(body), steps)
        self.shard.append(store, decode_chunk(self.kit.schema, body), chunk.stream, self.shard.clock.now_s(), 0.25)

    async def fill(self) -> "Life":
        """Small chunks of two actors, and a chunk that is large enough to be left alone."""
        for number in range(SMALL):
            await self.insert(f"actor-{number % 2}")
        await self.insert("actor-9", steps=2_000)
        return self

    def items(self) -> dict[int, tuple[float, float]]:
        """Priority, and the second of the wall clock in which it came, of each item by its key."""
        table = self.shard.serving_store()._tables["replay"]
        keys = np.arange(1, self.shard.serving_store().next_row_number)
        positions = table.items.slab.index.find(keys)
        live = table.items.is_live(positions) & (positions >= 0)
        age_s = self.shard.clock.now_s() - table.items.arrays.drawable_s[positions]
        came_s = self.shard.clock.unix_s() - age_s
        return {int(keys[i]): (float(table.items.arrays.priority[positions[i]]), came_s[i]) for i in np.flatnonzero(live)}

    async def entries(self) -> tuple[int, int]:
        """How many chunks and packs there are."""
        return len(await self.store.entries("chunks", "-", "+", 10_000)), len(await self.store.entries("packs", "-", "+", 10_000))

    async def chunks(self) -> list[StoredChunk]:
        return [chunk async for chunk in self.store.chunks() if isinstance(chunk, StoredChunk)]

    async def compact(self) -> bool:
        return await Compaction(self.shard).step()


@pytest.fixture
async def make_life(kit: SimpleNamespace) -> AsyncIterator[Callable[..., Awaitable[Life]]]:
    lives: list[Life] = []

    async def begin(server: Any, world: SimpleNamespace = kit, **table: Any) -> Life:
        lives.append(Life(world, server.url, **table))
        return await lives[-1].begin()

    yield begin
    for life in lives:
        await life.store.close()


def told(life: Life, chunks: list[StoredChunk]) -> list[tuple[Any, ...]]:
    """Chunks with their rows decoded, since Arrow's bytes of a slice may be laid out in another way."""
    found = []
    for chunk in chunks:
        rows = decode_chunk(life.kit.schema, chunk.body)
        fields = {name: value for name, value in vars(chunk).items() if name != "body"}
        found.append((fields, rows.sequence.tolist(), rows.columns["observation"].tolist()))
    return found


@pytest.mark.parametrize("table", [{}, {"max_staleness": 1_000, "on_stale": "drop"}], ids=["at once", "part by part"])
async def test_a_restart_reads_from_a_pack_what_it_reads_from_the_chunks(
    valkey: Any, make_life: Any, table: dict[str, Any]
) -> None:
    server = await valkey()
    first = await (await make_life(server, **table)).fill()
    before = told(first, await first.chunks())
    assert await first.entries() == (SMALL + 1, 0)
    unpacked_life = await make_life(server, **table)
    assert await unpacked_life.compact()
    assert not await unpacked_life.compact()
    assert await unpacked_life.entries() == (1, 1)
    assert told(first, await unpacked_life.chunks()) == before
    assert [(await first.store.chunk_of(row)).message_number for row in (1, 2, 3, SMALL)] == [1, 1, 2, SMALL // 2]

    again = await make_life(server, **table)
    one, other = again.shard.serving_store(), unpacked_life.shard.serving_store()
    one.check()
    assert (one.env_steps, one.slab_rows, one.next_row_number) == (other.env_steps, other.slab_rows, other.next_row_number)
    assert again.items().keys() == unpacked_life.items().keys()
    for key, (priority, came_s) in again.items().items():
        assert (priority, came_s) == pytest.approx(unpacked_life.items()[key], abs=0.5)
    assert again.shard.fences[("actor-1", 7)].stored == SMALL // 2
    assert again.shard.starts.tally.ended.sum() == unpacked_life.shard.starts.tally.ended.sum()
    assert again.shard.holdings.bytes == unpacked_life.shard.holdings.bytes
    again.shard.holdings.free([1])
    assert again.shard.take_freed() == list(range(1, SMALL + 1))  # the pack is known by the last of them


SIGHTS = Schema(
    observation=space_to_json(
        gym.spaces.Dict(
            {"camera": gym.spaces.Box(0, 255, (2, 8, 8), np.uint8), "felt": gym.spaces.Box(-1.0, 1.0, (3,), np.float64)}
        )
    ),
    action=space_to_json(gym.spaces.Tuple((gym.spaces.Discrete(5), gym.spaces.MultiBinary(3)))),
    frame_stack=3,
    extras=(
        Column("tokens", "int32", ragged_max=6),
        Column("flags", "bool", ragged_max=4),
        Column("goal", "float64", (2,), scope="episode"),
    ),
)


def sights(plain: Segment) -> Segment:
    """With random values in every kind of column; lists of 0 to all elements."""
    first_sequence, steps = plain.first_sequence, len(plain)
    rng = np.random.default_rng(first_sequence)

    def lists(most: int, dtype: str) -> np.ndarray:
        made = np.empty(steps, object)
        made[:] = [rng.integers(0, 2, rng.integers(0, most + 1)).astype(dtype) for _ in range(steps)]
        return made

    return replace(
        plain,
        observation={
            "observation.camera": rng.integers(0, 256, (steps + 1, 2, 8, 8)).astype(np.uint8),
            "observation.felt": rng.uniform(-1.0, 1.0, (steps + 1, 3)).astype(np.float32),
        },
        action={"action.0": rng.integers(0, 5, steps), "action.1": rng.integers(0, 2, (steps, 3)).astype(np.int8)},
        extras={"tokens": lists(6, "int32"), "flags": lists(4, "bool"), "goal": np.full((steps, 2), 0.25)},
    )


async def test_images_dictionaries_and_lists_come_back_from_a_pack_as_they_were(
    valkey: Any, make_life: Any, kit: SimpleNamespace
) -> None:
    def body(*segments: Segment) -> bytes:
        return encode_chunk(SIGHTS, segments, now_s=0.0)

    def segment(**told: Any) -> Segment:
        return sights(kit.segment(**told))

    world = SimpleNamespace(**{**vars(kit), "schema": SIGHTS, "segment": segment, "body": body})
    server = await valkey()
    first = await (await make_life(server, world, n_step=2)).fill()
    keys = np.array(sorted(first.items()), np.uint64)
    was = first.shard.serving_store().gather("replay", keys)
    assert was["tokens.length"].max() > was["tokens.length"].min()
    from_chunks = await make_life(server, world, n_step=2)
    assert await from_chunks.compact()
    assert await from_chunks.entries() == (1, 1)
    from_pack = await make_life(server, world, n_step=2)
    for life in (from_chunks, from_pack):
        found = life.shard.serving_store().gather("replay", keys)
        assert found.keys() == was.keys()
        for name in (name for name in was if not name.startswith("info.")):
            np.testing.assert_array_equal(found[name], was[name], err_msg=name)
        life.shard.serving_store().check()


@pytest.mark.parametrize("table", [{}, {"max_staleness": 1_000, "on_stale": "drop"}], ids=["at once", "part by part"])
async def test_first_in_is_first_out_behind_a_restart_from_a_pack(valkey: Any, make_life: Any, table: dict[str, Any]) -> None:
    """Items of several actors become drawable one after the other, whatever chunk their first row is in."""
    server = await valkey()
    settings = {"sampler": "fifo", "n_step": 3, "max_times_sampled": 1, **table}
    life = await make_life(server, **settings)
    for number in range(SMALL):
        await life.insert(f"actor-{'abcacb'[number % 6]}")
    await life.insert("actor-9", steps=2_000)
    from_chunks = await make_life(server, **settings)
    assert await from_chunks.compact()
    from_pack = await make_life(server, **settings)
    order = []
    for one in (life, from_chunks, from_pack):
        drawn = one.shard.serving_store().draw("replay", SMALL - 6, 1, one.shard.clock.now_s())
        assert drawn is not None
        order.append(drawn.keys.tolist())
    assert order[1] == order[0]
    assert order[2] == order[0]


@pytest.mark.parametrize("step", ["before reading", "before the exchange", "in the exchange", "behind the exchange"])
async def test_a_kill_at_any_step_loses_and_doubles_nothing(
    valkey: Any, make_life: Any, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    """Of Valkey, kill -9; the service that was at work goes on, and the next one reads back the same."""
    server = await valkey()
    life = await (await make_life(server)).fill()
    before = told(life, await life.chunks())
    entries, script = life.store.entries, life.store.script

    async def killed_before_reading(*asked: Any, **how: Any) -> Any:
        server.kill()
        return await entries(*asked, **how)

    async def killed_before(*asked: Any) -> bytes:
        server.kill()
        return await script(*asked)

    async def killed_in(*asked: Any) -> bytes:
        """It happened, and nobody hears of it."""
        await script(*asked)
        server.kill()
        raise UnavailableError("connection reset")

    with monkeypatch.context() as until_killed:
        if step == "before reading":
            until_killed.setattr(life.store, "entries", killed_before_reading)
        if step == "before the exchange":
            until_killed.setattr(life.store, "script", killed_before)
        if step == "in the exchange":
            until_killed.setattr(life.store, "script", killed_in)
        if step == "behind the exchange":
            assert await life.compact()
            server.kill()
        else:
            with pytest.raises(UnavailableError):
                await life.compact()
    await server.start()
    await life.tier.recover()

    assert told(life, await life.chunks()) == before
    await life.insert("actor-0")
    chunks, packs = await life.entries()
    assert (chunks, packs) == ((2, 1) if step in ("in the exchange", "behind the exchange") else (SMALL + 2, 0))
    again = await make_life(server)
    assert again.shard.serving_store().env_steps == SMALL + 2_001
    assert told(life, await again.chunks())[: len(before)] == before
    for client in life.numbers:
        life.shard.close_stream(life.shard.store, (client, 7), life.shard.clock.now_s())
    life.shard.store.leave_after("replay", -1.0, life.shard.clock.now_s())
    await life.store.take_over()
    await life.tier.write(Commit(freed=life.shard.take_freed()))
    assert await life.entries() == (0, 0)  # let go under both names, whatever was heard of the exchange


async def test_a_pack_stays_until_all_its_rows_have_left_and_consumed_ones_do_not_come_back(valkey: Any, make_life: Any) -> None:
    server = await valkey()
    life = await (await make_life(server, sampler="fifo", consume=True)).fill()
    assert await life.compact()
    store = life.shard.serving_store()
    drawn = store.draw("replay", 8, 1, life.shard.clock.now_s())
    assert drawn is not None
    store.consume("replay", [draw.draw_id for draw in drawn.draws])
    pages = {f"page:{page.table}:{page.number}": page.body for page in store.take_dirty_pages()}
    await life.tier.write(Commit(pages=pages, freed=life.shard.take_freed()))
    assert await life.entries() == (1, 1)
    again = await make_life(server, sampler="fifo", consume=True)
    assert again.items().keys() == life.items().keys()
    assert not again.items().keys() & set(drawn.keys.tolist())


async def test_a_damaged_small_chunk_is_named_and_left_out_and_its_neighbours_are_packed(
    valkey: Any, make_life: Any, caplog: pytest.LogCaptureFixture
) -> None:
    server = await valkey()
    life = await (await make_life(server)).fill()
    entries = await life.store.entries("chunks", "-", "+", SMALL)
    async with server.client() as client:
        key = life.store.key("chunks")
        await client.delete(key)
        for number, (entry_id, fields) in enumerate(entries):
            await client.xadd(key, {**fields, b"b": b"damaged"} if number == 11 else fields, id=entry_id)
    while await life.compact():
        pass
    assert "chunks 12-0" in caplog.text
    assert life.shard.corrupted == [life.store.entry_key(12)]
    life.shard.holdings.small.clear()
    again = await make_life(server)
    assert sorted(chunk.first_row for chunk in await again.chunks()) == [row for row in range(1, SMALL + 1) if row != 12]
    assert again.shard.corrupted == []  # it was set aside


async def test_a_damaged_pack_is_named_and_left_out_and_the_rest_is_served(
    valkey: Any, make_life: Any, caplog: pytest.LogCaptureFixture
) -> None:
    server = await valkey()
    life = await (await make_life(server)).fill()
    assert await life.compact()
    [(entry_id, fields)] = await life.store.entries("packs", "-", "+", 2)
    async with server.client() as client:
        await client.delete(life.store.key("packs"))
        await client.xadd(life.store.key("packs"), {**fields, b"p": b"x"}, id=entry_id)
    again = await make_life(server)
    assert again.shard.corrupted == [f"{life.store.key('packs')} {SMALL}-0"]
    assert f"packs {SMALL}-0" in caplog.text
    assert again.shard.serving_store().slab_rows == 2_000
    assert await again.entries() == (1, 0)


async def test_who_reads_while_chunks_are_put_together_sees_each_once(valkey: Any, make_life: Any) -> None:
    for read_before in (1, 3, SMALL):
        server = await valkey()
        life = await (await make_life(server)).fill()
        seen = []
        async for chunk in life.store.chunks():
            seen.append(chunk.first_row)
            if len(seen) == read_before:
                assert await life.compact()
        assert seen == list(range(1, SMALL + 2))


def rows_of(run: list[Small] | None) -> list[int]:
    return [chunk.first_row for chunk in run or []]


def test_a_run_ends_where_a_row_is_missing_or_the_pack_is_full_and_waits_for_what_may_follow() -> None:
    holdings = Holdings()
    for first_row in [1, 2, 3, 4, 6, 7, 8, 9, 10, 11]:
        holdings.add(first_row, 100, rows=1)
    assert rows_of(next_run(holdings, 5, applied_before=100)) == [1, 2, 3, 4]
    assert rows_of(next_run(holdings, 5, applied_before=100)) == [6, 7, 8, 9, 10]
    assert next_run(holdings, 5, applied_before=100) is None
    holdings.free([11])
    for first_row in [12, 13, 14, 15, 16]:
        holdings.add(first_row, 100, rows=1)
    holdings.add(17, 1 << 20, rows=4)
    assert next_run(holdings, 5, applied_before=16) is None  # row 16 is not in the slab yet
    assert rows_of(next_run(holdings, 5, applied_before=100)) == [12, 13, 14, 15, 16]


def test_chunks_of_other_fields_or_with_a_gap_in_a_lane_are_no_pack(kit: SimpleNamespace) -> None:
    def chunk(first_row: int, first_sequence: int) -> StoredChunk:
        return StoredChunk(
            first_row, 1, "actor-0", 7, first_row, 1.0, 0.0, kit.body(kit.segment(first_sequence=first_sequence, steps=1))
        )

    pack = packed([chunk(1, 0), chunk(2, 1)])
    assert pack is not None
    assert [part.message_number for part in unpacked(pack)] == [1, 2]
    assert packed([chunk(1, 0), chunk(2, 2)]) is None
    foreign = StoredChunk(2, 1, "actor-1", 8, 1, 1.0, 0.0, b"no Arrow")
    assert packed([chunk(1, 0), foreign]) is None
