"""A wire that can be spoilt: passes the bytes of TCP or Unix connections on, later, not at all, in one direction only, or cuts them.

Listens on loopback or a Unix socket, on an event loop in a thread of its own. The target is asked for anew at each connection.
"""

import asyncio
import threading
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

from sojourn.errors import UnavailableError

PART_BYTES = 1 << 16
CALL_S = 10.0


class SpoiltWire:
    """Use it as a context.

    delay_s: added on each way.  `pull` and `plug` hold everything up, as a pulled cable does: connections stay, nothing arrives.
    `hold_answers` keeps what the target says back for good; `cut` breaks all connections at once.
    """

    def __init__(self, target: Callable[[], str], listen: Path | None = None) -> None:
        """target: "host:port" or "unix:/path".  listen: a Unix socket; None: any free port on loopback."""
        self.delay_s = 0.0
        self.held = threading.Event()
        self._target, self._listen = target, listen
        self._answers_are_held = False
        self._loop = asyncio.new_event_loop()
        self._plugged = asyncio.Event()
        self._plugged.set()
        self._writers: set[asyncio.StreamWriter] = set()
        self._server: asyncio.Server | None = None
        self._thread = threading.Thread(target=self._loop.run_forever, name="spoilt wire", daemon=True)

    def __enter__(self) -> "SpoiltWire":
        self._thread.start()
        self._call(self._open())
        return self

    def __exit__(self, *_: object) -> None:
        self._call(self._close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()
        if self._listen is not None:
            self._listen.unlink(missing_ok=True)

    def address(self) -> str:
        """Where it listens, as a gRPC target."""
        if self._listen is not None:
            return f"unix:{self._listen}"
        assert self._server is not None
        return f"127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    def pull(self) -> None:
        self._loop.call_soon_threadsafe(self._plugged.clear)

    def plug(self) -> None:
        self._loop.call_soon_threadsafe(self._plugged.set)

    def hold_answers(self) -> None:
        """From now on the target hears everything and nobody hears it. `held` is set when an answer was kept back."""
        self._answers_are_held = True

    def pass_answers(self) -> None:
        """New connections work again; what was kept back is gone."""
        self._answers_are_held = False
        self.held.clear()
        self.cut()

    def cut(self) -> None:
        """Break every connection."""
        self._call(self._cut())

    def _call(self, work: Coroutine[Any, Any, None]) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result(CALL_S)

    async def _open(self) -> None:
        if self._listen is not None:
            self._server = await asyncio.start_unix_server(self._serve, str(self._listen))
        else:
            self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0, backlog=1024)

    async def _close(self) -> None:
        assert self._server is not None
        self._server.close()
        await self._cut()

    async def _cut(self) -> None:
        for writer in self._writers:
            writer.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await self._plugged.wait()
        try:
            from_target, to_target = await self._connect()
        except (OSError, UnavailableError):
            writer.transport.abort()
            return
        pair = {writer, to_target}
        self._writers |= pair
        try:
            await asyncio.gather(
                self._pass_on(reader, to_target, answers=False), self._pass_on(from_target, writer, answers=True)
            )
        except OSError:
            return  # either side is gone; the other is closed below
        finally:
            self._writers -= pair
            for end in pair:
                end.transport.abort()

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        target = self._target()
        if target.startswith("unix:"):
            return await asyncio.open_unix_connection(target.removeprefix("unix:"))
        host, _, port = target.rpartition(":")
        return await asyncio.open_connection(host, int(port))

    async def _pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, answers: bool) -> None:
        """Until this end closes. With a delay, parts are on their way side by side, as they would be in a cable."""
        parts: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(maxsize=256)
        delivering = asyncio.create_task(self._deliver(parts, writer, answers=answers))
        try:
            while part := await reader.read(PART_BYTES):
                await parts.put((self._loop.time() + self.delay_s, part))
            await parts.put((0.0, b""))
            await delivering
        finally:
            delivering.cancel()

    async def _deliver(self, parts: asyncio.Queue[tuple[float, bytes]], writer: asyncio.StreamWriter, *, answers: bool) -> None:
        while True:
            due_s, part = await parts.get()
            if not part:
                break
            if answers and self._answers_are_held:
                self.held.set()
                continue
            await asyncio.sleep(max(0.0, due_s - self._loop.time()))
            await self._plugged.wait()
            writer.write(part)
            await writer.drain()
        if writer.can_write_eof():
            writer.write_eof()
