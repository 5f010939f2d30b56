"""Can clients that never read make the service grow? A service of its own process, whose memory is looked at from outside."""

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psutil

from replay.insert_calls import Answer, InsertCall, Outcome
from sojourn.roles import announced
from tests.waiting import DEADLINE_S

GROWTH_BYTES = 150 << 20  # flow control of 4 + 4 streams, allocator and compiled kernels; what was asked for is over 3 GB
NEVER_READ = 4
BATCH = 4_096


async def test_answers_that_the_client_does_not_take_fill_its_window() -> None:
    call = InsertCall(("actor-0", 1))
    for number in (1, 2):
        call.took()
        call.answer(Answer(number, Outcome.ACCEPTED, "", 0))
    room = asyncio.create_task(call.until_room(2))
    await asyncio.wait({room}, timeout=0.05)
    assert not room.done()

    answers = call.answers()
    assert (await anext(answers)).message_number == 1
    await asyncio.wait_for(room, DEADLINE_S)


@asynccontextmanager
async def service(run_folder: Path, kit: SimpleNamespace) -> AsyncIterator[tuple[psutil.Process, Any]]:
    """At level `memory`, with one table of 100,000 steps."""
    overrides = [
        "replay.durability=memory",
        "replay.insert_window=4",
        "tables.replay.capacity_steps=100000",
        "tables.replay.limiter.min_size=1",
        "tables.replay.limiter.samples_per_insert=null",
    ]
    arguments = ["-m", "replay", "--run-folder", str(run_folder), "--run-id", "run", *overrides]
    process = await asyncio.create_subprocess_exec(sys.executable, *arguments, stderr=asyncio.subprocess.DEVNULL)

    async def listens() -> bool:
        assert process.returncode is None
        return (run_folder / "roles" / "replay-0.json").exists()

    try:
        await kit.eventually(listens)
        client = kit.client(announced(run_folder, "replay-0").address)
        await until_ready(client, kit)
        yield psutil.Process(process.pid), client
        await client.close()
    finally:
        process.kill()
        await process.wait()


async def until_ready(client: Any, kit: SimpleNamespace) -> None:
    async def ready() -> bool:
        return not (await client.info()).recovering

    await kit.eventually(ready)


async def until_still(client: Any, kit: SimpleNamespace) -> int:
    """Wait until something was sampled and nothing more is; how many items there were."""
    seen: list[int] = []

    async def stands_still() -> bool:
        seen.append((await client.info()).tables[0].facts.sampled_items)
        return seen[-1] > 0 and len(set(seen[-40:])) == 1 and len(seen) > 40

    await kit.eventually(stands_still)
    return seen[-1]


async def test_clients_that_never_read_do_not_make_the_service_grow(kit: SimpleNamespace, tmp_path: Path) -> None:
    async with service(tmp_path, kit) as (process, client):
        inserts = await client.inserts("actor-filling")
        for number in range(1, 51):
            await inserts.insert(number, kit.body(kit.segment(first_sequence=2_000 * (number - 1), steps=2_000)))
        before_bytes = process.memory_info().rss

        deaf = [kit.client(client.target) for _ in range(2 * NEVER_READ)]
        sampling = [await other.samples(f"learner-{place}") for place, other in enumerate(deaf[:NEVER_READ])]
        for samples in sampling:
            await samples.ask(credits=1_000, batch_size=BATCH, most=64)
        talking = [
            asyncio.create_task(insert_for_ever(await other.inserts(f"actor-{place}"), kit))
            for place, other in enumerate(deaf[NEVER_READ:])
        ]
        sampled = await until_still(client, kit)
        grown = process.memory_info().rss - before_bytes
        for task in talking:
            task.cancel()
        assert sampled < NEVER_READ * 1_000 * BATCH  # it held back what nobody took
        assert grown < GROWTH_BYTES
        for other in deaf:
            await other.close()


async def insert_for_ever(inserts: Any, kit: SimpleNamespace) -> None:
    """Send as long as the service reads; never take an answer."""
    number = 0
    while True:
        number += 1
        await inserts.send(number, kit.body(kit.segment(first_sequence=number - 1, steps=1)))
