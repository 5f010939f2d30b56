"""One trial: a fault under load, how long until inserts and samples go on, and what the ledger says. Blocks for seconds."""

import time
from dataclasses import dataclass

import numpy as np

from sojourn.bench.chaos.faults import Fault
from sojourn.bench.chaos.stage import Stage
from sojourn.bench.load.shards import eventually
from sojourn.errors import SojournError

LOADED_S = (0.3, 1.5)  # how long there is load before the fault, at random
RECOVERED_S = 60.0


@dataclass(frozen=True)
class Found:
    """What a trial found. first_insert_s, first_sample_s: from the fault, or its end, until one went through; None: none did.

    left_out: acknowledged steps that were damaged on disk, found so and named.  said: what a user sees.
    broken: which promise was broken, "" if none.
    """

    lost: int
    doubled: int
    left_out: int
    steps: int
    first_insert_s: float | None
    first_sample_s: float | None
    said: str
    broken: str

    @property
    def held(self) -> bool:
        """Whether what must hold held."""
        return not self.lost and not self.doubled and not self.broken


def measure(stage: Stage, fault: Fault, rng: np.random.Generator) -> Found:
    """Run the trial on a stage whose services are up."""
    stage.begin()
    began_s = time.monotonic()
    eventually(lambda: stage.drawing.batches > 0 and stage.heard.newest_s > began_s, "load before the fault")
    time.sleep(float(rng.uniform(*LOADED_S)))
    sessions = stage.drawing.sessions + fault.breaks_sessions
    broken = []
    insert_s = sample_s = None
    try:
        fault.inject()
        since_s = fault.heal()
        insert_s = stage.heard.wait_for_one_made_after(since_s, RECOVERED_S)
        sample_s = stage.drawing.wait_for_one_after(since_s, sessions, RECOVERED_S)
        broken = [what for what, at_s in (("inserts", insert_s), ("samples", sample_s)) if at_s is None]
        broken = [f"no {what} within {RECOVERED_S:g} s" for what in broken]
    except SojournError as error:
        broken, since_s = [f"{type(error).__name__}: {error}"], 0.0
    broken += stage.end() + fault.broken
    verdict, held = stage.judge()
    counted, acknowledged = stage.shards.env_steps(), verdict.acknowledged
    if counted != max(verdict.held, acknowledged) and not fault.damages:
        broken.append(f"the service counts {counted} steps, {verdict.held} are held and {acknowledged} were acknowledged")
    left_out = min(verdict.lost, held.missing_rows) if fault.damages else 0
    if verdict.strange:
        broken.append(f"{verdict.strange} rows are not what was inserted")
    return Found(
        lost=verdict.lost - left_out,
        doubled=verdict.doubled,
        left_out=left_out,
        steps=acknowledged,
        first_insert_s=None if insert_s is None else insert_s - since_s,
        first_sample_s=None if sample_s is None else sample_s - since_s,
        said=fault.said,
        broken="; ".join(broken),
    )
