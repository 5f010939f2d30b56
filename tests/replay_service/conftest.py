"""A replay service on this test's event loop, and a raw client of its wire contract."""

import asyncio
import os
import resource
import socket
import subprocess
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import grpc
import gymnasium as gym
import numpy as np
import pytest
import redis.asyncio

from protos import replay_pb2 as pb
from protos.replay_pb2_grpc import ReplayStub
from replay.arrow import encode_chunk
from replay.bodies import decode_columns
from replay.embedded import EmbeddedServer, binary, ping
from replay.server import ReplayServer
from sojourn.columns import Schema, space_to_json
from sojourn.config import Config
from sojourn.experience import Columns, Segment
from sojourn.metrics import Metrics
from sojourn.rpc import CONTRACT_VERSION
from tests.waiting import DEADLINE_S, eventually_async

SCHEMA = Schema(
    observation=space_to_json(gym.spaces.Box(-np.inf, np.inf, (3,), np.float32)),
    action=space_to_json(gym.spaces.Box(-1.0, 1.0, (1,), np.float32)),
)


def make_segment(lane: int = 0, first_sequence: int = 0, steps: int = 10, *, closed: bool = False, episode: int = 0) -> Segment:
    """Steps of one lane; observations count up from the first sequence number."""
    numbers = np.arange(first_sequence, first_sequence + steps + 1, dtype=np.float32)
    return Segment(
        lane=lane,
        first_sequence=first_sequence,
        episode=episode,
        observation={"observation": np.repeat(numbers[:, None], 3, axis=1)},
        action={"action": np.zeros((steps, 1), np.float32)},
        reward=np.ones(steps, np.float32),
        terminated=np.zeros(steps, np.bool_),
        truncated=np.zeros(steps, np.bool_),
        duration_s=np.full(steps, 0.01),
        started_at_s=np.zeros(steps),
        end_kind=np.zeros(steps, np.uint8),
        log_prob=np.zeros(steps, np.float32),
        policy_version=np.ones(steps, np.int64),
        closed=closed,
    )


def make_body(*segments: Segment) -> bytes:
    return encode_chunk(SCHEMA, segments, now_s=0.0)


@dataclass
class RawInserts:
    """One Insert stream, message by message."""

    call: Any
    client_id: str
    incarnation: int

    async def send(self, number: int, body: bytes, *, final: bool = False, held_s: float = 0.0) -> None:
        await self.call.write(
            pb.InsertRequest(
                client_id=self.client_id,
                incarnation=self.incarnation,
                message_number=number,
                held_s=held_s,
                rows=body,
                final=final,
            )
        )

    async def reply(self) -> pb.InsertReply:
        """The next acknowledgement; raises grpc.aio.AioRpcError when the stream was refused."""
        answer = await asyncio.wait_for(self.call.read(), DEADLINE_S)
        if answer is grpc.aio.EOF:
            raise EOFError(f"the stream ended with {await self.call.code()}: {await self.call.details()}")
        return answer

    async def insert(self, number: int, body: bytes, **told: Any) -> pb.InsertReply:
        await self.send(number, body, **told)
        return await self.reply()


@dataclass
class RawSamples:
    """One Sample stream."""

    call: Any
    client_id: str
    incarnation: int
    reading: "asyncio.Task[Any] | None" = None

    async def ask(self, credits: int = 1, *, batch_size: int = 4, table: str = "replay", most: int = 1, **told: Any) -> None:
        await self.call.write(
            pb.SampleRequest(
                client_id=self.client_id,
                incarnation=self.incarnation,
                table=table,
                batch_size=batch_size,
                credits=credits,
                max_batches_per_message=most,
                **told,
            )
        )

    async def nothing_comes(self, within_s: float = 0.1) -> bool:
        """Whether no message is there. A read goes on, since cancelling one would end the call."""
        self.reading = self.reading or asyncio.create_task(self.call.read())
        await asyncio.wait({self.reading}, timeout=within_s)
        return not self.reading.done()

    async def reply(self) -> tuple[pb.SampleReply, Columns]:
        reading, self.reading = self.reading or asyncio.create_task(self.call.read()), None
        answer = await asyncio.wait_for(reading, DEADLINE_S)
        if answer is grpc.aio.EOF:
            raise EOFError(f"the stream ended with {await self.call.code()}: {await self.call.details()}")
        return answer, decode_columns(answer.rows)


@dataclass
class RawClient:
    """Speaks the contract as any gRPC client could."""

    target: str
    channel: Any = None
    lives: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.channel = grpc.aio.insecure_channel(self.target)
        self.stub: Any = ReplayStub(self.channel)

    async def hello(self, client_id: str = "actor-0", role: int = pb.ROLE_ACTOR, **told: Any) -> pb.HelloReply:
        request = {
            "contract_version": CONTRACT_VERSION,
            "role": role,
            "client_id": client_id,
            "schema_json": SCHEMA.to_json() if role == pb.ROLE_ACTOR else b"",
            **told,
        }
        reply = await self.stub.Hello(pb.HelloRequest(**request), timeout=DEADLINE_S, wait_for_ready=True)
        self.lives[client_id] = reply.incarnation
        return reply

    async def inserts(self, client_id: str = "actor-0", *, incarnation: int = 0) -> RawInserts:
        """An Insert stream; says hello first unless an incarnation is given."""
        life = incarnation or (await self.hello(client_id)).incarnation
        return RawInserts(self.stub.Insert(), client_id, life)

    async def samples(self, client_id: str = "learner-0", **told: Any) -> RawSamples:
        life = (await self.hello(client_id, pb.ROLE_LEARNER, **told)).incarnation
        return RawSamples(self.stub.Sample(), client_id, life)

    async def info(self) -> pb.InfoReply:
        return await self.stub.Info(pb.InfoRequest(), timeout=DEADLINE_S)

    async def close(self) -> None:
        await self.channel.close()


