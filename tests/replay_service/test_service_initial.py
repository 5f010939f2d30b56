"""Does a shard that nobody launched begin with `replay.initial`, exactly once? `run_alone`, as `python -m replay` does."""

import asyncio
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from replay.client import ServiceInfo, service_info
from replay.embedded import EmbeddedServer
from replay.role import run_alone
from sojourn.config import Config
from sojourn.errors import ConfigError, SojournError
from sojourn.roles import RoleContext, announced_address
from tests.foreign_data import foreign_episodes
from tests.waiting import DEADLINE_S, eventually_async

STEPS, SHARDS = 240, 2


def make_config(given: Path, **replay: Any) -> Config:
    table = {"capacity_steps": 4_096, "limiter": {"min_size": 1, "samples_per_insert": None}}
    told = {"durability": "process", "initial": str(given), "shards": SHARDS, **replay}
    return Config.model_validate({"environment": {"id": "Pendulum-v1"}, "replay": told, "tables": {"replay": table}})


def told_by(folder: Path, shard: int) -> ServiceInfo | None:
    try:
        return service_info(announced_address(folder, f"replay-{shard}"), 5.0)
    except SojournError:
        return None


@asynccontextmanager
async def shards_alone(folder: Path, config: Config) -> AsyncIterator[asyncio.Future[Any]]:
    """One life of every shard of a run that nobody launched. Yields what shard 0 comes to."""
    stop = threading.Event()
    addresses = tuple(announced_address(folder, f"replay-{shard}") for shard in range(SHARDS))
    contexts = [RoleContext(config, folder, "run", "replay", index=shard, replay=addresses, stop=stop) for shard in range(SHARDS)]
    lives = [asyncio.ensure_future(asyncio.to_thread(run_alone, context)) for context in contexts]
    try:
        yield lives[0]
    finally:
        stop.set()
        await asyncio.wait(lives, timeout=DEADLINE_S)
        for file in (folder / "roles").glob("*.json"):
            file.unlink()


async def steps_of(folder: Path, at_least: int) -> int:
    """Of all shards, once there are so many."""

    async def are_there() -> int:
        infos = [await asyncio.to_thread(told_by, folder, shard) for shard in range(SHARDS)]
        counted = sum(info.env_steps for info in infos if info is not None and not info.recovering)
        return counted if all(infos) and counted >= at_least else 0

    await eventually_async(are_there)
    return await are_there()


async def finished(folder: Path) -> None:
    async def is_finished() -> bool:
        file = folder / "initial.json"
        return file.exists() and '"finished": true' in file.read_text()

    await eventually_async(is_finished)


async def test_shards_that_nobody_launched_begin_with_given_experience_once_over_all_lives(tmp_path: Path) -> None:
    given, folder = tmp_path / "given", tmp_path / "run"
    foreign_episodes(given, episodes=8, steps=STEPS // 8)
    folder.mkdir()
    config = make_config(given)
    async with shards_alone(folder, config):
        await finished(folder)
        assert await steps_of(folder, STEPS) == STEPS
    (folder / "initial.json").unlink()  # a container's folder is gone, its durable tier is not
    async with shards_alone(folder, config):
        assert await steps_of(folder, STEPS) == STEPS
    assert not (folder / "initial.json").exists()  # nothing had to be sent
    for shard in range(SHARDS):
        EmbeddedServer(folder, shard, appendfsync="no", memory_bytes=0, rewrite_min_bytes=0).stop()


async def test_what_is_no_data_set_ends_the_shard_that_would_send_it(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    async with shards_alone(tmp_path / "run", make_config(tmp_path / "nothing", durability="memory")) as first:
        with pytest.raises(ConfigError, match="nothing"):
            await asyncio.wait_for(first, DEADLINE_S)
