"""The parameter service as a role of a run: serves until told to stop, and says where."""

import asyncio

from sojourn.metrics import Metrics
from sojourn.parameters.service import ParameterServer
from sojourn.roles import RoleContext
from sojourn.rpc import reached_at

STOP_POLL_S = 0.1


def run(context: RoleContext) -> None:
    """Serve the run's parameters from RUN/parameters until `context.stop` is set."""
    metrics = Metrics("parameters")
    wanted = context.config.metrics
    metrics_port = metrics.serve(wanted.host, wanted.port)
    asyncio.run(_serve(context, metrics, f"{wanted.host}:{metrics_port}"))


async def _serve(context: RoleContext, metrics: Metrics, metrics_at: str) -> None:
    server = ParameterServer(context.run_folder / "parameters", context.run_id, metrics)
    port = await server.start(context.listen)
    context.announce(address=reached_at(context.listen, port), metrics=metrics_at)
    try:
        while not context.stop.is_set():
            await asyncio.to_thread(context.stop.wait, STOP_POLL_S)
    finally:
        await server.stop()
