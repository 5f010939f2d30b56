"""How do the ranks of a world find each other? Rank 0 opens a store, the others come to it. Blocks until all have come.

A store serves one life of rank 0 and one of every other rank: a rank that comes a second time finds its place taken, and waits for the
store of rank 0's next life.
"""

import logging
import socket
from datetime import timedelta

from torch.distributed import TCPStore  # type: ignore[attr-defined]

from sojourn.errors import UnavailableError
from sojourn.roles import RoleContext

LOOK_S = 0.2
STORE_S = 5.0  # for an answer of a store

LOG = logging.getLogger("sojourn.learners")


def meet(context: RoleContext, world: int, metrics_address: str) -> TCPStore | None:
    """A store that all ranks have come to; None if told to stop before. Announces this rank."""
    if context.index == 0:
        return _receive(context, world, metrics_address)
    context.announce(metrics=metrics_address)
    while not context.stop.is_set():
        store = _come(context, world)
        if store is not None:
            return store
        context.stop.wait(LOOK_S)
    return None


def _receive(context: RoleContext, world: int, metrics_address: str) -> TCPStore | None:
    host, _, port = (context.config.learners.rendezvous or context.listen).rpartition(":")
    door = socket.create_server((host, int(port)))  # a store that opens its own is open to every network
    store = TCPStore(
        host,
        door.getsockname()[1],
        world,
        True,
        timedelta(seconds=STORE_S),
        wait_for_workers=False,
        master_listen_fd=door.detach(),
    )
    context.announce(address=f"{host}:{store.port}", metrics=metrics_address)
    while store.add("there", 0) < world - 1:
        if context.stop.wait(LOOK_S):
            return None
    store.set("begun", "")
    return store


def _come(context: RoleContext, world: int) -> TCPStore | None:
    """Rank 0's store once all have come to it; None where there is none yet, or it is not for this life."""
    assert context.ranks is not None
    try:
        host, _, port = context.ranks().rpartition(":")
        if not port:
            return None
        store = TCPStore(host, int(port), world, False, timedelta(seconds=STORE_S), wait_for_workers=False)
        if store.add(f"rank {context.index}", 1) > 1:
            return None
        store.add("there", 1)
        while not store.check(["begun"]):
            if context.stop.wait(LOOK_S):
                return None
    except (UnavailableError, RuntimeError) as error:  # of torch's stores all errors are RuntimeErrors
        LOG.debug("rank 0 is not there: %s", error)
        return None
    return store
