"""A run without actors for tests of learners: real replay and parameter services on threads, experience by hand."""

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch

import learners.role
import replay.role
import sojourn.parameters.role
from replay.client import ActorConnection, TableInfo, service_info
from sojourn.columns import Column, Schema, space_to_json
from sojourn.config import Config
from sojourn.experience import Batch, SampleInfo, Segment
from sojourn.metrics import Metrics
from sojourn.parameters.client import Watcher
from sojourn.roles import RoleContext, announced_address
from tests.waiting import DEADLINE_S, eventually

SCHEMA = Schema(
    observation=space_to_json(gym.spaces.Box(-np.inf, np.inf, (3,), np.float32)),
    action=space_to_json(gym.spaces.Box(-1.0, 1.0, (2,), np.float32)),
)


def random_segment(first: int, steps: int, seed: int, schema: Schema = SCHEMA, episode: int = 0, end: str = "") -> Segment:
    """Steps of lane 0 that go on from sequence number `first`, chosen by version 1.  end: "terminated" or "truncated" closes it."""
    rng = np.random.default_rng(seed)
    last = np.arange(steps) == steps - 1
    return Segment(
        lane=0,
        first_sequence=first,
        episode=episode,
        observation={column.name: _random(rng, steps + 1, column) for column in schema.observation_columns()},
        action={column.name: _random(rng, steps, column) for column in schema.action_columns()},
        reward=rng.standard_normal(steps).astype(np.float32),
        terminated=last & (end == "terminated"),
        truncated=last & (end == "truncated"),
        duration_s=rng.exponential(0.01, steps),
        started_at_s=np.full(steps, time.monotonic() - 0.01),
        end_kind=np.zeros(steps, np.uint8),
        log_prob=rng.uniform(-2.0, 0.0, steps).astype(np.float32),
        policy_version=np.ones(steps, np.int64),
        closed=bool(end),
        extras={column.name: _random(rng, steps, column) for column in schema.extras},
    )


def _random(rng: np.random.Generator, rows: int, column: Column) -> np.ndarray:
    """Values that every space of the tests holds: whole numbers 0 and 1, images, floats in [-1, 1]."""
    shape = (rows, *column.shape)
    if column.dtype.startswith("float"):
        return rng.uniform(-1.0, 1.0, shape).astype(column.dtype)
    return rng.integers(0, 256 if column.dtype == "uint8" and len(column.shape) == 3 else 2, shape).astype(column.dtype)


def config_of(**sections: Any) -> Config:
    """A small network, no limiter, one publication as soon as the one before is durable."""
    table = {"capacity_steps": 4_096, "limiter": {"min_size": 1, "samples_per_insert": None}, **sections.pop("table", {})}
    learner = {"batch_size": 16, "prefetch": 2, "batches_per_message": 1, "publish_every_s": 0.0, **sections.pop("learners", {})}
    return Config.model_validate(
        {
            "tables": {"replay": table},
            "replay": {"durability": "memory"},
            "network": {"hidden": (16,)},
            "learners": {"device": "cpu", **learner},
            **sections,
        }
    )


