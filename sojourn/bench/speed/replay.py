"""The rows of `sojourn bench replay`: a real service, its real Redis and real clients, each in a process of its own.

Blocks for minutes; starts and ends what it needs.
"""

import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path
from typing import Any

from sojourn.bench.load.shards import ShardProcess, Shards
from sojourn.bench.row import Size
from sojourn.bench.speed.cost import COST
from sojourn.bench.speed.drawing import Drawing, drawing
from sojourn.bench.speed.figure import INCLUSION, PRIORITISED, Row
from sojourn.bench.speed.inserting import Inserting, Order, Writers, inserting
from sojourn.bench.speed.run import Scene, Work
from sojourn.bench.speed.steps import W1, W2
from sojourn.config import Config

W1_STEPS, W2_STEPS = 1_000_000, 20_000
SEQUENCE = 80
PER_MESSAGE = 1_681
"""Steps of a segment that alone makes a message of 256 KiB of W1."""
SECONDS = 2.0  # of a turn
PACE = 101_000.0
"""Steps a second beside which sampling is measured: what is held must not fall below 100,000."""
MEGABYTE = 1e6
TABLE: Mapping[str, Any] = {"priority_exponent": 0.6, "limiter": {"samples_per_insert": None, "min_size": 256}}
PREFETCH: Mapping[str, Any] = {"prefetch": 64, "batches_per_message": 16}


class Stage:
    """A service that runs and is filled, and its clients, connected when they are first asked for."""

    def __init__(self, shard: ShardProcess, config: Config, size: Size, ends: ExitStack) -> None:
        self._shard = shard
        self.seconds = SECONDS / size.of(1, 10)
        self._config, self._ends = config, ends
        self._empty_bytes = shard.resident_bytes()
        self._target = shard.address()
        self._drawing: Drawing | None = None
        self._inserting: dict[tuple[Writers, ...], Inserting] = {}

    @property
    def drawing(self) -> Drawing:
        """The learner of the service's table."""
        if self._drawing is None:
            self._drawing = self._ends.enter_context(drawing(self._target, self._config, self._config.learners.table))
        return self._drawing

    def inserting(self, *writers: Writers) -> Inserting:
        """Clients that insert."""
        if writers not in self._inserting:
            self._inserting[writers] = self._ends.enter_context(inserting(self._target, *writers))
        return self._inserting[writers]

    def resident_bytes(self) -> tuple[int, int]:
        """What the table has added to the service's process, and the whole of it."""
        resident_bytes = self._shard.resident_bytes()
        return resident_bytes - self._empty_bytes, resident_bytes

    def insert_rate(self, *writers: Writers) -> float:
        """Steps a second that these clients insert together."""
        return self.inserting(*writers).rate(Order(seconds=self.seconds))


