"""The parameter service: publications in, the newest policy out to every watcher.

One asyncio loop owns the state; only the durable write runs on a thread. Latest wins: a watcher is handed whatever is newest when
it is ready for more, so a slow or silent one holds one snapshot, no queue, and delays nobody.
"""

import asyncio
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from protos import parameters_pb2 as pb
from protos import parameters_pb2_grpc as rpc_parameters
from sojourn.errors import SojournError, UnavailableError, ValidationError
from sojourn.experience import ParameterSnapshot
from sojourn.metrics import Metrics
from sojourn.parameters.durable import DurableLatest, Publication
from sojourn.parameters.wire import Assembly, check_contract, check_run, chunks_of, manifest_of
from sojourn.rpc import CHUNK_BYTES, CONTRACT_VERSION, server_options, status_of

SERVICE_NAME = "sojourn.v1.Parameters"
STOP_GRACE_S = 0.2  # watchers' streams never end by themselves

Context = grpc.aio.ServicerContext[object, object]


@dataclass(frozen=True)
class Shown:
    """A publication and its chunks as they travel, made once for all watchers: that takes as long as sending them."""

    publication: Publication
    chunks: tuple[bytes, ...]

    @classmethod
    def of(cls, publication: Publication) -> "Shown":
        chunks = chunks_of(publication.snapshot.tensors)
        return cls(publication, tuple(pb.WatchReply(chunk=chunk).SerializeToString() for chunk in chunks))

    @property
    def version(self) -> int:
        return self.publication.snapshot.policy_version


class Board:
    """The latest publication and those who wait for a newer one. Belongs to one event loop."""

    def __init__(self, durable: DurableLatest) -> None:
        self._durable = durable
        self._changed = asyncio.Condition()
        self._one_at_a_time = asyncio.Lock()
        self.latest = Shown.of(durable.latest) if durable.latest else None

    async def publish(self, snapshot: ParameterSnapshot, sha256: bytes) -> Publication:
        """Make it durable, then show it. sha256: of its tensors. Raises UnavailableError if the disk refuses."""
        async with self._one_at_a_time:
            publication = await asyncio.to_thread(self._durable.store, snapshot, sha256)
            self.latest = Shown.of(publication)
            async with self._changed:
                self._changed.notify_all()
        return publication

    async def newer_than(self, version: int) -> Shown:
        """The latest publication, as soon as its version is above `version`."""
        async with self._changed:
            while self.latest is None or self.latest.version <= version:
                await self._changed.wait()
            return self.latest


