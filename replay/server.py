"""One replay service: the shard's parts assembled, listening, recovering, serving, draining.

Runs on one event loop. Health says NOT_SERVING until everything is read back and again once it drains.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Coroutine, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from protos import replay_pb2_grpc as rpc_replay
from replay.compaction import Compaction
from replay.fences import field_of
from replay.ingest import Ingest
from replay.initial_record import FileRecord, Records, TierRecord
from replay.kernels import compile_all
from replay.observe import keep_observing
from replay.open_tier import open_tier
from replay.rebuild import Rebuild
from replay.retirement import follow, obey
from replay.sampling import Sampling
from replay.servicer import ReplayServicer
from replay.shard import Clock, Shard
from replay.snapshots import Snapshots
from replay.tier import DurableTier
from sojourn.chosen_cut import chosen_cut
from sojourn.config import Config
from sojourn.errors import UnavailableError
from sojourn.metrics import Metrics
from sojourn.rpc import reached_at, server_options

if TYPE_CHECKING:
    from replay.archiver import Archiver

LOG = logging.getLogger("sojourn.replay")

SERVICE_NAME = "sojourn.v1.Replay"
DRAIN_S = 6.0  # for messages that were taken in; of the 10 s that a role has to end
STREAMS_GRACE_S = 1.0
CANCEL_AGAIN_S = 1.0
UNLIMITED = -1


class ReplayServer:
    """A shard that listens.

    `open`, then `serve`, then `close`, also after an error.
    """

    def __init__(
        self,
        config: Config,
        run_folder: Path,
        *,
        run_id: str,
        index: int,
        metrics: Metrics,
        clock: Clock | None = None,
        retired: Callable[[], bool | None] = lambda: None,
    ) -> None:
        """retired: asked once a second whether the shard is to be so; None: as it was told. Only one that is asked to leaves the run."""
        self._config = config
        self._run_folder = run_folder
        incarnation = int(time.time() * 1e6)
        self.shard = Shard(config, run_id=run_id, index=index, incarnation=incarnation, metrics=metrics, clock=clock or Clock())
        self._retired = retired
        self._leaves = asyncio.Event()
        self._tier: DurableTier | None = None
        self._work: asyncio.Task[None] | None = None
        self._ingest = Ingest(self.shard)
        self._snapshots = Snapshots(self.shard)
        self._health = health.aio.HealthServicer()  # type: ignore[attr-defined]  # absent from the stubs
        limits = dict(server_options(config.replay.max_message_bytes))
        limits["grpc.max_send_message_length"] = UNLIMITED  # a batch of images is larger than any chunk
        self._grpc = grpc.aio.server(options=list(limits.items()))
        self._servicer = ReplayServicer(self.shard, self._ingest, Sampling(self.shard), self._snapshots)

    async def open(self, listen: str) -> str:
        """Open the durable tier, then the port. Returns the target under which it is reached.

        Raises ConfigError or UnavailableError: no server, a level that it cannot give, a taken port.
        """
        shard = self.shard
        self._tier = await open_tier(
            self._config,
            self._run_folder,
            run_id=shard.run_id,
            shard=shard.index,
            incarnation=shard.incarnation,
            standing=shard.standing,
        )
        rpc_replay.add_ReplayServicer_to_server(self._servicer, self._grpc)
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self._grpc)
        reflection.enable_server_reflection((SERVICE_NAME, health.SERVICE_NAME, reflection.SERVICE_NAME), self._grpc)
        await self._say(health_pb2.HealthCheckResponse.NOT_SERVING)
        try:
            port = self._grpc.add_insecure_port(listen)
        except RuntimeError as error:
            raise UnavailableError(f"the replay service cannot listen at {listen}: is the port taken? ({error})") from error
        await self._grpc.start()
        return reached_at(listen, port)

    async def serve(self, stop: asyncio.Event) -> None:
        """Read everything back and work until `stop` is set, or the shard has left the run.

        Raises what ends the service: NotOwnerError, UnavailableError.
        """
        over = [asyncio.create_task(event.wait()) for event in (stop, self._leaves)]
        self._work = asyncio.create_task(self._recover_and_work())
        await asyncio.wait({self._work, *over}, return_when=asyncio.FIRST_COMPLETED)
        for waiting in over:
            waiting.cancel()
        if self._work.done():
            self._work.result()

    @property
    def has_left(self) -> bool:
        """The shard was retired and empty: nothing is to come, and nothing is held."""
        return self._leaves.is_set()

    async def _recover_and_work(self) -> None:
        await asyncio.to_thread(compile_all)  # loading them takes 0.4 s, and would hold the loop up at the first insert
        if self._tier is not None and self._config.lineage == "full":
            self.shard.archiver = self._make_archiver()
            await all_or_first_failure(self._recover_and_serve(), self.shard.archiver.run())
        else:
            await self._recover_and_serve()

    def _make_archiver(self) -> "Archiver":
        from replay.archive import archive_folder  # brings Parquet: 20 MB that a service without lineage has no use for
        from replay.archiver import Archiver

        folder = archive_folder(self._run_folder)
        return Archiver(folder, self.shard.index, lambda life: self.shard.lives.get(field_of(life), "{}"), self.shard.metrics)

    async def _recover_and_serve(self) -> None:
        if self._tier is not None:
            await Rebuild(self.shard, self._tier, chosen_cut(self._run_folder)).run()
        obey(self.shard, self._retired())
        self.shard.recovering = ""
        self.shard.samplers.notify()
        await self._say(health_pb2.HealthCheckResponse.SERVING)
        await all_or_first_failure(
            self._ingest.run(),
            self._snapshots.run(self._config.replay.snapshot_every_s),
            Compaction(self.shard).run(),
            keep_observing(self.shard),
            self._follow(),
        )

    async def _follow(self) -> None:
        await follow(self.shard, self._ingest, self._retired)
        self._leaves.set()

    async def close(self) -> None:
        """Drain: answer what was taken in, write a last snapshot, end the streams. What is not answered is sent again later."""
        await self._health.enter_graceful_shutdown()
        self._ingest.stop_taking()
        if self._work is not None and not self._work.done() and not self.shard.recovering:
            try:
                await asyncio.wait_for(self._finish(), DRAIN_S)
            except TimeoutError:
                LOG.warning("not everything could be written within %.0f s: %s", DRAIN_S, self.shard.tier_status())
        await self._grpc.stop(STREAMS_GRACE_S)
        if self._work is not None:
            await end([self._work])
        if self._tier is not None and self.has_left:
            await self._tier.shrink()
        if self._tier is not None:
            await self._tier.close()

    async def _finish(self) -> None:
        await self._ingest.drain()
        await self._snapshots.save()
        if self.shard.archiver is not None:
            await self.shard.archiver.flush()

    def initial_records(self) -> Records:
        """Where it is remembered what the run began with. Call it once open."""
        file = FileRecord(self._run_folder)
        return TierRecord(self._tier.store, asyncio.get_running_loop(), file) if self._tier is not None else file

    async def stop_embedded(self) -> None:
        """End the embedded server as well: the run ends, or the shard leaves it, not only this life of the service."""
        if self._tier is not None:
            await self._tier.stop_server()

    async def _say(self, status: int) -> None:
        for name in ("", SERVICE_NAME):
            await self._health.set(name, status)


async def all_or_first_failure(*loops: Coroutine[Any, Any, None]) -> None:
    """Run them together; end all and raise the first failure. A task group would wrap it."""
    tasks = [asyncio.create_task(loop) for loop in loops]
    try:
        ended, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_EXCEPTION)
        for task in ended:
            task.result()
    finally:
        await end(tasks)


async def end(tasks: Sequence[asyncio.Task[None]]) -> None:
    """Cancel until they have ended: `asyncio.wait_for` of Python 3.11, which the Redis client uses, can swallow a cancellation."""
    while running := [task for task in tasks if not task.done()]:
        for task in running:
            task.cancel()
        await asyncio.wait(running, timeout=CANCEL_AGAIN_S)