def stage(
    writers: Writers, steps: int, *, batch_size: int, durability: str = "process", listen: str = "127.0.0.1:0", **table: Any
) -> Callable[[Size], AbstractContextManager[Stage]]:
    """A service with one table of so many steps, filled by these clients. `listen`: "unix" is a socket in the run folder."""

    @contextmanager
    def opened(size: Size) -> Iterator[Stage]:
        capacity = size.of(steps, steps // 50)
        config = Config.model_validate(
            {
                "tables": {"replay": {**TABLE, "capacity_steps": capacity, **table}},
                "replay": {"durability": durability},
                "learners": {"batch_size": batch_size, **PREFETCH},
            }
        )
        with ExitStack() as ends:
            folder = Path(ends.enter_context(tempfile.TemporaryDirectory(prefix="sojourn-speed-")))
            where = f"unix:{folder}/replay.sock" if listen == "unix" else listen
            shards = ends.enter_context(Shards(folder, config, where))
            ready = Stage(shards.each[0], config, size, ends)
            ready.inserting(writers).rate(Order(steps=capacity + capacity // 20))
            yield ready

    return opened


ONE = Writers("one", segment_steps=PER_MESSAGE)
SMALL = Writers("small", message_steps=64)
LANES = Writers("lanes", lanes=32)
MANY = tuple(Writers(f"many-{process}", streams=16, segment_steps=PER_MESSAGE) for process in range(4))
IMAGES = Writers("images", kind="W2")


def together(at: Stage) -> tuple[float, float]:
    """Items sampled and updated a second, and steps inserted a second beside it."""
    writing = at.inserting(ONE)
    writing.begin(Order(seconds=at.seconds + 0.5, steps_per_s=PACE))
    sampled = at.drawing.sample_and_update(at.seconds)
    return sampled, sum(found.rate for found in writing.ended())


def streams(at: Stage) -> tuple[float, float]:
    """Steps a second over 64 streams, and their share of what one stream reaches in the same turn."""
    one, many = at.insert_rate(ONE), at.insert_rate(*MANY)
    return many, many / one


def memory(at: Stage) -> tuple[float, float]:
    """What the table has added to the service's process, ring and indexes and whatever else, and the whole process, in MB."""
    added, resident = at.resident_bytes()
    return added / MEGABYTE, resident / MEGABYTE


W1_AT_PROCESS = Scene(
    stage(ONE, W1_STEPS, batch_size=256),
    (
        Work(
            (Row(name="w1-sample", what="W1 sample, one client, bounded prefetch", unit="items/s", target=1_500_000),),
            lambda at: (at.drawing.sample(at.seconds),),
        ),
        Work(
            (Row(name="w1-insert", what="W1 insert, one client, 256 KiB messages", unit="steps/s", target=500_000),),
            lambda at: (at.insert_rate(ONE),),
        ),
        Work(
            (Row(name="w1-insert-64", what="W1 insert, one client, 64 steps a message", unit="steps/s"),),
            lambda at: (at.insert_rate(SMALL),),
        ),
        Work(
            (
                Row(
                    name="w1-insert-lanes",
                    what="W1 insert, one client, 256 KiB of 64 steps from each of 32 lanes",
                    unit="steps/s",
                ),
            ),
            lambda at: (at.insert_rate(LANES),),
        ),
        Work(
            (
                Row(name="w1-together", what="W1 sample with priority updates, beside inserts", unit="items/s", target=600_000),
                Row(name="w1-together-inserted", what="the inserts beside it, held at that", unit="steps/s", target=100_000),
            ),
            together,
        ),
        Work(
            (
                Row(name="w1-64-streams", what="W1 insert, 64 clients together", unit="steps/s"),
                Row(name="w1-64-streams-share", what="the same over one client's rate", unit="x", target=0.8),
            ),
            streams,
        ),
        Work(
            (
                Row(name="w1-table", what="what the full table adds to the replay process", unit="MB", target=300, higher=False),
                Row(name="w1-process", what="replay process, W1 full, Redis apart", unit="MB", target=600, higher=False),
            ),
            memory,
        ),
    ),
)
W1_IN_MEMORY = Scene(
    stage(ONE, W1_STEPS, batch_size=256, durability="memory"),
    (
        Work(
            (
                Row(
                    name="w1-insert-memory",
                    what="W1 insert, one client, 256 KiB messages, level memory",
                    unit="steps/s",
                    target=1_000_000,
                    on=(PRIORITISED, INCLUSION),
                ),
            ),
            lambda at: (at.insert_rate(ONE),),
        ),
        Work(
            (
                Row(
                    name="w1-insert-64-memory",
                    what="W1 insert, one client, 64 steps a message, level memory",
                    unit="steps/s",
                    on=(PRIORITISED, INCLUSION),
                ),
            ),
            lambda at: (at.insert_rate(SMALL),),
        ),
    ),
)
W2_BY_TCP = Scene(
    stage(IMAGES, W2_STEPS, batch_size=64),
    (
        Work(
            (Row(name="w2-sample", what="W2 sample, one client, TCP", unit="MB/s", target=700),),
            lambda at: (at.drawing.sample(at.seconds) * W2.item_bytes / MEGABYTE,),
        ),
    ),
)
W2_BY_SOCKET = Scene(
    stage(IMAGES, W2_STEPS, batch_size=64, listen="unix"),
    (
        Work(
            (Row(name="w2-sample-unix", what="W2 sample, one client, Unix socket", unit="MB/s", target=900),),
            lambda at: (at.drawing.sample(at.seconds) * W2.item_bytes / MEGABYTE,),
        ),
    ),
)
W3 = Scene(
    stage(ONE, W1_STEPS, batch_size=32, item="sequence", length=SEQUENCE, period=SEQUENCE // 2),
    (
        Work(
            (Row(name="w3-sample", what="W3 sample, one client: sequences of 80 W1 steps", unit="MB/s", target=700),),
            lambda at: (at.drawing.sample(at.seconds) * SEQUENCE * W1.step_bytes / MEGABYTE,),
        ),
    ),
)
SCENES = (W1_AT_PROCESS, W1_IN_MEMORY, W2_BY_TCP, W2_BY_SOCKET, W3, COST)
