"""Opening a shard's durable tier at start-up: which server, whether it is there, and whether it can give the level asked for.

Starts an embedded server where none is given; network I/O; a server that is still loading its files is waited for.
"""

import asyncio
import time
from contextlib import AsyncExitStack
from pathlib import Path

from replay.durability import ServerSettings, check_budgets, check_server, embedded_appendfsync
from replay.embedded import EmbeddedServer
from replay.redis_store import RedisStore
from replay.tier import DurableTier, StandingOf
from sojourn.config import Config
from sojourn.errors import ConfigError, UnavailableError

REACHED_WITHIN_S = 3.0
FIRST_REWRITE_BYTES = 256 << 20  # until the schema says how large the table is


async def open_tier(
    config: Config, run_folder: Path, *, run_id: str, shard: int, incarnation: int, standing: StandingOf
) -> DurableTier | None:
    """The shard's tier, its server running and checked; None at level `memory`.

    incarnation: of this life of the service, which will own the shard.  standing: see `DurableTier`.
    Raises ConfigError naming each setting with which the server cannot give the level, UnavailableError if it is not there.
    """
    replay = config.replay
    if replay.durability == "memory":
        return None
    server = None if replay.redis_url else make_embedded(config, run_folder, shard)
    if server is not None:
        await asyncio.to_thread(server.ensure_running)
    store = RedisStore(server.url if server else replay.redis_url, run_id=run_id, shard=shard, owner=incarnation)
    async with AsyncExitStack() as undo:
        undo.push_async_callback(store.close)
        await _until_reached(store)
        settings = await store.settings()
        check_server(replay.durability, settings, replay.redis_memory_bytes)
        await _claim_budget(store, settings, replay.redis_memory_bytes)
        undo.pop_all()
    store.require(replay.durability, replay.redis_memory_bytes, settings)
    return DurableTier(store, server, standing)


def make_embedded(config: Config, run_folder: Path, shard: int) -> EmbeddedServer:
    return EmbeddedServer(
        run_folder,
        shard,
        appendfsync=embedded_appendfsync(config.replay.durability),
        memory_bytes=config.replay.redis_memory_bytes,
        rewrite_min_bytes=FIRST_REWRITE_BYTES,
    )


async def _claim_budget(store: RedisStore, settings: ServerSettings, memory_bytes: int) -> None:
    """Raise ConfigError where the server has no room for this shard beside others; one that holds nothing there yet leaves no claim."""
    budgets = await store.claim_budget(memory_bytes)
    try:
        check_budgets(settings, budgets, store.tag)
    except ConfigError:
        if not await store.last_row():
            await store.release_budget()
        raise


async def _until_reached(store: RedisStore) -> None:
    deadline_s = time.monotonic() + REACHED_WITHIN_S
    while True:
        try:
            return await store.until_loaded()
        except UnavailableError as error:
            if time.monotonic() > deadline_s:
                raise UnavailableError(
                    f"{error}; start it, correct replay.redis_url, or leave that empty for an embedded one"
                ) from error
            await asyncio.sleep(0.1)
