"""Stores and services of one-step items whose starts, durations and versions the test chooses."""

import asyncio
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import gymnasium as gym
import numpy as np
import pytest

from replay.arrow import decode_chunk, encode_chunk
from replay.client import ActorConnection, LaneCounts, LearnerConnection, Pace, RunningAction
from replay.rows import Rows
from replay.server import ReplayServer
from replay.shard import Clock as ServiceClock
from replay.store import Store
from sojourn.columns import Schema, space_to_json
from sojourn.config import Config
from sojourn.config.schema import LimiterSettings, TableSettings
from sojourn.experience import Columns, Segment
from sojourn.metrics import Metrics
from sojourn.roles import fixed_address
from tests.waiting import DEADLINE_S, eventually

SCHEMA = Schema(
    observation=space_to_json(gym.spaces.Box(-np.inf, np.inf, (1,), np.float32)), action=space_to_json(gym.spaces.Discrete(2))
)


def one_steps(
    lane: int, first_sequence: int, started_at_s: Any, duration_s: Any, versions: Any = 0, action: int = 0
) -> list[Segment]:
    """Episodes of one step each, one segment an episode; sequence numbers go up by two."""
    started = np.atleast_1d(np.asarray(started_at_s, np.float64))
    durations, versions = np.broadcast_to(duration_s, started.shape), np.broadcast_to(versions, started.shape)
    return [
        Segment(
            lane=lane,
            first_sequence=first_sequence + 2 * place,
            episode=first_sequence // 2 + place,
            observation={"observation": np.zeros((2, 1), np.float32)},
            action={"action": np.full(1, action, np.int64)},
            reward=np.ones(1, np.float32),
            terminated=np.ones(1, np.bool_),
            truncated=np.zeros(1, np.bool_),
            duration_s=durations[place : place + 1].astype(np.float64),
            started_at_s=started[place : place + 1],
            end_kind=np.zeros(1, np.uint8),
            log_prob=np.zeros(1, np.float32),
            policy_version=versions[place : place + 1].astype(np.int64),
            closed=True,
        )
        for place in range(len(started))
    ]


def rows_of(segments: list[Segment], now_s: float) -> Rows:
    return decode_chunk(SCHEMA, encode_chunk(SCHEMA, segments, now_s))


class World:
    """A store with one table `replay`, and lanes that deliver one-step episodes."""

    def __init__(self, **settings: Any) -> None:
        table = {"capacity_steps": 4_096, "capacity_bytes": 50_000_000, "sampler": "uniform", **settings}
        free = LimiterSettings(samples_per_insert=None, min_size=1)
        self.settings = TableSettings(limiter=free, **table)
        self.store = Store(SCHEMA, {"replay": self.settings}, seed=0, batch_size=4)
        self._next: dict[int, int] = {}

    def deliver(
        self, now_s: float, started_at_s: Any, duration_s: Any, *, lane: int = 0, beside: Columns | None = None, **told: Any
    ) -> int:
        """Insert one-step episodes that end now; returns the items made. beside: what a start log knows of the rows, by row."""
        segments = one_steps(lane, self._next.get(lane, 0), started_at_s, duration_s, **told)
        self._next[lane] = self._next.get(lane, 0) + 2 * len(segments)
        rows = rows_of(segments, now_s)
        self.store.validate(rows, ("actor-0", 1))
        return self.store.append(rows, ("actor-0", 1), now_s, beside=beside).new_items["replay"]

    def draw(self, now_s: float, size: int = 64) -> Columns | None:
        drawn = self.store.draw("replay", size, 1, now_s)
        return None if drawn is None else drawn.columns


@pytest.fixture
def world() -> Callable[..., World]:
    return World


@pytest.fixture(scope="session")
def kit() -> SimpleNamespace:
    return SimpleNamespace(schema=SCHEMA, one_steps=one_steps, rows=rows_of, heard=heard)


