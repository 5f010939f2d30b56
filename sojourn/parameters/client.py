"""How a learner publishes parameters and how actors and evaluators follow them.

Both sides keep one daemon thread for the network, so neither a gradient step nor an environment step ever waits for it. They
reconnect for ever with back-off and resolve the address anew each time; only a refusal that lasts is an error.
"""

import time
from collections.abc import Iterator
from typing import Any

import grpc

from protos import parameters_pb2 as pb
from protos import parameters_pb2_grpc as rpc_parameters
from sojourn.errors import DeadlineError, SojournError, UnavailableError
from sojourn.experience import ParameterSnapshot
from sojourn.parameters.connection import Connection
from sojourn.parameters.wire import assembled, check_contract, publish_requests
from sojourn.roles import Address
from sojourn.rpc import CHUNK_BYTES, CONTRACT_VERSION, channel_options, error_of

PUBLISH_TIMEOUT_S = 60.0


class Publisher(Connection):
    """Publishes the newest snapshot it was given, in the background; older unsent ones are dropped.

    Invariant: at most one snapshot waits and one is under way.
    """

    def __init__(self, address: Address, *, run_id: str, client_id: str) -> None:
        super().__init__(address, run_id=run_id, client_id=client_id)
        self._waiting: ParameterSnapshot | None = None
        self._under_way = False
        self.last_version = 0  # highest version that the service has allotted to this publisher
        self.replaced = 0  # snapshots that a newer one overtook before they were sent
        self._thread.start()

    def publish(self, snapshot: ParameterSnapshot) -> None:
        """Hand over a snapshot; its policy_version is ignored. Never blocks. Raises an earlier refusal for good."""
        with self._changed:
            self._raise_failure()
            self.replaced += self._waiting is not None
            self._waiting = snapshot
            self._changed.notify_all()

    def flush(self, deadline_s: float) -> int:
        """Wait until everything handed over is durable; returns the last version.

        Raises DeadlineError after `deadline_s` seconds, or a refusal for good.
        """
        with self._changed:
            settled = self._changed.wait_for(lambda: self._failure is not None or self._idle(), deadline_s)
            self._raise_failure()
            if not settled:
                raise DeadlineError(f"the parameter service did not take the last publication within {deadline_s:g} s")
            return self.last_version

    def _idle(self) -> bool:
        return self._waiting is None and not self._under_way

    def _work(self, stub: Any) -> None:
        """Send whatever is newest, one after the other. After an error the snapshot waits again, unless a newer one does."""
        while (snapshot := self._take()) is not None:
            try:
                version = self._send(stub, snapshot)
            except SojournError:
                self._put_back(snapshot)
                raise
            self._patience.went_well()
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
            self._waiting = self._waiting or snapshot

    def _send(self, stub: Any, snapshot: ParameterSnapshot) -> int:
        try:
            reply = stub.Publish(publish_requests(snapshot, self._run_id, time.monotonic()), timeout=PUBLISH_TIMEOUT_S)
        except grpc.RpcError as error:
            raise error_of(error) from error
        return int(reply.policy_version)


class Watcher(Connection):
    """Holds the newest snapshot of a run's policy.

    Invariant: the version held never goes back.
    """

    def __init__(self, address: Address, *, run_id: str, client_id: str) -> None:
        super().__init__(address, run_id=run_id, client_id=client_id)
        self._latest: ParameterSnapshot | None = None
        self._thread.start()

    def latest(self) -> ParameterSnapshot | None:
        """The newest snapshot, or None before the first. Never blocks. Raises a refusal for good."""
        with self._changed:
            self._raise_failure()
            return self._latest

    def wait(self, after_version: int, timeout_s: float) -> ParameterSnapshot | None:
        """The newest snapshot above `after_version`, as soon as there is one; None after `timeout_s` seconds or when closed."""

        def newer() -> bool:
            return self._latest is not None and self._latest.policy_version > after_version

        with self._changed:
            self._changed.wait_for(lambda: newer() or self._failure is not None or self._closing.is_set(), timeout_s)
            self._raise_failure()
            return self._latest if newer() else None

    def _work(self, stub: Any) -> None:
        for snapshot in self._watched(stub):
            self._patience.went_well()
            with self._changed:
                if self._latest is None or snapshot.policy_version > self._latest.policy_version:
                    self._latest = snapshot
                    self._changed.notify_all()

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


def latest_version(address: Address, timeout_s: float = 5.0) -> int:
    """The newest version that the service holds, 0 for none. Raises UnavailableError, DeadlineError or ContractError."""
    with grpc.insecure_channel(address(), channel_options(CHUNK_BYTES)) as channel:
        try:
            reply = rpc_parameters.ParametersStub(channel).Latest(pb.LatestRequest(), timeout=timeout_s)
        except grpc.RpcError as error:
            raise error_of(error) from error
    check_contract(reply.contract_version)
    return int(reply.manifest.policy_version)
