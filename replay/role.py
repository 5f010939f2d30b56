"""One replay shard as a role of a run: serves until told to stop, and says where."""

import asyncio
import logging
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, nullcontext
from pathlib import Path

from replay.departure import final_counts
from replay.server import ReplayServer
from sojourn.allocator import keep_freed_memory
from sojourn.errors import ConfigError
from sojourn.metrics import Metrics
from sojourn.roles import RoleContext
from sojourn.shard_list import leave_counts, read_shard_list

FREED_BYTES = 64 << 20  # that are kept for the next messages
LOG = logging.getLogger("sojourn.replay")


def run_alone(context: RoleContext) -> None:
    """As `run`, where nobody launches the run: shard 0 sends what it is to begin with (`replay.initial`), exactly once over all its lives.

    Raises as `send_initial` too.
    """
    run(context, sends_initial=context.index == 0 and bool(context.config.replay.initial))


def run(context: RoleContext, *, sends_initial: bool = False) -> None:
    """Serve shard `context.index` until `context.stop` is set or the shard leaves the run, then drain.

    Raises ConfigError, UnavailableError (no Redis, a taken port) or ContractError (another service has taken the shard over). A shard that
    a running run is to get and cannot have returns, and is tried again: the run goes on with those that it has.
    """
    keep_freed_memory(FREED_BYTES)
    metrics = Metrics("replay")
    wanted = context.config.metrics
    metrics_port = metrics.serve(wanted.host, wanted.port)
    try:
        asyncio.run(_serve(context, metrics, f"{wanted.host}:{metrics_port}", sends_initial))
    except ConfigError as error:
        if not is_awaited(context.run_folder, context.index):
            raise
        LOG.error("replay shard %d cannot be had: %s", context.index, error)


async def _serve(context: RoleContext, metrics: Metrics, metrics_at: str, sends_initial: bool) -> None:
    server = ReplayServer(
        context.config,
        context.run_folder,
        run_id=context.run_id,
        index=context.index,
        metrics=metrics,
        retired=lambda: is_retired(context.run_folder, context.index),
    )
    try:
        address = await server.open(context.listen)
        context.announce(address=address, metrics=metrics_at)
        async with sending(context, server) if sends_initial else nullcontext():
            await server.serve(on_this_loop(context.stop))
    finally:
        await server.close()
        if context.stop.is_set() or server.has_left:
            await server.stop_embedded()
    if server.has_left:
        try:
            leave_counts(context.run_folder, context.index, final_counts(server.shard))
        except OSError as error:
            LOG.warning(
                "replay shard %d is empty and starts again, since nobody can be told what it has counted: %s",
                context.index,
                error,
            )


@asynccontextmanager
async def sending(context: RoleContext, server: ReplayServer) -> AsyncIterator[None]:
    """Send what the run begins with while inside, on a thread; what is refused ends the block, and is raised."""
    from replay.initial_sending import may_lack_initial, send_initial

    records, stop = server.initial_records(), threading.Event()

    def send() -> None:
        if may_lack_initial(context.config, records):
            send_initial(context.config, records, context.replay_shards(), stop)

    try:
        async with asyncio.TaskGroup() as group:
            group.create_task(asyncio.to_thread(send))
            yield
            stop.set()
    except BaseExceptionGroup as errors:
        raise errors.exceptions[0] from None
    finally:
        stop.set()


def is_retired(run_folder: Path, index: int) -> bool | None:
    """Whether the run's list says that this shard takes no inserts; None where there is no list, or the shard is not in it (yet)."""
    listed = read_shard_list(run_folder)
    return None if listed is None or index not in listed.here else index >= listed.taking


def is_awaited(run_folder: Path, index: int) -> bool:
    """Whether the run goes on without this shard, until it serves."""
    listed = read_shard_list(run_folder)
    return listed is not None and index not in listed.here


def on_this_loop(stop: threading.Event) -> asyncio.Event:
    """An event of the running loop that is set when `stop` is. One thread sleeps on it; nothing polls."""
    loop, set_here = asyncio.get_running_loop(), asyncio.Event()

    def pass_on() -> None:
        stop.wait()
        if not loop.is_closed():
            loop.call_soon_threadsafe(set_here.set)

    threading.Thread(target=pass_on, name="replay-stop", daemon=True).start()
    return set_here
