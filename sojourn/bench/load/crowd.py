"""Hundreds of actors on one event loop: they say on the wire what an actor's connection says, without its threads.

They resend what was not acknowledged, under its number, and connect again with the same waits. One thread; heartbeats are left out.
"""

import asyncio
import random
import threading
import time
from collections import OrderedDict
from collections.abc import AsyncIterator
from dataclasses import dataclass

import grpc
import numpy as np

from protos import replay_pb2 as pb
from protos.replay_pb2_grpc import ReplayStub
from replay.arrow import encode_chunk
from sojourn.bench.load.actors import DRAIN_S, Behaviour, Target
from sojourn.bench.load.steps import ACTOR_BITS, Generator, durations, schema_of
from sojourn.errors import DeadlineError, UnavailableError
from sojourn.roles import Address
from sojourn.rpc import CONTRACT_VERSION, backoff_s, channel_options, error_of

HELLO_S = 10.0
MOST_MESSAGE_BYTES = 8 << 20
LOOK_S = 0.2
MOST_UNACKNOWLEDGED = 64


@dataclass(frozen=True)
class _Kept:
    """A message until it is acknowledged. place: of its first step in what the actor ever offered."""

    body: bytes
    steps: int
    place: int
    made_at_s: float


class _CrowdActor:
    """One actor over all its connections, which are one life. Runs as two tasks of the crowd's loop."""

    def __init__(self, index: int, address: Address, target: Target, behaviour: Behaviour) -> None:
        rng = np.random.default_rng([behaviour.seed, index])
        self.index = index
        self.unacknowledged: OrderedDict[int, _Kept] = OrderedDict()
        self._address, self._target, self._behaviour = address, target, behaviour
        self._schema = schema_of(behaviour.payload)
        self._generator = Generator(behaviour.payload, target.fleet.segment_steps, rng)
        self._durations = durations(behaviour.law, behaviour.mean_duration_s, rng)
        self._incarnation = self._made = 0
        self._changed = asyncio.Event()
        self._random = random.Random(index)

    async def act(self, stop: asyncio.Event) -> None:
        """Make a message after the other, each when its steps have taken their time."""
        steps = self._target.fleet.segment_steps
        await asyncio.sleep(self._random.random() * steps * self._behaviour.mean_duration_s)  # they did not all begin at once
        while not stop.is_set():
            duration_s = self._durations(steps)
            await asyncio.sleep(float(duration_s.sum()))
            if len(self.unacknowledged) < MOST_UNACKNOWLEDGED:
                self._make(steps, duration_s)

    def _make(self, steps: int, duration_s: np.ndarray) -> None:
        first = self._target.ledger.offer(self.index, steps)
        now_s = time.monotonic()
        segment = self._generator.segment(0, self._made * steps, first, duration_s, now_s)
        self._made += 1
        body = encode_chunk(self._schema, [segment], now_s)
        self.unacknowledged[self._made] = _Kept(body, steps, first & ((1 << ACTOR_BITS) - 1), now_s)
        self._changed.set()

    async def stay_connected(self) -> None:
        """For ever: connect, and again when that breaks. Raises what no new connection would mend."""
        waits_s = backoff_s(self._random)
        while True:
            try:
                async with grpc.aio.insecure_channel(self._address(), options=channel_options(MOST_MESSAGE_BYTES)) as channel:
                    await self._converse(ReplayStub(channel))
            except grpc.aio.AioRpcError as error:
                if not isinstance(error_of(error), UnavailableError | DeadlineError):
                    raise
            await asyncio.sleep(next(waits_s))

    async def _converse(self, stub: ReplayStub) -> None:
        hello = await stub.Hello(
            pb.HelloRequest(
                contract_version=CONTRACT_VERSION,
                role=pb.ROLE_ACTOR,
                run_id=self._target.run_id,
                client_id=f"actor-{self.index}",
                last_incarnation=self._incarnation,
                inherit_incarnation=self._incarnation,
                schema_json=self._schema.to_json(),
            ),
            timeout=HELLO_S,
        )
        self._incarnation, stored = hello.incarnation, hello.last_message_number
        for number in [kept for kept in self.unacknowledged if kept <= stored]:
            self._acknowledged(number, refused=False)
        async for reply in stub.Insert(self._requests(stored)):
            self._acknowledged(reply.message_number, refused=reply.outcome == pb.InsertReply.REFUSED)

    async def _requests(self, stored: int) -> AsyncIterator[pb.InsertRequest]:
        """Of one stream: everything behind what is stored. Those of a stream that broke touch nothing of the next one."""
        number = stored
        while True:
            while (number := number + 1) <= self._made:
                kept = self.unacknowledged.get(number)
                if kept is None:
                    continue  # only of a stream that is over: the next one has said it
                yield pb.InsertRequest(
                    client_id=f"actor-{self.index}",
                    incarnation=self._incarnation,
                    message_number=number,
                    held_s=time.monotonic() - kept.made_at_s,
                    rows=kept.body,
                )
            number -= 1
            self._changed.clear()
            await self._changed.wait()

    def _acknowledged(self, number: int, *, refused: bool) -> None:
        kept = self.unacknowledged.pop(number, None)
        if kept is not None:
            self._target.ledger.acknowledge(self.index, kept.place, kept.steps, refused=refused)
            self._target.acknowledgements.add(time.monotonic(), kept.made_at_s, kept.steps)


class Crowd:
    """Many actors. Use it as a context: at its end they have drained, or `undrained` says who has not."""

    def __init__(self, actors: int, address: Address, target: Target, behaviour: Behaviour, first: int = 0) -> None:
        """first: index of the first actor."""
        self.undrained: list[str] = []
        self._actors = [_CrowdActor(index, address, target, behaviour) for index in range(first, first + actors)]
        self._ending = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()), name="crowd", daemon=True)

    def __enter__(self) -> "Crowd":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ending.set()
        self._thread.join()

    async def _run(self) -> None:
        stop = asyncio.Event()
        acting = [asyncio.create_task(actor.act(stop)) for actor in self._actors]
        connected = [asyncio.create_task(actor.stay_connected()) for actor in self._actors]
        while not self._ending.is_set():
            await asyncio.sleep(LOOK_S)
        stop.set()
        await asyncio.gather(*acting)
        until_s = time.monotonic() + DRAIN_S
        while any(actor.unacknowledged for actor in self._actors) and time.monotonic() < until_s:
            await asyncio.sleep(LOOK_S)
        for task in connected:
            task.cancel()
        ended = await asyncio.gather(*connected, return_exceptions=True)
        for actor, how in zip(self._actors, ended, strict=True):
            if actor.unacknowledged or not isinstance(how, asyncio.CancelledError):
                self.undrained.append(f"actor-{actor.index}: {len(actor.unacknowledged)} messages unacknowledged, {how}")
