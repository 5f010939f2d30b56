"""Does a snapshot hold everything again behind a server that lost what it had? A real shard and Valkey."""

from pathlib import Path
from types import SimpleNamespace

from replay.arrow import decode_chunk
from replay.commit import Commit, StoredChunk
from replay.embedded import EmbeddedServer
from replay.redis_store import RedisStore
from replay.rows import PAGE_ROWS
from replay.shard import Clock, Shard
from replay.snapshots import Snapshots
from replay.tier import DurableTier
from sojourn.metrics import Metrics


async def test_pages_that_did_not_change_are_written_again_when_the_server_lost_them(
    kit: SimpleNamespace, tmp_path: Path
) -> None:
    server = EmbeddedServer(tmp_path, 0, appendfsync="no", memory_bytes=1 << 28, rewrite_min_bytes=1 << 28)
    server.ensure_running()
    store = RedisStore(server.url, run_id="run", shard=0, owner=1)
    try:
        await store.take_over()
        shard = Shard(kit.config(), run_id="run", index=0, incarnation=1, metrics=Metrics("replay"), clock=Clock())
        shard.recovering = ""
        shard.install(kit.schema, shard.make_store(kit.schema))
        shard.tier = DurableTier(store, None, shard.standing)
        body = kit.body(kit.segment(steps=PAGE_ROWS + 100))
        await shard.tier.write(Commit([StoredChunk(1, PAGE_ROWS + 100, "actor-0", 1, 1, 0.0, 0.0, body)]))
        rows = decode_chunk(kit.schema, body)
        shard.append(shard.serving_store(), rows, ("actor-0", 1), 0.0, 0.0)
        snapshots = Snapshots(shard)
        assert await snapshots.save()
        before = await store.pages()
        assert await snapshots.save()  # nothing has changed
        await store._client.flushall()
        await shard.tier.recover()
        assert await snapshots.save()
        after = await store.pages()
    finally:
        await store.close()
        server.stop()
    assert {"page:replay:0", "page:replay:1", "clients", "counters"} <= before.keys()
    assert after.keys() == before.keys()
    assert {name: after[name] for name in before if name.startswith("page:")} == {
        name: body for name, body in before.items() if name.startswith("page:")
    }
