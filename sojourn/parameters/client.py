"""How a learner publishes parameters and how actors and evaluators follow them.

Both sides keep one daemon thread for the network, so neither a gradient step nor an environment step ever waits for it. They
reconnect for ever with back-off and resolve the address anew each time; only a refusal that lasts is an error.
"""

import logging
import random
import threading
import time
from collections.abc import Iterator
from typing import Any

import grpc

from protos import parameters_pb2 as pb
from protos import parameters_pb2_grpc as rpc_parameters
from sojourn.errors import ContractError, DeadlineError, SojournError, UnavailableError, ValidationError
from sojourn.experience import ParameterSnapshot
from sojourn.parameters.wire import assembled, check_contract, publish_requests
from sojourn.roles import Address
from sojourn.rpc import CHUNK_BYTES, CONTRACT_VERSION, backoff_s, channel_options, error_of

PUBLISH_TIMEOUT_S = 60.0
REFUSED_FOR_S = 5.0  # while a service restarts, its old port may belong to a stranger who refuses us

LOG = logging.getLogger("sojourn.parameters")


class Patience:
    """Decides when a failure that keeps coming back is final.

    Outages never are. A refusal is, once nothing but refusals came for REFUSED_FOR_S.
    """

    def __init__(self, client_id: str) -> None:
        self._rng = random.Random(client_id)
        self.went_well()

    def went_well(self) -> None:
        self._waits = backoff_s(self._rng)
        self._refused_since_s: float | None = None

    def after(self, error: SojournError, now_s: float) -> float:
        """Seconds to wait before trying again. Raises the error if it is final."""
        if not isinstance(error, ContractError | ValidationError):
            self._refused_since_s = None
        elif self._refused_since_s is None:
            self._refused_since_s = now_s
        elif now_s - self._refused_since_s > REFUSED_FOR_S:
            raise error
        return next(self._waits)


class Publisher:
    """Publishes the newest snapshot it was given, in the background; older unsent ones are dropped.

    Invariant: at most one snapshot waits and one is under way.
    """

    def __init__(self, address: Address, *, run_id: str, client_id: str) -> None:
        self._address = address
        self._run_id = run_id
        self._client_id = client_id
        self._changed = threading.Condition()
        self._waiting: ParameterSnapshot | None = None
        self._under_way = False
        self._failure: SojournError | None = None
        self._closing = threading.Event()
        self.last_version = 0  # highest version that the service has allotted to this publisher
        self.replaced = 0  # snapshots that a newer one overtook before they were sent
        self._thread = threading.Thread(target=self._work, name=f"publisher-{client_id}", daemon=True)
        self._thread.start()

    def publish(self, snapshot: ParameterSnapshot) -> None:
        """Hand over a snapshot; its policy_version is ignored. Never blocks. Raises an earlier refusal for good."""
        with self._changed:
            self._raise_failure()
            self.replaced += self._waiting is not None
            self._waiting = snapshot
            self._changed.notify_all()

    def flush(self, deadline_s: float) -> int:
        """Wait until everything handed over is durable; returns the last version. Raises DeadlineError after `deadline_s` seconds."""
        with self._changed:
            settled = self._changed.wait_for(lambda: self._failure is not None or self._idle(), deadline_s)
            self._raise_failure()
            if not settled:
                raise DeadlineError(f"the parameter service did not take the last publication within {deadline_s:g} s")
            return self.last_version

    def close(self) -> None:
        """Stop at once; what waits is dropped. Call `flush` first to keep it."""
        self._closing.set()
        with self._changed:
            self._changed.notify_all()
        self._thread.join(timeout=5.0)

    def _idle(self) -> bool:
        return self._waiting is None and not self._under_way

    def _raise_failure(self) -> None:
        if self._failure is not None:
            raise self._failure

    def _work(self) -> None:
        patience = Patience(self._client_id)
        while not self._closing.is_set():
            try:
                with grpc.insecure_channel(self._address(), channel_options(CHUNK_BYTES)) as channel:
                    self._publish_each(rpc_parameters.ParametersStub(channel), patience)
            except SojournError as error:
                if not self._wait_after(error, patience):
                    return

    def _wait_after(self, error: SojournError, patience: Patience) -> bool:
        """False if the error is final; publish and flush raise it from now on."""
        try:
            wait_s = patience.after(error, time.monotonic())
        except SojournError as final:
            with self._changed:
                self._failure = final
                self._changed.notify_all()
            return False
        LOG.warning("%s could not publish, again in %.2f s: %s", self._client_id, wait_s, error)
        self._closing.wait(wait_s)
        return True

    def _publish_each(self, stub: Any, patience: Patience) -> None:
        """Send whatever is newest, one after the other, until closed. Raises the call's error; the snapshot then waits again."""
        while (snapshot := self._take()) is not None:
            try:
                version = self._send(stub, snapshot)
            except SojournError:
                self._put_back(snapshot)
                raise
            patience.went_well()
            with self._changed:
                self.last_version = max(self.last_version, version)
                self._under_way = False
                self._changed.notify_all()

    def _take(self) -> ParameterSnapshot | None:
        with self._changed:
            self._changed.wait_for(lambda: self._waiting is not None or self._closing.is_set())
            if self._closing.is_set():
                return None
            snapshot, self._waiting, self._under_way = self._waiting, None, True
            return snapshot

    def _put_back(self, snapshot: ParameterSnapshot) -> None:
        with self._changed:
            self._under_way = False
            if self._waiting is None:
                self._waiting = snapshot

    def _send(self, stub: Any, snapshot: ParameterSnapshot) -> int:
        try:
            reply = stub.Publish(publish_requests(snapshot, self._run_id, time.monotonic()), timeout=PUBLISH_TIMEOUT_S)
        except grpc.RpcError as error:
            raise error_of(error) from error
        return int(reply.policy_version)


