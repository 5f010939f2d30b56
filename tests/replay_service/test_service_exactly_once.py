"""Is every message stored once and in order, whatever breaks in between? A state machine over a real service and a real Valkey.

The model is a list a life: what it has said. Faults are broken streams, restarts of the service, kill -9 of Redis, resends of anything,
successors, and drains of what former lives left.
"""

import asyncio
import tempfile
from collections.abc import Coroutine
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import grpc
import psutil
import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule, run_state_machine_as_test

from protos import replay_pb2 as pb
from replay.arrow import decode_chunk
from replay.embedded import EmbeddedServer
from replay.rows import STEP
from replay.server import ReplayServer
from sojourn.metrics import Metrics
from tests.waiting import DEADLINE_S

ACCEPTED, DUPLICATE = pb.InsertReply.ACCEPTED, pb.InsertReply.DUPLICATE
STEPS = 2  # of a message


@dataclass
class Life:
    """What one life has said, as a person would note it.

    lane: tells its rows from those of others.  made, sent: messages so far.  said: of those, on the present stream.
    """

    incarnation: int
    lane: int
    made: int = 0
    acknowledged: int = 0
    sent: int = 0
    finished: bool = False
    stream: Any = None
    said: int = 0


class World:
    """The service and its clients on one loop."""

    def __init__(self, kit: SimpleNamespace, folder: Path) -> None:
        self.kit, self.folder = kit, folder
        self.lives: list[Life] = []
        self.loop = asyncio.new_event_loop()
        self.run(self.start())

    def run(self, work: Coroutine[Any, Any, Any]) -> Any:
        return self.loop.run_until_complete(asyncio.wait_for(work, DEADLINE_S))

    async def start(self) -> None:
        config = self.kit.config(replay={"durability": "process", "snapshot_every_s": 60.0, "insert_window": 64})
        self.server = ReplayServer(config, self.folder, run_id="run", index=0, metrics=Metrics("replay"))
        self.stop = asyncio.Event()
        self.client = self.kit.client(await self.server.open("127.0.0.1:0"))
        self.serving = asyncio.create_task(self.server.serve(self.stop))
        await self.server.shard.samplers.until(lambda: not self.server.shard.recovering)

    async def end(self) -> None:
        for life in self.lives:
            life.stream = None
        await self.client.close()
        self.stop.set()
        await self.serving
        await self.server.close()

    def embedded(self) -> EmbeddedServer:
        return EmbeddedServer(self.folder, 0, appendfsync="no", memory_bytes=1 << 30, rewrite_min_bytes=1 << 30)

    async def begin(self) -> None:
        """A new life; what the former ones said last stays unsaid for now."""
        granted = await self.client.hello()
        self.lives.append(Life(granted.incarnation, lane=len(self.lives)))

    async def say(self, life: Life, number: int, *, final: bool = False) -> None:
        segment = self.kit.segment(lane=life.lane, first_sequence=STEPS * (number - 1), steps=STEPS)
        life.said += 1
        await life.stream.send(number, b"" if final else self.kit.body(segment), final=final)

    async def hear(self, life: Life) -> None:
        reply = await life.stream.reply()
        assert reply.outcome in (ACCEPTED, DUPLICATE)
        assert reply.outcome == DUPLICATE or reply.message_number > life.acknowledged
        life.acknowledged = max(life.acknowledged, reply.message_number)

    async def connect(self, life: Life) -> int:
        """As after a break, or as a successor that drains. Returns from where the service wants to go on."""
        newest = self.lives[-1].incarnation
        granted = await self.client.hello(last_incarnation=newest, inherit_incarnation=life.incarnation)
        stored = granted.last_message_number
        assert life.acknowledged <= stored <= life.sent  # nothing acknowledged is unknown, nothing unsaid is known
        life.acknowledged = stored
        life.stream, life.said = await self.client.inserts(incarnation=life.incarnation), 0
        return int(stored)

    async def deliver(self, life: Life, from_number: int) -> None:
        """Send from a number on and hear all answers."""
        for number in range(from_number, life.made + 1):
            await self.say(life, number)
        life.sent = life.made
        for _ in range(from_number, life.made + 1):
            await self.hear(life)

    async def stored(self) -> list[tuple[int, int]]:
        """Lane and sequence of every stored step, in the order of row numbers."""
        found: list[tuple[int, int]] = []
        async for reply in self.client.stub.Export(pb.ExportRequest(table="replay")):
            rows = decode_chunk(self.kit.schema, reply.rows)
            steps = rows.kind & STEP != 0
            found += zip(rows.lane[steps].tolist(), rows.sequence[steps].tolist(), strict=True)
        return found


