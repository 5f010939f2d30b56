"""A service with `lineage: full` lets no chunk go before it is archived, through restarts too, and says where items come from."""

import asyncio
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from protos import replay_pb2 as pb
from replay.archive import archive_files, archive_folder
from replay.origins import live_origins, origins

MESSAGES, STEPS = 12, 100


async def first_rows(service: Any) -> list[int]:
    """Of the chunks that Redis holds."""
    return [chunk.first_row async for chunk in service.server.shard.tier.store.chunks()]


async def test_chunks_stay_in_redis_until_they_are_archived(serve: Any, kit: SimpleNamespace, tmp_path: Path) -> None:
    config = kit.config(tables={"replay": {"capacity_steps": 256}}, replay={"durability": "process"}, lineage="full")
    async with serve(config) as service:
        granted = await service.client.hello(host="box", environment_id="Robot-v0", seed=7)
        inserts = await service.client.inserts(incarnation=granted.incarnation)
        for number in range(MESSAGES):
            await inserts.insert(number + 1, kit.body(kit.segment(first_sequence=number * STEPS, steps=STEPS)))
        assert len(await first_rows(service)) == MESSAGES
        assert service.server.shard.store.slab_rows < MESSAGES * STEPS
        (newest,) = await asyncio.to_thread(live_origins, lambda: service.target, "replay", [MESSAGES * STEPS - 1, 99_999])
        assert (newest.client_id, newest.identity.host, newest.lane_sequence) == ("actor-0", "box", MESSAGES * STEPS - 2)
    written = archive_files(archive_folder(tmp_path), 0)
    assert (written[0].first_row, written[-1].last_row) == (1, MESSAGES * STEPS)
    async with serve(config) as service:
        life = granted.incarnation
        await service.client.hello(last_incarnation=life, inherit_incarnation=life)
        inserts = await service.client.inserts(incarnation=life)
        await inserts.insert(MESSAGES + 1, kit.body(kit.segment(first_sequence=MESSAGES * STEPS, steps=STEPS)))

        async def trimmed() -> bool:
            return (await first_rows(service))[0] > 1

        await kit.eventually(trimmed)
    after = archive_files(archive_folder(tmp_path), 0)
    assert after[: len(written)] == written
    assert [(file.first_row, file.last_row) for file in after[len(written) :]] == [(MESSAGES * STEPS + 1, (MESSAGES + 1) * STEPS)]
    old = origins(tmp_path, config, "run", [5], shard=0)[5]
    assert (old.identity.environment_id, old.identity.seed, old.lane_sequence) == ("Robot-v0", 7, 4)


async def test_nothing_is_archived_unless_asked_for(serve: Any, kit: SimpleNamespace, tmp_path: Path) -> None:
    async with serve(kit.config(replay={"durability": "process"})) as service:
        inserts = await service.client.inserts()
        assert (await inserts.insert(1, kit.body(kit.segment()))).outcome == pb.InsertReply.ACCEPTED
    assert not archive_folder(tmp_path).exists()
