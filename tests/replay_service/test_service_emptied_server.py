"""What does a server that lost all its files hold again, once the service has appended its tail? A real service and Valkey."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import redis.asyncio

from protos import replay_pb2 as pb
from replay.embedded import EmbeddedServer
from replay.fences import field_of
from tests.waiting import DEADLINE_S


async def flush(tmp_path: Path) -> None:
    server = EmbeddedServer(tmp_path, 0, appendfsync="no", memory_bytes=1 << 30, rewrite_min_bytes=1 << 30)
    async with redis.asyncio.Redis(unix_socket_path=str(server.socket)) as stored:
        await stored.flushall()


async def test_an_emptied_server_is_told_again_who_every_life_was(serve: Any, kit: SimpleNamespace, tmp_path: Path) -> None:
    """Lives of before a restart too, which said hello to another life of the service."""
    config = kit.config(replay={"durability": "process"})
    async with serve(config) as service:
        older = await service.client.hello(host="old-host", environment_id="Old-v0", seed=3, pool="slow")
        first = await service.client.inserts(incarnation=older.incarnation)
        await first.insert(1, kit.body(kit.segment(steps=5)))
    async with serve(config) as service:
        newer = await service.client.hello("actor-1", host="new-host", environment_id="New-v0", seed=4)
        second = await service.client.inserts("actor-1", incarnation=newer.incarnation)
        await flush(tmp_path)
        await second.insert(1, kit.body(kit.segment(steps=5)))  # the commit finds the server empty
        drained = await service.client.hello(last_incarnation=older.incarnation, inherit_incarnation=older.incarnation)
        assert drained.last_message_number == 1
        first = await service.client.inserts(incarnation=older.incarnation)
        await first.insert(2, kit.body(kit.segment(first_sequence=5, steps=5)))
        found = await service.client.stub.Lineage(pb.LineageRequest(table="replay", keys=[6, 11]), timeout=DEADLINE_S)
        assert [(item.client_id, item.host, item.environment_id, item.seed) for item in found.items] == [
            ("actor-1", "new-host", "New-v0", 4),
            ("actor-0", "old-host", "Old-v0", 3),
        ]
    async with serve(config) as service:
        assert service.server.shard.starts.knows(("actor-0", older.incarnation))
        assert '"pool":"slow"' in service.server.shard.lives[field_of(("actor-0", older.incarnation))]
