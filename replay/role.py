"""One replay shard as a role of a run: serves until told to stop, and says where."""

import asyncio
import threading
from pathlib import Path

from replay.server import ReplayServer
from sojourn.allocator import keep_freed_memory
from sojourn.metrics import Metrics
from sojourn.roles import RoleContext
from sojourn.shard_list import read_shard_list

FREED_BYTES = 64 << 20  # that are kept for the next messages


def run(context: RoleContext) -> None:
    """Serve shard `context.index` until `context.stop` is set, then drain.

    Raises ConfigError, UnavailableError (no Redis, a taken port) or ContractError (another service has taken the shard over).
    """
    keep_freed_memory(FREED_BYTES)
    metrics = Metrics("replay")
    wanted = context.config.metrics
    metrics_port = metrics.serve(wanted.host, wanted.port)
    asyncio.run(_serve(context, metrics, f"{wanted.host}:{metrics_port}"))


async def _serve(context: RoleContext, metrics: Metrics, metrics_at: str) -> None:
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
        await server.serve(on_this_loop(context.stop))
    finally:
        await server.close()
        if context.stop.is_set():
            await server.stop_embedded()


def is_retired(run_folder: Path, index: int) -> bool | None:
    """Whether the run's list says that this shard takes no inserts; None where there is no list."""
    listed = read_shard_list(run_folder)
    return None if listed is None else index >= listed.taking


def on_this_loop(stop: threading.Event) -> asyncio.Event:
    """An event of the running loop that is set when `stop` is. One thread sleeps on it; nothing polls."""
    loop, set_here = asyncio.get_running_loop(), asyncio.Event()

    def pass_on() -> None:
        stop.wait()
        if not loop.is_closed():
            loop.call_soon_threadsafe(set_here.set)

    threading.Thread(target=pass_on, name="replay-stop", daemon=True).start()
    return set_here
