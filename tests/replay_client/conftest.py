"""A real replay service on a thread of its own, and a small world whose observations say where they came from."""

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest

from replay.client import ActorConnection, LearnerConnection, ServiceInfo, service_info
from replay.role import run
from sojourn.columns import Schema, space_to_json
from sojourn.config import Config
from sojourn.errors import SojournError, UnavailableError
from sojourn.experience import Segment
from sojourn.metrics import Metrics
from sojourn.roles import Address, RoleContext, announced_address
from tests.waiting import DEADLINE_S, eventually

SCHEMA = Schema(
    observation=space_to_json(gym.spaces.Box(-np.inf, np.inf, (2,), np.float32)),
    action=space_to_json(gym.spaces.Box(-1.0, 1.0, (1,), np.float32)),
)


def segment(lane: int, first: int, steps: int = 8, *, closed: bool = False, **changed: Any) -> Segment:
    """Steps of one lane: observation = (lane, sequence), reward = sequence, duration 10 ms each, just ended."""
    sequence = np.arange(first, first + steps + 1, dtype=np.float32)
    ended = np.zeros(steps, bool)
    fields: dict[str, Any] = {
        "lane": lane,
        "first_sequence": first,
        "episode": 0,
        "observation": {"observation": np.stack([np.full(steps + 1, lane, np.float32), sequence], axis=1)},
        "action": {"action": np.zeros((steps, 1), np.float32)},
        "reward": sequence[:-1].copy(),
        "terminated": ended,
        "truncated": np.append(ended[1:], closed),
        "duration_s": np.full(steps, 0.01),
        "started_at_s": np.full(steps, time.monotonic() - 0.01),
        "end_kind": np.zeros(steps, np.uint8),
        "log_prob": np.zeros(steps, np.float32),
        "policy_version": np.zeros(steps, np.int64),
        "closed": closed,
    }
    return Segment(**{**fields, **changed})


class Service:
    """A replay role that can be stopped and started again over one run folder."""

    def __init__(self, folder: Path, settings: dict[str, Any], index: int) -> None:
        limiter = {"min_size": 1, "samples_per_insert": None}
        tables = settings.pop("tables", {"replay": {"capacity_steps": 4_096, "limiter": limiter}})
        replay = {"durability": "memory", **settings.pop("replay", {})}
        learners = {"table": next(iter(tables)), "batch_size": 16, "prefetch": 4, "batches_per_message": 2}
        self.config = Config.model_validate(
            {"tables": tables, "replay": replay, "learners": {**learners, **settings.pop("learners", {})}, **settings}
        )
        self.folder, self.index = folder, index
        self._stop, self._thread = threading.Event(), threading.Thread()

    @property
    def name(self) -> str:
        return f"replay-{self.index}"

    def start(self) -> "Service":
        (self.folder / "roles" / f"{self.name}.json").unlink(missing_ok=True)
        self._stop = threading.Event()
        context = RoleContext(self.config, self.folder, "run", "replay", index=self.index, stop=self._stop)
        self._thread = threading.Thread(target=run, args=(context,))
        self._thread.start()
        eventually(self.answers)
        return self

    def answers(self) -> bool:
        try:
            return not self.info().recovering
        except SojournError:
            return False

    @property
    def has_ended(self) -> bool:
        return not self._thread.is_alive()

    def stop(self) -> None:
        self._stop.set()
        if self._thread.ident is not None:
            self._thread.join(DEADLINE_S)
        assert not self._thread.is_alive()

    def address(self) -> str:
        return announced_address(self.folder, self.name)()

    def info(self) -> ServiceInfo:
        return service_info(self.address, DEADLINE_S)

    def actor(self, client_id: str = "actor-0", **changed: Any) -> ActorConnection:
        """A connection of an actor of this run; close it."""
        fleet = self.config.actors.model_copy(update=changed.pop("fleet", {}))
        arguments = {"run_id": "run", "schema": SCHEMA, "fleet": fleet, "buffer_bytes": 1 << 20, "metrics": Metrics("actor")}
        return ActorConnection(changed.pop("address", self.address), client_id=client_id, **{**arguments, **changed})

    def takes_no_lives(self) -> bool:
        """Whether a new actor is told that the shard is retired. A service that did not answer in time has said nothing."""
        try:
            self.actor("actor-new", timeout_s=0.1).close()
        except UnavailableError as error:
            return "retired" in str(error)
        return False

    def learner(self, client_id: str = "learner-0", addresses: tuple[Address, ...] = (), **changed: Any) -> LearnerConnection:
        """A connection of a learner of this run; close it."""
        config = self.config
        table = config.learners.table
        arguments = {"run_id": "run", "table": table, "table_settings": config.tables[table], "learner": config.learners}
        arguments |= {"total_env_steps": config.run.env_steps, "metrics": Metrics("learner")}
        return LearnerConnection(addresses or (self.address,), client_id=client_id, **{**arguments, **changed})


@pytest.fixture
def make_service(tmp_path: Path) -> Iterator[Callable[..., Service]]:
    """Services of one run folder; stopped at the end."""
    services: list[Service] = []

    def make(*, started: bool = True, **settings: Any) -> Service:
        services.append(Service(tmp_path, settings, len(services)))
        return services[-1].start() if started else services[-1]

    yield make
    for service in services:
        service.stop()


@pytest.fixture
def service(make_service: Callable[..., Service]) -> Service:
    """A service in memory with one uniform-priority table and no limiter."""
    return make_service()


@pytest.fixture
def make_segment() -> Callable[..., Segment]:
    return segment