@dataclass
class Service:
    """A listening service, its client, and what it takes to start it again."""

    server: ReplayServer
    client: RawClient
    target: str
    stop: asyncio.Event
    serving: asyncio.Task[None]


def make_config(**sections: Any) -> Config:
    """One table `replay` without a limiter, at level `memory`, unless said otherwise."""
    table = {"capacity_steps": 4096, "capacity_bytes": 100_000_000, "limiter": {"samples_per_insert": None, "min_size": 1}}
    tables = {name: {**table, **changes} for name, changes in sections.pop("tables", {"replay": {}}).items()}
    replay = {"durability": "memory", "snapshot_every_s": 0.1, **sections.pop("replay", {})}
    return Config.model_validate({"tables": tables, "replay": replay, "learners": {"batch_size": 4}, **sections})


Serve = Callable[..., Any]


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Serve]:
    """`async with serve(config) as service`: the shard of this test's run folder, recovered.

    Its embedded server goes on, for the next service of the test, and ends with the test.
    """

    @asynccontextmanager
    async def serving(config: Config, *, run_id: str = "run", listen: str = "127.0.0.1:0") -> AsyncIterator[Service]:
        server = ReplayServer(config, tmp_path, run_id=run_id, index=0, metrics=Metrics("replay"))
        stop = asyncio.Event()
        try:
            target = await server.open(listen)
            task = asyncio.create_task(server.serve(stop))
            recovered = asyncio.create_task(server.shard.samplers.until(lambda: not server.shard.recovering))
            await asyncio.wait({task, recovered}, return_when=asyncio.FIRST_COMPLETED)
            client = RawClient(target)
            yield Service(server, client, target, stop, task)
            await client.close()
            stop.set()
            await task
        finally:
            await server.close()

    yield serving
    EmbeddedServer(tmp_path, 0, appendfsync="no", memory_bytes=1 << 30, rewrite_min_bytes=1 << 30).stop()


@pytest.fixture
def kit() -> SimpleNamespace:
    """What tests make their world of."""
    return SimpleNamespace(
        schema=SCHEMA, segment=make_segment, body=make_body, config=make_config, client=RawClient, eventually=eventually_async
    )


class Valkey:
    """A real server that others run, with the flags of this test, on a Unix socket of its own. Started again it has its files."""

    def __init__(self, folder: Path, **flags: str) -> None:
        self.folder = folder
        self.socket = folder / "socket"
        self.largest_file_bytes = resource.RLIM_INFINITY
        plain = {"port": "0", "save": "", "appendonly": "yes", "appendfsync": "no", "maxmemory-policy": "noeviction"}
        told = {name.replace("_", "-"): value for name, value in flags.items()}
        options = {**plain, "dir": str(folder), "unixsocket": str(self.socket), **told}
        self._command = [binary(), *(part for name, value in options.items() for part in (f"--{name}", value))]
        self._process: subprocess.Popen[bytes] | None = None
        folder.mkdir(parents=True)

    @property
    def url(self) -> str:
        return f"unix://{self.socket}"

    def client(self) -> "redis.asyncio.Redis":
        return redis.asyncio.Redis(unix_socket_path=str(self.socket))

    async def start(self) -> "Valkey":
        """Start it and wait until it has read its files; no file of it can grow above `largest_file_bytes`, as on a full disk."""
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                self._command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                restore_signals=False,  # like us it ignores SIGXFSZ, and sees the error
            )
        resource.prlimit(self._process.pid, resource.RLIMIT_FSIZE, (self.largest_file_bytes, self.largest_file_bytes))
        await eventually_async(self._answers)
        return self

    async def _answers(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, (self.folder / "log").read_text()
        return ping(self.socket) == b"+PONG\r\n"

    def kill(self) -> None:
        """kill -9."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(DEADLINE_S)
        self._process = None


@pytest.fixture
async def valkey() -> AsyncIterator[Callable[..., Awaitable[Valkey]]]:
    """`await valkey(appendfsync="always")`: a started server; killed at the end."""
    servers: list[Valkey] = []
    with tempfile.TemporaryDirectory(prefix="sojourn-") as folder:  # short: a socket's path is

        async def started(**flags: str) -> Valkey:
            servers.append(Valkey(Path(folder) / str(len(servers)), **flags))
            return await servers[-1].start()

        yield started
        for server in servers:
            server.kill()


@pytest.fixture
def free_port() -> Callable[[], int]:
    """Ports that nobody listens on, below those that the system gives to whoever asks for any: they stay free."""
    candidates = iter(range(10_000 + os.getpid() % 20_000, 32_000))

    def find() -> int:
        for port in candidates:
            with socket.socket() as probe, suppress(OSError):
                probe.bind(("127.0.0.1", port))
                return port
        raise AssertionError("no port is free")

    return find