class ParametersServicer(rpc_parameters.ParametersServicer):
    """The calls of `protos/parameters.proto`."""

    def __init__(self, board: Board, run_id: str, metrics: Metrics) -> None:
        self._board = board
        self._run_id = run_id
        self._watchers = 0
        self._watcher_count = metrics.gauge("sojourn_parameters_watchers")
        self._version = metrics.gauge("sojourn_parameters_version")
        self._publishes = metrics.counter("sojourn_parameters_publishes")
        self._refused = metrics.counter("sojourn_parameters_refused")
        self._bytes = metrics.counter("sojourn_parameters_published_bytes")
        self._publish_seconds = metrics.histogram("sojourn_parameters_publish_seconds")
        self._sent = metrics.counter("sojourn_parameters_sent_versions")
        self._skipped = metrics.counter("sojourn_parameters_skipped_versions")
        if board.latest is not None:
            self._version.set(board.latest.version)

    async def Publish(self, request_iterator: AsyncIterator[pb.PublishRequest], context: Context) -> pb.PublishReply:
        began_s = time.monotonic()
        try:
            snapshot, sha256 = await self._receive(request_iterator)
            # The write cannot be taken back, so a caller that hangs up must not leave the board behind the disk.
            publication = await asyncio.shield(self._board.publish(snapshot, sha256))
        except SojournError as error:
            self._refused.inc()
            await refuse(context, error)
        self._publishes.inc()
        self._bytes.inc(len(snapshot.tensors))
        self._version.set(publication.snapshot.policy_version)
        self._publish_seconds.observe(time.monotonic() - began_s)
        return pb.PublishReply(policy_version=publication.snapshot.policy_version)

    async def Watch(self, request: pb.WatchRequest, context: Context) -> AsyncIterator[bytes]:
        """Gives encoded replies."""
        try:
            check_contract(request.contract_version)
            check_run(request.run_id, self._run_id)
        except SojournError as error:
            await refuse(context, error)
        self._count_watchers(+1)
        try:
            async for reply in self._newer(request.after_version):
                yield reply
        finally:
            self._count_watchers(-1)

    async def Latest(self, request: pb.LatestRequest, context: Context) -> pb.LatestReply:
        manifest = self._manifest(self._board.latest) if self._board.latest else None
        return pb.LatestReply(manifest=manifest, watchers=self._watchers, contract_version=CONTRACT_VERSION)

    async def _receive(self, requests: AsyncIterator[pb.PublishRequest]) -> tuple[ParameterSnapshot, bytes]:
        """One manifest and its chunks, and the checksum, which is right. Raises ValidationError or ContractError."""
        assembly: Assembly | None = None
        async for request in requests:
            if request.WhichOneof("part") == "manifest" and assembly is None:
                check_contract(request.manifest.contract_version)
                check_run(request.manifest.run_id, self._run_id)
                assembly = Assembly(request.manifest, time.monotonic())
            elif assembly is None or request.WhichOneof("part") != "chunk":
                raise ValidationError("a publication is one manifest, then its chunks")
            else:
                assembly.add(request.chunk)
        if assembly is None:
            raise ValidationError("a publication is one manifest, then its chunks; nothing came")
        return assembly.snapshot(), assembly.sha256

    async def _newer(self, version: int) -> AsyncIterator[bytes]:
        """Each version that is newest when the watcher is ready for more, for ever."""
        first = True
        while True:
            latest = await self._board.newer_than(version)
            if not first:
                self._skipped.inc(latest.version - version - 1)
            yield pb.WatchReply(manifest=self._manifest(latest)).SerializeToString()
            for chunk in latest.chunks:
                yield chunk
            self._sent.inc()
            version, first = latest.version, False

    def _manifest(self, shown: Shown) -> pb.Manifest:
        return manifest_of(shown.publication.snapshot, shown.publication.sha256, self._run_id, time.monotonic())

    def _count_watchers(self, change: int) -> None:
        self._watchers += change
        self._watcher_count.set(self._watchers)


async def refuse(context: Context, error: SojournError) -> NoReturn:
    """End the call with the status of the error and its sentence."""
    await context.abort(status_of(error), str(error))
    raise error  # abort has raised; this line tells the type checker so


def calls_of(servicer: ParametersServicer) -> "grpc.GenericRpcHandler[Any, Any]":
    """The calls as the generated code would add them, but for `Watch`, whose replies are encoded already."""
    calls = {
        "Publish": grpc.stream_unary_rpc_method_handler(
            servicer.Publish, pb.PublishRequest.FromString, pb.PublishReply.SerializeToString
        ),
        "Watch": grpc.unary_stream_rpc_method_handler(servicer.Watch, pb.WatchRequest.FromString),
        "Latest": grpc.unary_unary_rpc_method_handler(
            servicer.Latest, pb.LatestRequest.FromString, pb.LatestReply.SerializeToString
        ),
    }
    return grpc.method_handlers_generic_handler(SERVICE_NAME, calls)


class ParameterServer:
    """A listening parameter service over one folder, with health and reflection."""

    def __init__(self, folder: Path, run_id: str, metrics: Metrics) -> None:
        """Reads the folder. Raises ContractError or CheckpointError if it cannot be this run's."""
        self._servicer = ParametersServicer(Board(DurableLatest(folder, run_id)), run_id, metrics)
        self._health = health.aio.HealthServicer()  # type: ignore[attr-defined]  # absent from the stubs
        self._server = grpc.aio.server(options=server_options(CHUNK_BYTES))

    async def start(self, listen: str) -> int:
        """Listen at "host:port" (port 0: any free one). Returns the port. Raises UnavailableError if it is taken."""
        self._server.add_generic_rpc_handlers((calls_of(self._servicer),))
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self._server)
        reflection.enable_server_reflection((SERVICE_NAME, health.SERVICE_NAME, reflection.SERVICE_NAME), self._server)
        try:
            port = self._server.add_insecure_port(listen)
        except RuntimeError as error:
            raise UnavailableError(f"the parameter service cannot listen at {listen}: is the port taken? ({error})") from error
        await self._server.start()
        for name in ("", SERVICE_NAME):
            await self._health.set(name, health_pb2.HealthCheckResponse.SERVING)
        return int(port)

    async def stop(self) -> None:
        """End every call and stop listening."""
        await self._health.enter_graceful_shutdown()
        await self._server.stop(STOP_GRACE_S)