class Watcher:
    """Holds the newest snapshot of a run's policy.

    Invariant: the version held never goes back.
    """

    def __init__(self, address: Address, *, run_id: str, client_id: str) -> None:
        self._address = address
        self._run_id = run_id
        self._client_id = client_id
        self._changed = threading.Condition()
        self._latest: ParameterSnapshot | None = None
        self._failure: SojournError | None = None
        self._call: Any = None
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._work, name=f"watcher-{client_id}", daemon=True)
        self._thread.start()

    def latest(self) -> ParameterSnapshot | None:
        """The newest snapshot, or None before the first. Never blocks. Raises a refusal for good."""
        with self._changed:
            if self._failure is not None:
                raise self._failure
            return self._latest

    def wait(self, after_version: int, timeout_s: float) -> ParameterSnapshot | None:
        """The newest snapshot above `after_version`, as soon as there is one; None after `timeout_s` seconds or when closed."""

        def newer() -> bool:
            return self._latest is not None and self._latest.policy_version > after_version

        with self._changed:
            self._changed.wait_for(lambda: newer() or self._failure is not None or self._closing.is_set(), timeout_s)
            if self._failure is not None:
                raise self._failure
            return self._latest if newer() else None

    def close(self) -> None:
        """Stop watching; a waiting call returns."""
        self._closing.set()
        with self._changed:
            if self._call is not None:
                self._call.cancel()
            self._changed.notify_all()
        self._thread.join(timeout=5.0)

    def _work(self) -> None:
        patience = Patience(self._client_id)
        while not self._closing.is_set():
            try:
                with grpc.insecure_channel(self._address(), channel_options(CHUNK_BYTES)) as channel:
                    for snapshot in self._watched(rpc_parameters.ParametersStub(channel)):
                        patience.went_well()
                        self._keep(snapshot)
            except SojournError as error:
                if not self._closing.is_set() and not self._wait_after(error, patience):
                    return

    def _wait_after(self, error: SojournError, patience: Patience) -> bool:
        """False if the error is final; latest and wait raise it from now on."""
        try:
            wait_s = patience.after(error, time.monotonic())
        except SojournError as final:
            with self._changed:
                self._failure = final
                self._changed.notify_all()
            return False
        self._closing.wait(wait_s)
        return True

    def _watched(self, stub: Any) -> Iterator[ParameterSnapshot]:
        """Snapshots as they come. Raises UnavailableError when the stream ends."""
        request = pb.WatchRequest(
            client_id=self._client_id,
            after_version=self._latest.policy_version if self._latest else 0,
            contract_version=CONTRACT_VERSION,
            run_id=self._run_id,
        )
        call = stub.Watch(request)
        with self._changed:
            self._call = call
            if self._closing.is_set():
                call.cancel()
        try:
            yield from assembled((reply, time.monotonic()) for reply in call)
        except grpc.RpcError as error:
            raise error_of(error) from error
        finally:
            call.cancel()
        raise UnavailableError("the parameter service ended the stream")

    def _keep(self, snapshot: ParameterSnapshot) -> None:
        with self._changed:
            if self._latest is None or snapshot.policy_version > self._latest.policy_version:
                self._latest = snapshot
                self._changed.notify_all()


def latest_version(address: Address, timeout_s: float = 5.0) -> int:
    """The newest version that the service holds, 0 for none. Raises UnavailableError, DeadlineError or ContractError."""
    with grpc.insecure_channel(address(), channel_options(CHUNK_BYTES)) as channel:
        try:
            reply = rpc_parameters.ParametersStub(channel).Latest(pb.LatestRequest(), timeout=timeout_s)
        except grpc.RpcError as error:
            raise error_of(error) from error
    check_contract(reply.contract_version)
    return int(reply.manifest.policy_version)
