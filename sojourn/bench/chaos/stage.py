"""Real services with a past, actors and a learner on them, and the ledger: where a fault happens, over several trials.

Starts processes and threads; all of them end with the stage.
"""

import tempfile
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from replay.embedded import EmbeddedServer
from sojourn.bench.chaos.snapshot import Snapshot
from sojourn.bench.load.acknowledgements import Acknowledgements
from sojourn.bench.load.actors import Behaviour, SimulatedFleet, Target
from sojourn.bench.load.crowd import Crowd
from sojourn.bench.load.drawing import Drawing
from sojourn.bench.load.held import Held, held_by
from sojourn.bench.load.ledger import Ledger, Verdict
from sojourn.bench.load.proxy import SpoiltWire
from sojourn.bench.load.shards import RUN_ID, ShardProcess, Shards
from sojourn.bench.load.steps import HALF_CHEETAH
from sojourn.config import Config

GRADIENT_S = 0.005  # between draws
MOST_WITH_THREADS = 64  # actors whose own library runs, with its threads
ACTORS_PER_TRIAL = 1_000  # every trial has actors of its own, so that no number comes twice


@dataclass(frozen=True)
class Setting:
    """What a row needs of its stage.

    steps: in the snapshot.  mean_duration_s: of a simulated step.  wire: where bytes can be spoilt: on the clients' way, on the shard's way to
    its Redis, or on a way aside from both.
    reached_as: host under which clients reach the shard, where that is not where it listens.
    """

    steps: int = 100_000
    actors: int = 8
    mean_duration_s: float = 0.001
    wire: Literal["none", "clients", "redis", "aside"] = "none"
    listen: str = "127.0.0.1:0"
    reached_as: str = ""


class Stage:
    """Use it as a context, then `begin` and `end` a load for every trial."""

    def __init__(self, config: Config, setting: Setting, snapshot: Snapshot, seed: int) -> None:
        self.config, self.setting = config, setting
        self._snapshot, self._seed = snapshot, seed
        self._ends, self._load = ExitStack(), ExitStack()
        self._trial = -1
        self.ledger = Ledger(config.actors.environments, config.actors.segment_steps)
        self.heard = Acknowledgements()
        self.fleet: SimulatedFleet | Crowd

    def __enter__(self) -> "Stage":
        with ExitStack() as ends:
            self.folder = Path(ends.enter_context(tempfile.TemporaryDirectory(prefix="sojourn-chaos-")))
            self._snapshot.copy_to(self.folder)
            self._snapshot.note_in(self.ledger)
            config = self._behind_a_wire(ends) if self.setting.wire == "redis" else self.config
            self.shards = ends.enter_context(Shards(self.folder, config, self.setting.listen))
            if self.setting.wire in ("clients", "aside"):
                self.wire = ends.enter_context(SpoiltWire(self.shard.address))
            self._ends = ends.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._load.close()
        self._ends.close()

    @property
    def shard(self) -> ShardProcess:
        return self.shards.each[0]

    def _behind_a_wire(self, ends: ExitStack) -> Config:
        """A Redis of the stage's own, which the shard reaches through a wire."""
        server = EmbeddedServer(self.folder, 0, appendfsync="no", memory_bytes=4 << 30, rewrite_min_bytes=1 << 30)
        server.ensure_running()
        ends.callback(server.stop)
        self.wire = ends.enter_context(SpoiltWire(lambda: f"unix:{server.socket}", server.socket.parent / "wire"))
        replay = self.config.replay.model_copy(update={"redis_url": f"unix://{server.socket.parent / 'wire'}"})
        return self.config.model_copy(update={"replay": replay})

    def reached_at(self) -> str:
        """Where clients connect."""
        if self.setting.wire == "clients":
            return self.wire.address()
        listens, address = self.setting.listen.rpartition(":")[0], self.shard.address()
        return address.replace(listens, self.setting.reached_as) if self.setting.reached_as else address

    def begin(self) -> None:
        """Actors and the learner begin."""
        self._trial += 1
        self.heard = Acknowledgements()
        target = Target(RUN_ID, self.config.actors, self.config.actors.outage_buffer_bytes, self.ledger, self.heard)
        behaviour = Behaviour(mean_duration_s=self.setting.mean_duration_s, seed=self._seed + self._trial)
        actors, first = self.setting.actors, (self._trial + 5) * ACTORS_PER_TRIAL
        self.fleet = (
            Crowd(actors, self.reached_at, target, behaviour, first)
            if actors > MOST_WITH_THREADS
            else SimulatedFleet(actors, lambda index: self.reached_at, target, behaviour, first)
        )
        self.drawing = Drawing([self.reached_at], self.config, pause_s=GRADIENT_S)
        self._load.enter_context(self.drawing)
        self._load.enter_context(self.fleet)

    def end(self) -> list[str]:
        """Everything that was inserted is acknowledged, and nobody works any more. Returns who could not end well."""
        self._load.close()
        faults = list(self.fleet.undrained)
        return faults + ([f"learner: {self.drawing.fault}"] if self.drawing.fault else [])

    def judge(self) -> tuple[Verdict, Held]:
        """Compare what the services hold with the ledger."""
        held = held_by(self.shards.each, HALF_CHEETAH, self.config.learners.table)
        return self.ledger.judge(held.numbers, living=held.living, strange=held.altered), held
