"""Simulated actors: real connections that insert generated steps, each on a thread of its own, and lives that end without a word.

An actor's lanes act side by side: a round is one segment of every lane, and takes as long as its slowest lane.
"""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from replay.client import ActorConnection, LaneCounts
from replay.insert_stream import Acknowledged
from replay.outage_buffer import Message
from sojourn.bench.load.acknowledgements import Acknowledgements
from sojourn.bench.load.ledger import Ledger
from sojourn.bench.load.steps import ACTOR_BITS, HALF_CHEETAH, Generator, Law, Payload, durations, schema_of
from sojourn.config.schema import FleetSettings
from sojourn.errors import SojournError
from sojourn.roles import Address

DRAIN_S = 60.0
CONNECT_S = 60.0
NEVER_S = float("inf")


@dataclass(frozen=True)
class Behaviour:
    """What the actors do.

    mean_duration_s: of one step, by the law; 0: the next segment is there as soon as it can be inserted.
    failures_per_s: crashes of each actor, after which a new life of it begins.
    """

    payload: Payload = HALF_CHEETAH
    law: Law = "constant"
    mean_duration_s: float = 0.0
    failures_per_s: float = 0.0
    seed: int = 1


AT_FULL_SPEED = Behaviour()


@dataclass(frozen=True)
class Target:
    """Where actors insert, as what, and who takes down what comes of it."""

    run_id: str
    fleet: FleetSettings
    buffer_bytes: int
    ledger: Ledger
    acknowledgements: Acknowledgements


class SimulatedActor:
    """One actor over all its lives. `start`, then `stop`, then `join`."""

    def __init__(self, index: int, address: Address, target: Target, behaviour: Behaviour) -> None:
        self.index = index
        self.lives = 0
        self.fault: SojournError | None = None
        self._address, self._target, self._behaviour = address, target, behaviour
        self._rng = np.random.default_rng([behaviour.seed, index])
        self._generator = Generator(behaviour.payload, target.fleet.segment_steps, self._rng)
        self._durations = durations(behaviour.law, behaviour.mean_duration_s, self._rng)
        self._offered = 0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"load actor-{index}", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Ask it to end: the latest round is drained."""
        self._stop.set()

    def join(self, timeout_s: float) -> bool:
        """Wait until it has ended. False if it has not in time."""
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def _run(self) -> None:
        try:
            while not self._stop.is_set():
                self._live()
        except SojournError as error:
            self.fault = error

    def _live(self) -> None:
        """One life: ends with a drain when stopped, without a word when it crashes."""
        failures = self._behaviour.failures_per_s
        crash_at_s = time.monotonic() + self._rng.exponential(1.0 / failures) if failures else NEVER_S
        connection = self._connect()
        self.lives += 1
        try:
            self._insert_until(connection, crash_at_s)
            if self._stop.is_set():
                connection.drain(DRAIN_S)
        finally:
            (connection.close if self._stop.is_set() else connection.abandon)()

    def _connect(self) -> ActorConnection:
        target = self._target
        return ActorConnection(
            self._address,
            run_id=target.run_id,
            client_id=f"actor-{self.index}",
            schema=schema_of(self._behaviour.payload),
            fleet=target.fleet,
            buffer_bytes=target.buffer_bytes,
            environment_id="simulated",
            seed=self._behaviour.seed,
            timeout_s=CONNECT_S,
            give_up=self._stop,
            acknowledged=self._taking_down(self._offered),
        )

    def _taking_down(self, first: int) -> Acknowledged:
        """What listens to the acknowledgements of a life whose first step has this place. They come in order."""
        target, place = self._target, first

        def heard(message: Message, outcome: str) -> None:
            nonlocal place
            target.ledger.acknowledge(self.index, place, message.steps, refused=outcome == "refused")
            target.acknowledgements.add(time.monotonic(), message.made_at_s, message.steps)
            place += message.steps

        return heard

    def _insert_until(self, connection: ActorConnection, crash_at_s: float) -> None:
        fleet = self._target.fleet
        due_s = time.monotonic()
        rounds = 0
        while not self._stop.is_set() and time.monotonic() < crash_at_s:
            took_s = [self._insert_one(connection, lane, rounds) for lane in range(fleet.environments)]
            rounds += 1
            counts = [LaneCounts(lane, rounds * fleet.segment_steps, rounds * fleet.segment_steps) for lane in range(len(took_s))]
            connection.report(counts, [])
            due_s = max(due_s + max(took_s), time.monotonic() - max(took_s))  # an outage is not made up for
            self._stop.wait(max(0.0, min(due_s, crash_at_s) - time.monotonic()))

    def _insert_one(self, connection: ActorConnection, lane: int, rounds: int) -> float:
        """Insert the lane's next segment; returns how long its actions took."""
        steps = self._target.fleet.segment_steps
        duration_s = self._durations(steps)
        first = self._target.ledger.offer(self.index, steps)
        self._offered = (first & ((1 << ACTOR_BITS) - 1)) + steps
        connection.insert(self._generator.segment(lane, rounds * steps, first, duration_s, time.monotonic()))
        return float(duration_s.sum())


class SimulatedFleet:
    """Many simulated actors. Use it as a context: at its end they have drained, or the context says who has not."""

    def __init__(
        self, actors: int, addresses: Callable[[int], Address], target: Target, behaviour: Behaviour, first: int = 0
    ) -> None:
        """addresses: where an actor inserts, by its index.  first: index of the first actor."""
        self.actors = [SimulatedActor(index, addresses(index), target, behaviour) for index in range(first, first + actors)]
        self.undrained: list[str] = []

    def __enter__(self) -> "SimulatedFleet":
        for actor in self.actors:
            actor.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.end()

    def end(self) -> None:
        """Stop all, wait for their acknowledgements, and note who could not end well. May be called twice."""
        for actor in self.actors:
            actor.stop()
        until_s = time.monotonic() + DRAIN_S
        late = [actor for actor in self.actors if not actor.join(max(0.0, until_s - time.monotonic()))]
        self.undrained = [f"actor-{actor.index} is still draining" for actor in late] + [
            f"actor-{actor.index}: {actor.fault}" for actor in self.actors if actor.fault
        ]

    @property
    def lives(self) -> int:
        return sum(actor.lives for actor in self.actors)