class Clock:
    """Seconds that pass when the test says so."""

    def __init__(self) -> None:
        self.now_s = 1_000.0

    def __call__(self) -> float:
        return self.now_s


class Service:
    """Shards listening on a thread of their own, on the test's clock, with the connections that the test asks for."""

    def __init__(self, folder: Path, clock: Clock, settings: dict[str, Any], shards: int, sections: dict[str, Any]) -> None:
        table = {"sampler": "fifo", "capacity_steps": 65_536, "limiter": {"samples_per_insert": None, "min_size": 1}, **settings}
        self.clock, self._folder = clock, folder
        self.config = Config.model_validate(
            {
                "tables": {"replay": table},
                "replay": {"durability": "memory", "shards": shards},
                "learners": {"batch_size": 64, "prefetch": 16, "batches_per_message": 8},
                **sections,
            }
        )
        self.servers: list[ReplayServer] = []
        self.targets: list[str] = []
        self._listening, self._ends = threading.Event(), ExitStack()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()))
        self._thread.start()
        assert self._listening.wait(DEADLINE_S)

    async def _serve(self) -> None:
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        for index in range(self.config.replay.shards):
            clock = ServiceClock(now_s=self.clock, unix_s=self.clock)
            self.servers.append(
                ReplayServer(self.config, self._folder, run_id="run", index=index, metrics=Metrics("replay"), clock=clock)
            )
            self.targets.append(await self.servers[-1].open("127.0.0.1:0"))
        serving = asyncio.gather(*(server.serve(self._stop) for server in self.servers))
        for shard in [server.shard for server in self.servers]:
            await shard.samplers.until(lambda shard=shard: not shard.recovering)  # a client that comes earlier is sent away
        self._listening.set()
        await serving
        await asyncio.gather(*(server.close() for server in self.servers))

    def stop(self) -> None:
        self._ends.close()
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(DEADLINE_S)
        assert not self._thread.is_alive()

    def actor(
        self, name: str = "actor-0", *, shard: int = 0, clock: Callable[[], float] | None = None, **fleet: Any
    ) -> ActorConnection:
        told = {"flush_age_s": 1e6, "flush_bytes": 1 << 30, "segment_steps": 1 << 20, **fleet}
        connection = ActorConnection(
            fixed_address(self.targets[shard]),
            run_id="run",
            client_id=name,
            schema=SCHEMA,
            fleet=self.config.actors.model_copy(update=told),
            buffer_bytes=1 << 26,
            now_s=clock or self.clock,
        )
        self._ends.callback(connection.close)
        return connection

    def learner(self, name: str = "learner-0", metrics: Metrics | None = None, **duration: Any) -> LearnerConnection:
        table = self.config.tables["replay"]
        settings = table.model_copy(update={"duration": table.duration.model_copy(update=duration)})
        connection = LearnerConnection(
            [fixed_address(target) for target in self.targets],
            run_id="run",
            client_id=name,
            table="replay",
            table_settings=settings,
            learner=self.config.learners,
            total_env_steps=1_000_000,
            metrics=metrics,
            now_s=self.clock,
        )
        self._ends.callback(connection.close)
        return connection


@pytest.fixture
def make_service(tmp_path: Path) -> Iterator[Callable[..., Service]]:
    """`make_service(shards=1, sections={}, **table)`: listening; stopped at the end."""
    services: list[Service] = []

    def make(*, shards: int = 1, sections: dict[str, Any] | None = None, **settings: Any) -> Service:
        services.append(Service(tmp_path, Clock(), settings, shards, sections or {}))
        return services[-1]

    yield make
    for service in services:
        service.stop()


def heard(connection: ActorConnection, lanes: list[LaneCounts], running: list[RunningAction]) -> Pace:
    """Report, and wait for the answer to a heartbeat that said it."""
    started = sum(lane.started for lane in lanes)
    connection.report(lanes, running)
    eventually(lambda: connection.pace().counted_starts == started)
    return connection.pace()