class ExactlyOnce(RuleBasedStateMachine):
    """Rules are what a client, an operator or fate may do next."""

    kit: SimpleNamespace

    @initialize()
    def begin(self) -> None:
        self.folder = tempfile.TemporaryDirectory(prefix="sojourn-")
        self.world = World(self.kit, Path(self.folder.name))
        self.world.run(self.world.begin())

    @property
    def newest(self) -> Life:
        return self.world.lives[-1]

    def connected(self, life: Life) -> None:
        if life.stream is None:
            self.world.run(self.world.connect(life))
            life.sent = life.acknowledged

    @rule(count=st.integers(1, 4))
    def make(self, count: int) -> None:
        """Messages are made, and stay in the client for now."""
        self.newest.made += count

    @rule(count=st.integers(1, 4))
    def send_without_waiting(self, count: int) -> None:
        life = self.newest
        self.connected(life)
        for number in range(life.sent + 1, min(life.sent + count, life.made) + 1):
            self.world.run(self.world.say(life, number))
            life.sent = number

    @precondition(lambda self: self.newest.stream is not None and self.newest.sent > self.newest.acknowledged)
    @rule()
    def hear_one(self) -> None:
        self.world.run(self.world.hear(self.newest))

    @rule()
    def break_the_stream(self) -> None:
        if self.newest.stream is not None:
            self.newest.stream.call.cancel()
            self.newest.stream = None

    @rule(back=st.integers(0, 5))
    def send_again_from_before(self, back: int) -> None:
        """A client that forgot what was acknowledged sends everything from some number on."""
        life = self.newest
        self.break_the_stream()
        stored = self.world.run(self.world.connect(life))
        self.world.run(self.world.deliver(life, max(1, stored + 1 - back)))

    @rule()
    def restart_the_service(self) -> None:
        self.world.run(self.world.end())
        self.world.run(self.world.start())

    @rule()
    def kill_redis(self) -> None:
        life = self.world.embedded().life()
        if life is not None and (process := life.process()) is not None:
            process.kill()
            psutil.wait_procs([process], DEADLINE_S)

    @rule()
    def new_life(self) -> None:
        old = self.newest
        self.world.run(self.world.begin())
        if old.stream is not None:
            self.world.run(self.is_refused(old))

    async def is_refused(self, old: Life) -> None:
        """The live stream of a life that was replaced takes nothing more; what it had taken is answered."""
        if not old.said:
            await self.world.say(old, old.sent + 1)
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await self.hear_all(old)
        assert caught.value.code() is grpc.StatusCode.FAILED_PRECONDITION
        old.stream = None

    async def hear_all(self, life: Life) -> None:
        while True:
            await self.world.hear(life)
            assert life.acknowledged <= life.sent

    @precondition(lambda self: any(not life.finished for life in self.world.lives[:-1]))
    @rule(back=st.integers(0, 3))
    def drain_a_former_life(self, back: int) -> None:
        """Its successor found a spill file, with some messages too many."""
        self.drain(next(life for life in self.world.lives[:-1] if not life.finished), back)

    def drain(self, life: Life, back: int) -> None:
        stored = self.world.run(self.world.connect(life))
        self.world.run(self.world.deliver(life, max(1, stored + 1 - back)))
        self.world.run(self.finish(life))

    async def finish(self, life: Life) -> None:
        await self.world.say(life, life.made + 1, final=True)
        await life.stream.reply()
        life.stream, life.finished = None, True

    def teardown(self) -> None:
        if not hasattr(self, "world"):
            return
        try:
            for life in [life for life in self.world.lives[:-1] if not life.finished]:
                self.drain(life, 0)
            self.send_again_from_before(0)
            self.world.run(self.world.client.hello("actor-1"))  # waits for Redis, should it just have been killed
            self.check(self.world.run(self.world.stored()))
            self.world.run(self.world.end())
        finally:
            self.world.embedded().stop()
            self.folder.cleanup()
        self.world.loop.close()

    def check(self, stored: list[tuple[int, int]]) -> None:
        wanted = [(life.lane, sequence) for life in self.world.lives for sequence in range(STEPS * life.made)]
        assert sorted(stored) == wanted  # nothing lost, nothing doubled
        for life in self.world.lives:
            mine = [sequence for lane, sequence in stored if lane == life.lane]
            assert mine == sorted(mine)  # in order
        assert self.world.server.shard.serving_store().env_steps == len(wanted)
        assert self.world.server.shard.counts.message_gaps == 0


def test_every_message_is_stored_once_and_in_order_whatever_breaks(kit: SimpleNamespace) -> None:
    machine = type("Machine", (ExactlyOnce,), {"kit": kit})
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=15,
            stateful_step_count=25,
            deadline=None,
            derandomize=True,
            phases=[Phase.generate],  # services answer in their own time: what failed cannot be made smaller
            suppress_health_check=list(HealthCheck),
        ),
    )
