"""One load from beginning to end: shards start, actors insert, a learner draws, everything is drained, and the ledger is compared.

Starts processes and threads; all of them have ended when it returns. Bounded in time and in count by its options.
"""

import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from sojourn.bench.load.acknowledgements import Acknowledgements
from sojourn.bench.load.actors import AT_FULL_SPEED, Behaviour, SimulatedFleet, Target
from sojourn.bench.load.drawing import Drawing
from sojourn.bench.load.held import held_by
from sojourn.bench.load.ledger import Ledger, Verdict
from sojourn.bench.load.memory import MemoryWatch
from sojourn.bench.load.proxy import SpoiltWire
from sojourn.bench.load.report import LoadReport
from sojourn.bench.load.shards import RUN_ID, Shards
from sojourn.config import Config
from sojourn.errors import ConfigError
from sojourn.roles import Address

CALIBRATION_S = 10.0
LOOK_S = 0.5
MOST_ACTORS = 2_000
MOST_STEPS = 1 << 31


@dataclass(frozen=True)
class Load:
    """What is asked for.

    seconds: of inserting.  share: of the rate that was reached in ten seconds without a pause; 1: as `behaviour` says.
    storm_every_s: all connections of actors break at once so often, 0: never.
    """

    behaviour: Behaviour = AT_FULL_SPEED
    seconds: float = 10.0
    share: float = 1.0
    storm_every_s: float = 0.0
    draws: bool = True


def run_load(config: Config, load: Load, tell: Callable[[str], None] = lambda line: None) -> LoadReport:
    """Run it on services of its own. Raises ConfigError for a load that this machine should not be given."""
    if config.actors.replicas > MOST_ACTORS:
        raise ConfigError(f"actors.replicas {config.actors.replicas} is above {MOST_ACTORS}, the most that one machine simulates")
    if load.share < 1.0:
        load = replace(load, behaviour=_paced(config, load, tell), share=1.0)
    with tempfile.TemporaryDirectory(prefix="sojourn-load-") as folder, Shards(Path(folder), config) as shards:
        return _loaded(shards, config, load)


def _paced(config: Config, load: Load, tell: Callable[[str], None]) -> Behaviour:
    """The behaviour at which actors insert that share of what they can."""
    full = run_load(config, replace(load, seconds=CALIBRATION_S, share=1.0, storm_every_s=0.0))
    wanted = load.share * full.steps_per_s
    tell(f"full speed        {full.steps_per_s:,.0f} steps/s; goes on at {wanted:,.0f}")
    lanes = config.actors.replicas * config.actors.environments
    return replace(load.behaviour, law="constant", mean_duration_s=lanes / wanted)


def _loaded(shards: Shards, config: Config, load: Load) -> LoadReport:
    ledger = Ledger(config.actors.environments, config.actors.segment_steps)
    heard = Acknowledgements()
    target = Target(RUN_ID, config.actors, config.actors.outage_buffer_bytes, ledger, heard)
    full_at_s: float | None = None
    with ExitStack() as ends:
        memory = ends.enter_context(MemoryWatch(lambda: sum(shard.resident_bytes() for shard in shards.each), shards.redis_bytes))
        wires = [ends.enter_context(SpoiltWire(shard.address)) for shard in shards.each] if load.storm_every_s else []
        ends.enter_context(_storms(wires, load.storm_every_s))
        drawing = Drawing([shard.address for shard in shards.each], config)
        if load.draws:
            ends.enter_context(drawing)
        fleet = SimulatedFleet(config.actors.replicas, _spread(shards, wires), target, load.behaviour)
        began_s = time.monotonic()
        with fleet:
            full_at_s = _until_over(shards, config, ledger, began_s + load.seconds)
            ended_s = time.monotonic()
    infos = [shard.info() for shard in shards.each]
    counted = sum(info.env_steps for info in infos)
    verdict = _verdict(shards, config, load, ledger)
    most, least = max(ledger.acknowledged, verdict.held if verdict else 0), ledger.acknowledged
    service_bytes, redis_bytes = memory.largest()
    faults = fleet.undrained + ([f"learner: {drawing.fault}"] if drawing.fault else [])
    return LoadReport(
        actors=config.actors.replicas,
        lives=fleet.lives,
        seconds=ended_s - began_s,
        steps_per_s=heard.rate(began_s, ended_s),
        latency=heard.latency(began_s),
        service_bytes=service_bytes,
        redis_bytes=redis_bytes,
        slopes=None if full_at_s is None else memory.slopes(full_at_s),
        later_slopes=None if full_at_s is None else memory.later_slopes(full_at_s),
        batches=drawing.batches,
        duplicates=sum(info.duplicates for info in infos),
        gaps=sum(info.gaps for info in infos),
        verdict=verdict,
        miscounted=_miscounted(counted, least, most, crashes=load.behaviour.failures_per_s > 0.0),
        faults=tuple(faults),
    )


def _verdict(shards: Shards, config: Config, load: Load, ledger: Ledger) -> Verdict | None:
    if config.replay.durability == "memory":
        return None
    held = held_by(shards.each, load.behaviour.payload, config.learners.table)
    return ledger.judge(held.numbers, living=held.living, strange=held.altered)


def _miscounted(counted: int, least: int, most: int, *, crashes: bool) -> int:
    """Steps that the services count beyond what was acknowledged, or short of it.

    A life that crashes may leave steps behind that were stored and whose acknowledgement it did not live to hear.
    """
    if counted < least:
        return counted - least
    return 0 if crashes else max(0, counted - most)


def _spread(shards: Shards, wires: list[SpoiltWire]) -> Callable[[int], Address]:
    places = wires or shards.each
    return lambda index: places[index % len(places)].address


def _until_over(shards: Shards, config: Config, ledger: Ledger, until_s: float) -> float | None:
    """Wait, and note when the ring was full: as many steps as fit had been acknowledged by then. None if it never was."""
    capacity = config.tables[config.learners.table].capacity_steps * config.replay.shards
    full_at_s, pause = None, threading.Event()
    while (now_s := time.monotonic()) < until_s:
        acknowledged = ledger.acknowledged
        if full_at_s is None and acknowledged >= capacity:
            full_at_s = now_s
        if acknowledged > MOST_STEPS:
            break
        pause.wait(min(LOOK_S, until_s - now_s))
    return full_at_s


@contextmanager
def _storms(wires: list[SpoiltWire], every_s: float) -> Iterator[None]:
    """Cut all wires again and again until the block ends."""
    over = threading.Event()

    def blow() -> None:
        while not over.wait(every_s):
            for wire in wires:
                wire.cut()

    thread = threading.Thread(target=blow, name="storms", daemon=True)
    if wires:
        thread.start()
    try:
        yield
    finally:
        over.set()
        if wires:
            thread.join()