class Run:
    """Services of one run folder, an actor at each shard, and lives of the learner one after the other."""

    def __init__(self, folder: Path, config: Config, schema: Schema = SCHEMA) -> None:
        self.folder, self.config, self.schema = folder, config, schema
        self._threads = ThreadPoolExecutor(8)
        self._stops: list[tuple[threading.Event, Future[None]]] = []
        self._sequence = self._episode = self._crashes = 0
        shards = range(config.replay.shards)
        for shard in shards:
            self._start("replay", replay.role.run, config, index=shard)
        self._start("parameters", sojourn.parameters.role.run, config)
        self.shards = tuple(announced_address(folder, f"replay-{shard}") for shard in shards)
        self.replay = self.shards[0]
        self.parameters = announced_address(folder, "parameters-0")
        services = ["parameters-0", *(f"replay-{shard}" for shard in shards)]
        eventually(lambda: all((folder / "roles" / f"{name}.json").exists() for name in services))
        self.watcher = Watcher(self.parameters, run_id="run", client_id="actor-0")
        self._actors = [self._actor(shard) for shard in shards]

    def _actor(self, shard: int) -> ActorConnection:
        return ActorConnection(
            self.shards[shard],
            run_id="run",
            client_id=f"actor-{shard}",
            schema=self.schema,
            fleet=self.config.actors,
            buffer_bytes=1 << 20,
            metrics=Metrics("actor"),
        )

    def crash(self) -> None:
        """All actors end without a word, and new lives begin, which cuts the lanes of the old ones."""
        for actor in self._actors:
            actor.abandon()
        self._actors = [self._actor(shard) for shard in range(len(self.shards))]
        self._sequence = self._episode = 0
        self._crashes += 1

    def insert(self, steps: int, end: str = "") -> None:
        """Random experience for every shard; one item a step but for the last, which waits for its successor.

        end: "terminated" or "truncated" ends the episode behind it.
        """
        for shard, actor in enumerate(self._actors):
            seed = self._sequence + 1_000_000 * shard + 10_000_000 * self._crashes
            actor.insert(random_segment(self._sequence, steps, seed, self.schema, self._episode, end))
            assert actor.drain(DEADLINE_S)
        self._sequence += steps + bool(end)
        self._episode += bool(end)

    def learner(self, **changed: Any) -> tuple[threading.Event, "Future[None]"]:
        """Start a life of the learner; sections of its configuration may be changed. Returns (stop, its end)."""
        config = self.config.model_copy(update={name: value for name, value in changed.items() if name != "run_id"})
        return self._start("learner", learners.role.run, config, changed.get("run_id", "run"))

    def learn(self, steps: int, **changed: Any) -> None:
        """A life of the learner until it has made so many steps."""
        settings = changed.pop("learners", self.config.learners).model_copy(update={"steps": steps})
        _, ended = self.learner(learners=settings, **changed)
        ended.result(DEADLINE_S)

    def table(self) -> TableInfo:
        return service_info(self.replay, DEADLINE_S).tables[0]

    def checkpoints(self) -> list[str]:
        return sorted(path.name for path in (self.folder / "checkpoints").glob("step_*"))

    def _start(
        self, role: str, run: Callable[[RoleContext], None], config: Config, run_id: str = "run", index: int = 0
    ) -> tuple[threading.Event, "Future[None]"]:
        stop = threading.Event()
        services = {"replay": self.shards, "parameters": self.parameters} if role == "learner" else {}
        context = RoleContext(config, self.folder, run_id, role, index, stop=stop, **services)
        self._stops.append((stop, self._threads.submit(run, context)))
        return self._stops[-1]

    def close(self) -> None:
        self.watcher.close()
        for actor in self._actors:
            actor.close()
        for stop, ended in reversed(self._stops):
            stop.set()
            ended.exception(DEADLINE_S)
        self._threads.shutdown()


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture
def make_config() -> Callable[..., Config]:
    return config_of


@pytest.fixture
def schema() -> Schema:
    return SCHEMA


@pytest.fixture
def make_run(tmp_path: Path) -> Iterator[Callable[..., Run]]:
    """A run with its services started; stopped at the end."""
    runs: list[Run] = []

    def make(folder: str = "run", schema: Schema = SCHEMA, **sections: Any) -> Run:
        runs.append(Run(tmp_path / folder, config_of(**sections), schema))
        return runs[-1]

    yield make
    for run in runs:
        run.close()


@pytest.fixture
def make_batch() -> Callable[..., Batch]:
    """A batch of transitions as the connection hands them out: read-only arrays."""

    def make(size: int = 4, seed: int = 0) -> Batch:
        rng = np.random.default_rng(seed)
        columns = {
            "observation": rng.standard_normal((size, 3)).astype(np.float32),
            "next_observation": rng.standard_normal((size, 3)).astype(np.float32),
            "action": rng.uniform(-1, 1, (size, 2)).astype(np.float32),
            "reward": rng.standard_normal((size, 1)).astype(np.float32),
            "duration_s": rng.uniform(0, 1, (size, 1)),
            "mask": np.ones((size, 1), bool),
            "terminated": np.zeros(size, bool),
            "policy_version": np.full(size, 3, np.int64),
        }
        for column in columns.values():
            column.setflags(write=False)
        whole, real = np.arange(1, size + 1, dtype=np.uint64), np.ones(size)
        info = SampleInfo(
            key=whole,
            probability=real / size,
            table_items=float(size),
            times_sampled=np.ones(size, np.uint32),
            policy_version=columns["policy_version"],
            delay_s=real,
            age_s=real,
            duration_s=real,
            task=np.zeros(size, np.int64),
            shard=np.zeros(size, np.uint32),
            draw_id=np.zeros(size, np.uint64),
            redelivered=np.zeros(size, bool),
        )
        return Batch("replay", columns, info, rng.uniform(0.5, 1.5, size).astype(np.float32), {})

    return make
