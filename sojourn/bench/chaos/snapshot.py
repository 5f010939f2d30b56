"""A run folder that is filled beforehand, so that a fault meets a service with a past. Made once, copied for every stage."""

import shutil
import time
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from replay.client import ActorConnection
from sojourn.bench.load.ledger import Ledger
from sojourn.bench.load.shards import RUN_ID, Shards
from sojourn.bench.load.steps import HALF_CHEETAH, Generator, schema_of
from sojourn.config import Config
from sojourn.errors import DeadlineError

FILLER = 4_095  # the actor whose steps they are
LANES = 4
CHUNK_STEPS = 1_600  # of HalfCheetah's shapes: about 256 KiB
FILL_S = 120.0


@dataclass(frozen=True)
class Snapshot:
    """What the services of a run left behind. steps: acknowledged ones of actor `FILLER`."""

    folder: Path
    steps: int

    def copy_to(self, folder: Path) -> None:
        """Make a run folder that goes on from here."""
        shutil.copytree(self.folder / "redis", folder / "redis", ignore=shutil.ignore_patterns("*.lock", "*.json", "*.log"))

    def note_in(self, ledger: Ledger) -> None:
        """Take its steps down as acknowledged."""
        ledger.offer(FILLER, self.steps)
        ledger.acknowledge(FILLER, 0, self.steps, refused=False)


def make_snapshot(folder: Path, config: Config, steps: int) -> Snapshot:
    """Fill the first shard of a fresh run with so many steps, at least, in chunks of 256 KiB, and end its services."""
    fleet = config.actors.model_copy(update={"segment_steps": CHUNK_STEPS, "environments": 1})
    generator = Generator(HALF_CHEETAH, CHUNK_STEPS, np.random.default_rng(0))
    ledger = Ledger(LANES, CHUNK_STEPS)
    with Shards(folder, config) as shards:
        actor = ActorConnection(
            shards.each[0].address,
            run_id=RUN_ID,
            client_id="filler",
            schema=schema_of(HALF_CHEETAH),
            fleet=fleet,
            buffer_bytes=config.actors.outage_buffer_bytes,
        )
        for number in range(-(-steps // CHUNK_STEPS)):
            first = ledger.offer(FILLER, CHUNK_STEPS)
            sequence = number // LANES * CHUNK_STEPS
            duration_s = np.full(CHUNK_STEPS, 0.001)
            actor.insert(generator.segment(number % LANES, sequence, first, duration_s, time.monotonic()))
        drained = actor.drain(FILL_S)
        actor.close()
    if not drained:
        raise DeadlineError(f"the services did not take {steps} steps within {FILL_S:g} s")
    return replace(Snapshot(folder, 0), steps=-(-steps // CHUNK_STEPS) * CHUNK_STEPS)
