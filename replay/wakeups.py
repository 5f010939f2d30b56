"""Waking everyone who waits for something of the shard to change, without polling. One event loop; not thread-safe."""

import asyncio
from collections.abc import Callable


class Wakeups:
    """A place to wait. `notify` wakes all who wait now; each looks again whether it may go on.

    Nothing is lost between looking and waiting: both happen without giving up the loop.
    """

    def __init__(self) -> None:
        self._waiting: set[asyncio.Future[None]] = set()

    def notify(self) -> None:
        waiting, self._waiting = self._waiting, set()
        for future in waiting:
            if not future.done():
                future.set_result(None)

    async def next(self) -> None:
        """Return at the next `notify`."""
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.add(future)
        try:
            await future
        finally:
            self._waiting.discard(future)

    async def until(self, holds: Callable[[], bool]) -> None:
        """Return once the condition holds; it is looked at now and at every `notify`."""
        while not holds():
            await self.next()
