"""A client's link to one replay service: a channel and the life that Hello granted, and how both are renewed.

Blocks and uses the network; several threads may share a link. Whoever sees a call fail asks for a session other than the
failed one: the first to ask connects again (the address is resolved anew), the others wait for it.
"""

import logging
import math
import random
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import grpc

from protos import replay_pb2 as pb
from protos.replay_pb2_grpc import ReplayStub
from sojourn.errors import ContractError, DeadlineError, SojournError, UnavailableError, ValidationError
from sojourn.roles import Address
from sojourn.rpc import HEADROOM_BYTES, backoff_s, channel_options, error_of

LOG = logging.getLogger("sojourn.replay.client")

HELLO_TIMEOUT_S = 3.0  # a Hello that hangs also delays closing
CALL_TIMEOUT_S = 5.0
LARGEST_MESSAGE_BYTES = (1 << 31) - 1 - HEADROOM_BYTES  # gRPC's own limit: a reply with batches of images may be large

Metadata = tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Session:
    """A channel on which the service has said hello. hello: its answer.  metadata: to send with every call."""

    channel: grpc.Channel
    stub: ReplayStub
    hello: pb.HelloReply
    metadata: Metadata

    @property
    def incarnation(self) -> int:
        return self.hello.incarnation


class Link:
    """Keeps one session with one service.

    Invariant: all sessions of a link are one life: after the first Hello each goes on under the same incarnation.
    """

    def __init__(self, address: Address, hello: pb.HelloRequest, token: str = "") -> None:
        self._address = address
        self._hello = hello
        self._metadata: Metadata = (("authorization", f"Bearer {token}"),) if token else ()
        self._session: Session | None = None
        self._lock = threading.Lock()
        self._closed = threading.Event()
        self.sessions = 0
        self.connected = False
        self.tried = False  # to connect, to some end

    def session(
        self, stale: Session | None = None, timeout_s: float | None = None, give_up: threading.Event | None = None
    ) -> Session:
        """A session other than `stale`; connects again until there is one.

        Raises ContractError when the service refuses this client for good, UnavailableError when the link is closed, `give_up`
        is set or `timeout_s` has passed (None: waits for ever).
        """
        if stale is not None and self._session is stale:
            self.connected = False
        with self._lock:
            if self._session is None or self._session is stale:
                self._renew(timeout_s, give_up)
            assert self._session is not None
            return self._session

    @property
    def closed(self) -> bool:
        return self._closed.is_set()

    @property
    def client_id(self) -> str:
        return self._hello.client_id

    def pause(self, wait_s: float) -> None:
        """Wait, but not beyond the closing of the link."""
        self._closed.wait(wait_s)

    def close(self) -> None:
        """End all calls of the link and every wait for a session."""
        self._closed.set()
        with self._lock:
            self._drop()

    def _drop(self) -> None:
        self.connected = False
        if self._session is not None:
            self._session.channel.close()
            self._session = None

    def _renew(self, timeout_s: float | None, give_up: threading.Event | None) -> None:
        until_s = math.inf if timeout_s is None else time.monotonic() + timeout_s
        self._drop()
        for wait_s in backoff_s(random.Random()):
            try:
                self._session = self._say_hello()
            except (UnavailableError, DeadlineError) as error:
                self.tried = True
                LOG.debug("%s waits %.2f s for the replay service: %s", self.client_id, wait_s, error)
                if time.monotonic() + wait_s > until_s:
                    raise UnavailableError(f"no replay service within {timeout_s:g} s: {error}") from error
                if self._closed.wait(wait_s) or (give_up is not None and give_up.is_set()):
                    raise UnavailableError(f"gave up waiting for the replay service: {error}") from error
            else:
                self.sessions += 1
                self.connected = self.tried = True
                return

    def _say_hello(self) -> Session:
        if self._closed.is_set():
            raise UnavailableError("the connection was closed")
        channel = grpc.insecure_channel(self._address(), options=channel_options(LARGEST_MESSAGE_BYTES))
        stub = ReplayStub(channel)
        try:
            with our_errors():
                reply = stub.Hello(self._hello, timeout=HELLO_TIMEOUT_S, metadata=self._metadata)
        except SojournError:
            channel.close()
            raise
        self._hello.last_incarnation = max(self._hello.last_incarnation, reply.incarnation)
        self._hello.inherit_incarnation = reply.incarnation  # go on in this life after a reconnect
        return Session(channel, stub, reply, self._metadata)


@contextmanager
def our_errors() -> Iterator[None]:
    """gRPC's errors of a call, or of opening a stream, become ours."""
    try:
        yield
    except grpc.RpcError as error:
        raise error_of(error) from error
    except ValueError as error:  # what gRPC says of a channel that another thread has closed
        raise UnavailableError(str(error)) from error


def end_window(link: Link, pool: str, ago_s: float) -> int:
    """Tell the service that a pool's collection window ended. Returns the window's number; raises what became of the call."""
    session = link.session(timeout_s=CALL_TIMEOUT_S)
    request = pb.EndWindowRequest(client_id=link.client_id, pool=pool, ago_s=ago_s)
    with our_errors():
        window: int = session.stub.EndWindow(request, timeout=CALL_TIMEOUT_S, metadata=session.metadata).window
    return window


def keep_open(
    link: Link, serve: Callable[[Session], bool], progress: Callable[[], int], refused: Callable[[SojournError], None]
) -> None:
    """Serve one session after the other until all is said or the link is closed. Runs in a thread of its own.

    serve: works on a session and returns whether all is said, or raises when the stream breaks.
    progress: a count that rises when a stream got anywhere; without progress there is a growing pause.
    refused: told once why this client can never go on: Hello was refused, or a stream twice in a row without progress.
    """
    session: Session | None = None
    refusals, waits_s = 0, backoff_s(random.Random())
    while not link.closed:
        before = progress()
        try:
            session = link.session(stale=session)
        except SojournError as refusal:
            return None if link.closed else refused(refusal)
        error = _broken_by(serve, session)
        if error is None or link.closed:
            return None
        if progress() != before:
            refusals, waits_s = 0, backoff_s(random.Random())
        refusals += isinstance(error, ContractError | ValidationError)
        if refusals > 1:
            return refused(error)
        LOG.info("%s connects to the replay service again: %s", link.client_id, error)
        link.pause(next(waits_s))
    return None


def keep_open_in_thread(
    link: Link,
    name: str,
    serve: Callable[[Session], bool],
    progress: Callable[[], int],
    refused: Callable[[SojournError], None],
) -> threading.Thread:
    """Start a thread that keeps a stream open. If it ever ends by an error of its own, `refused` is told, so that nobody waits."""

    def run() -> None:
        fault: SojournError | None = UnavailableError(f"the thread of the {name} ended by an error of its own; see the log")
        try:
            keep_open(link, serve, progress, refused)
            fault = None
        finally:
            if fault is not None:
                refused(fault)

    thread = threading.Thread(target=run, name=f"{link.client_id} {name}", daemon=True)
    thread.start()
    return thread


def _broken_by(serve: Callable[[Session], bool], session: Session) -> SojournError | None:
    """Why the stream broke, or None when all is said."""
    try:
        return None if serve(session) else UnavailableError("the service ended the stream")
    except SojournError as error:
        return error
    except grpc.RpcError as error:
        return error_of(error)
