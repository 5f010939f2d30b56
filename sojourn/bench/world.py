"""A real replay service and real connections on a clock that stands still until it is told to go on.

The service listens on a thread of its own, at level `memory`; connections are those of actors and learners. Calls block and use the
loopback. What a row of the benchmark measures has gone through all of it.
"""

import asyncio
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np

from replay.client import ActorConnection, LearnerConnection, ServiceInfo, service_info
from replay.server import ReplayServer
from replay.shard import Clock
from sojourn.columns import Schema, space_to_json
from sojourn.config import Config
from sojourn.errors import DeadlineError, UnavailableError
from sojourn.metrics import Metrics
from sojourn.roles import Address, fixed_address

RUN_ID = "bench"
BEGIN_S = 1_000.0  # where simulated clocks start: some rows begin with actions that started before
LOOK_S = 0.002  # how often it is looked at what nobody announces, in real seconds
DEADLINE_S = 60.0  # of anything that waits for the service, in real seconds
BUFFER_BYTES = 256 << 20
TABLE = {"sampler": "fifo", "consume": True, "capacity_steps": 200_000, "limiter": {"samples_per_insert": None, "min_size": 1}}
FOREVER_S = 1e6


def eventually(holds: Callable[[], bool], what: str) -> None:
    """Wait, in real time, until the condition holds. Raises DeadlineError that says what was waited for."""
    until_s, pause = time.monotonic() + DEADLINE_S, threading.Event()
    while not holds():
        if time.monotonic() > until_s:
            raise DeadlineError(f"waited {DEADLINE_S:g} s for {what}")
        pause.wait(LOOK_S)


class SimulatedClock:
    """Seconds that pass only when somebody says so."""

    def __init__(self, now_s: float = BEGIN_S) -> None:
        self.now_s = now_s

    def __call__(self) -> float:
        return self.now_s


class Service:
    """One shard, listening from `start` to `stop`."""

    def __init__(self, config: Config, folder: Path, clock: SimulatedClock, index: int = 0) -> None:
        self._clock = Clock(now_s=clock, unix_s=clock)
        self._config, self._folder, self._index = config, folder, index
        self._listening = threading.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stop = asyncio.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()), name=f"bench replay-{index}")
        self.target = ""

    def start(self) -> None:
        """Returns once clients are served. Raises UnavailableError if that fails."""
        self._thread.start()
        self._listening.wait(DEADLINE_S)
        if not self.target:
            raise UnavailableError("the replay service of the benchmark did not start; see the log")

    def stop(self) -> None:
        if self._loop is not None and self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(DEADLINE_S)

    async def _serve(self) -> None:
        self._loop = asyncio.get_running_loop()
        metrics = Metrics("replay")
        server = ReplayServer(self._config, self._folder, run_id=RUN_ID, index=self._index, metrics=metrics, clock=self._clock)
        try:
            self.target = await server.open("127.0.0.1:0")
            serving = asyncio.create_task(server.serve(self._stop))
            recovered = asyncio.create_task(server.shard.samplers.until(lambda: not server.shard.recovering))
            await asyncio.wait({serving, recovered}, return_when=asyncio.FIRST_COMPLETED)
            self._listening.set()  # only now: a client that comes earlier is sent away, and waits before it asks again
            await serving
        finally:
            self._listening.set()
            await server.close()


class World:
    """Shards, connections and one clock. Use it as a context; everything ends with it.

    tables: settings by table, on top of a consuming FIFO table without a limiter.  labels: what each step is known by; they travel
    as its observation, float64.
    """

    def __init__(
        self, tables: Mapping[str, Mapping[str, Any]], *, labels: Sequence[str], seed: int, shards: int = 1, **sections: Any
    ) -> None:
        self.clock = SimulatedClock()
        self.labels = tuple(labels)
        self.config = Config.model_validate(
            {
                "run": {"seed": seed},
                "duration": {"clock": "env"},
                "tables": {name: {**TABLE, **changes} for name, changes in tables.items()},
                "replay": {"durability": "memory", "snapshot_every_s": FOREVER_S, "shards": shards},
                "learners": {"table": next(iter(tables))},
                **sections,
            }
        )
        self.schema = Schema(
            observation=space_to_json(gym.spaces.Box(-np.inf, np.inf, (len(self.labels),), np.float64)),
            action=space_to_json(gym.spaces.Box(-1.0, 1.0, (1,), np.float32)),
            storage_dtype="same",
        )
        self._addresses: list[Address] = []
        self._ends = ExitStack()

    def __enter__(self) -> "World":
        with ExitStack() as ends:
            folder = Path(ends.enter_context(tempfile.TemporaryDirectory(prefix="sojourn-bench-")))
            for index in range(self.config.replay.shards):
                service = Service(self.config, folder, self.clock, index)
                service.start()
                ends.callback(service.stop)
                self._addresses.append(fixed_address(service.target))
            self._ends = ends.pop_all()
        return self

    @contextmanager
    def elsewhere(self, addresses: Sequence[Address]) -> Iterator[None]:
        """Connections go to these services, which others have started, instead of the world's own; they end with the block."""
        with ExitStack() as ends:
            self._addresses, self._ends = list(addresses), ends
            yield

    def __exit__(self, *_: object) -> None:
        self._ends.close()

    def info(self, shard: int = 0) -> ServiceInfo:
        """What a shard says about itself."""
        return service_info(self._addresses[shard])

    def items(self, table: str) -> int:
        """Drawable items of a table, over all shards."""
        found = [self.info(shard).table(table) for shard in range(len(self._addresses))]
        return sum(info.facts.items for info in found if info is not None)

    def actor(
        self, name: str = "actor", *, pool: str = "", speed_class: str = "", shard: int = 0, **changed: Any
    ) -> ActorConnection:
        """A connection of one actor, on the world's clock; it closes with the world."""
        told: dict[str, Any] = {"flush_bytes": 1 << 30, "flush_age_s": FOREVER_S, "segment_steps": 1 << 30}
        fleet = self.config.actors.model_copy(update={**told, "pool": pool, "speed_class": speed_class})
        arguments: dict[str, Any] = {
            "schema": self.schema,
            "fleet": fleet,
            "buffer_bytes": BUFFER_BYTES,
            "now_s": self.clock,
            "heartbeat_gap_s": FOREVER_S,  # they go out when the driver waits for them: ages are of a moment, and the clock must not move on
        }
        connection = ActorConnection(self._addresses[shard], run_id=RUN_ID, client_id=name, **{**arguments, **changed})
        self._ends.callback(connection.close)
        return connection

    def learner(self, table: str, batch_size: int, *, ahead: int = 64) -> LearnerConnection:
        """A connection of a learner that draws from a table, at most `ahead` batches early; it closes with the world."""
        settings = self.config.learners.model_copy(
            update={"batch_size": batch_size, "prefetch": ahead, "batches_per_message": min(ahead, 16)}
        )
        connection = LearnerConnection(
            self._addresses,
            run_id=RUN_ID,
            client_id=f"learner-{table}",
            table=table,
            table_settings=self.config.tables[table],
            learner=settings,
            total_env_steps=self.config.run.env_steps,
            seed=self.config.run.seed,
        )
        self._ends.callback(connection.close)
        return connection
