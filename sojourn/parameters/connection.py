"""One thread's way to the parameter service: connects, works until that fails, and tries again. What both clients share."""

import logging
import random
import threading
import time
from abc import ABC, abstractmethod
from typing import Any

import grpc

from protos import parameters_pb2_grpc as rpc_parameters
from sojourn.errors import ContractError, SojournError, ValidationError
from sojourn.roles import Address
from sojourn.rpc import CHUNK_BYTES, backoff_s, channel_options

REFUSED_FOR_S = 5.0  # while a service restarts, its old port may belong to a stranger who refuses us
JOIN_S = 5.0

LOG = logging.getLogger("sojourn.parameters")


class Patience:
    """Decides when a failure that keeps coming back is final.

    Outages never are. A refusal is, once nothing but refusals came for REFUSED_FOR_S.
    """

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        self.went_well()

    def went_well(self) -> None:
        self._waits = backoff_s(self._rng)
        self._refused_since_s: float | None = None

    def after(self, error: SojournError, now_s: float) -> float | None:
        """Seconds to wait before trying again, None if the error is final."""
        if not isinstance(error, ContractError | ValidationError):
            self._refused_since_s = None
        elif self._refused_since_s is None:
            self._refused_since_s = now_s
        elif now_s - self._refused_since_s > REFUSED_FOR_S:
            return None
        return next(self._waits)


class Connection(ABC):
    """A daemon thread that calls `_work` with a stub until closed, with back-off and a newly resolved address after each failure.

    Invariant: `_failure` is set only once it is final, and the thread has ended then. State is guarded by `_changed`.
    """

    def __init__(self, address: Address, *, run_id: str, client_id: str) -> None:
        self._address = address
        self._run_id = run_id
        self._client_id = client_id
        self._changed = threading.Condition()
        self._failure: SojournError | None = None
        self._call: Any = None
        self._patience = Patience(random.Random(client_id))
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._keep_working, name=f"parameters of {client_id}", daemon=True)

    def close(self) -> None:
        """Stop at once; what waits is dropped, and a waiting call returns."""
        self._closing.set()
        with self._changed:
            if self._call is not None:
                self._call.cancel()
            self._changed.notify_all()
        self._thread.join(JOIN_S)

    @abstractmethod
    def _work(self, stub: Any) -> None:
        """Use the service until closed; a call that may wait for long is kept in `_call`. Raises its error as one of ours."""

    def _raise_failure(self) -> None:
        if self._failure is not None:
            raise self._failure

    def _keep_working(self) -> None:
        while not self._closing.is_set() and self._failure is None:
            try:
                with grpc.insecure_channel(self._address(), channel_options(CHUNK_BYTES)) as channel:
                    self._work(rpc_parameters.ParametersStub(channel))
            except SojournError as error:
                self._after(error)

    def _after(self, error: SojournError) -> None:
        """Wait for the next try, or note that there is none."""
        wait_s = self._patience.after(error, time.monotonic())
        if wait_s is None:
            with self._changed:
                self._failure = error
                self._changed.notify_all()
        elif not self._closing.is_set():
            LOG.info("%s has no parameter service, tries again in %.2f s: %s", self._client_id, wait_s, error)
            self._closing.wait(wait_s)
