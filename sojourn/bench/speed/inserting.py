"""Clients that insert as fast as the service takes it, or at a given rate, in processes of their own.

A process is told how long to insert, and answers how many steps were acknowledged in which time, by the clock on the wall.
"""

import multiprocessing
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection

import numpy as np

from replay.client import ActorConnection, LaneCounts
from sojourn.bench.load.shards import RUN_ID
from sojourn.bench.speed.steps import KINDS, Segments
from sojourn.config.schema import FleetSettings
from sojourn.errors import DeadlineError
from sojourn.roles import fixed_address

BUFFER_BYTES = 64 << 20
FLUSH_BYTES = 256 << 10
DRAIN_S = 60.0
READY_S = 60.0
END_S = 30.0
REPORT_EVERY_S = 0.1  # as often as an actor does


@dataclass(frozen=True)
class Writers:
    """What a process inserts. streams: connections.  lanes: of each.  segment_steps: of a lane at once.  message_steps: at most."""

    name: str
    kind: str = "W1"
    streams: int = 1
    lanes: int = 1
    segment_steps: int = 64
    message_steps: int = 1 << 20

    @property
    def fleet(self) -> FleetSettings:
        """Messages of 256 KiB, or of `message_steps` if that is less."""
        return FleetSettings(
            segment_steps=-(-self.message_steps // self.lanes), environments=self.lanes, flush_bytes=FLUSH_BYTES, flush_age_s=1.0
        )


@dataclass(frozen=True)
class Order:
    """seconds: to insert for.  steps: to insert at most.  steps_per_s: not to be above."""

    seconds: float = 1e9
    steps: int = 1 << 60
    steps_per_s: float = float("inf")


@dataclass(frozen=True)
class Inserted:
    """steps: inserted and acknowledged.  seconds: until the last of them was."""

    steps: int
    seconds: float

    @property
    def rate(self) -> float:
        return self.steps / self.seconds


class Inserting:
    """The processes of some writers, which insert together when told to."""

    def __init__(self, pipes: Sequence[Connection]) -> None:
        self._pipes = pipes

    def begin(self, order: Order) -> None:
        """Have all insert; `ended` waits for them."""
        for pipe in self._pipes:
            pipe.send(order)

    def ended(self) -> list[Inserted]:
        """What each has inserted."""
        return [pipe.recv() for pipe in self._pipes]

    def rate(self, order: Order) -> float:
        """Steps a second of all together."""
        self.begin(order)
        return sum(found.rate for found in self.ended())


@contextmanager
def inserting(target: str, *writers: Writers) -> Iterator[Inserting]:
    """A process for each of these, connected. Raises EOFError if one of them ends early; it has said why."""
    spawn = multiprocessing.get_context("spawn")
    with ExitStack() as ends:
        pipes = []
        for number, one in enumerate(writers):
            ours, theirs = spawn.Pipe()
            process = spawn.Process(target=_serve, args=(target, one, number, theirs), name=one.name, daemon=True)
            process.start()
            theirs.close()
            ends.callback(process.join, END_S)
            ends.callback(ours.close)
            pipes.append(ours)
        for pipe in pipes:
            if not pipe.poll(READY_S):
                raise DeadlineError(f"a writing client was not connected within {READY_S:g} s")
            pipe.recv()
        yield Inserting(pipes)


def _serve(target: str, writers: Writers, number: int, orders: Connection) -> None:
    """Obey orders until the other end closes. Runs in a process of its own."""
    with ExitStack() as ends:
        streams = [_Stream(target, writers, stream, np.random.default_rng([number, stream])) for stream in range(writers.streams)]
        for stream in streams:
            ends.callback(stream.close)
        orders.send("ready")
        while True:
            try:
                order = orders.recv()
            except EOFError:
                return
            orders.send(_insert(streams, order))


def _insert(streams: Sequence["_Stream"], order: Order) -> Inserted:
    began_s, steps, pause = time.monotonic(), 0, threading.Event()
    until_s = began_s + order.seconds
    while time.monotonic() < until_s and steps < order.steps:
        steps += sum(stream.insert() for stream in streams)
        pause.wait(max(0.0, began_s + steps / order.steps_per_s - time.monotonic()))
    for stream in streams:
        stream.drain()
    return Inserted(steps, time.monotonic() - began_s)


class _Stream:
    """One connection and its lanes."""

    def __init__(self, target: str, writers: Writers, number: int, rng: np.random.Generator) -> None:
        self._segment_steps, self._inserted, self._due_s = writers.segment_steps, 0, 0.0
        kind = KINDS[writers.kind]
        self._lanes = [Segments(kind, lane, writers.segment_steps, rng) for lane in range(writers.lanes)]
        self._connection = ActorConnection(
            fixed_address(target),
            run_id=RUN_ID,
            client_id=f"actor-{writers.name}-{number}",
            schema=kind.schema,
            fleet=writers.fleet,
            buffer_bytes=BUFFER_BYTES,
        )

    def insert(self) -> int:
        """The next segment of every lane. Blocks while the service is behind; returns the steps."""
        for lane in self._lanes:
            self._connection.insert(lane.next())
        self._inserted += self._segment_steps
        if (now_s := time.monotonic()) > self._due_s:
            self._due_s = now_s + REPORT_EVERY_S
            self._report()
        return self._segment_steps * len(self._lanes)

    def drain(self) -> None:
        """Until all is acknowledged. Raises DeadlineError if it is not in time."""
        self._report()
        if not self._connection.drain(DRAIN_S):
            raise DeadlineError(f"a writing client waited {DRAIN_S:g} s for acknowledgements")

    def close(self) -> None:
        self._connection.close()

    def _report(self) -> None:
        counts = [LaneCounts(lane, self._inserted, self._inserted) for lane in range(len(self._lanes))]
        self._connection.report(counts, [])
