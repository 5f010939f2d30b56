"""The actor's end of a slot's process: starts it, talks to it, ends it. Never waits for the environment."""

import enum
import os
import subprocess
import sys
import time
from collections.abc import Callable
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from typing import TypeVar

from actors.outcomes import Beginning
from actors.slot_process import encode_order
from actors.slot_wire import Fault, Finished, SlotWire
from sojourn.columns import Schema
from sojourn.config.schema import EnvironmentSettings
from sojourn.experience import Columns

Answer = TypeVar("Answer")

START_ALLOWANCE_S = 60.0  # beyond step_timeout_s: imports of the environment, a first reset


class SlotState(enum.Enum):
    """What the slot's process is expected to do next."""

    BEGINNING = "its environment is made or reset; the first observation will come"
    READY = "it waits for an action"
    ACTING = "an action runs"
    GONE = "there is no process; one is started when its time has come"


class Gone(Exception):
    """The slot's process ended without a word. Tells how."""


class RemoteSlot:
    """One slot's process.

    Invariant: there is a process unless `state` is GONE; `since_s` is when the state began. A process that crashes in an action of a
    resumable environment leaves its state, and the next one goes on from there.
    """

    def __init__(self, slot: int, schema: Schema, settings: EnvironmentSettings, *, simulated_clock: bool) -> None:
        self.slot = slot
        self.state = SlotState.GONE
        self.since_s = 0.0
        self.restart_at_s = 0.0
        self._schema = schema
        self._settings = settings
        self._simulated_clock = simulated_clock
        self._wire = SlotWire(schema)
        self._saved = b""
        self._process: subprocess.Popen[bytes] | None = None
        self._connection: Connection | None = None

    @property
    def connection(self) -> Connection:
        assert self._connection is not None
        return self._connection

    @property
    def deadline_s(self) -> float:
        """When the present state has lasted too long, infinity if it may last."""
        if self.state is SlotState.ACTING:
            return self.since_s + self._settings.step_timeout_s
        if self.state is SlotState.BEGINNING:
            return self.since_s + self._settings.step_timeout_s + START_ALLOWANCE_S
        return float("inf")

    def start(self, seed: int) -> None:
        """Start a process; its first observation comes later."""
        assert self.state is SlotState.GONE
        ours, theirs = Pipe()
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "actors.slot_process", str(theirs.fileno())],
                pass_fds=(theirs.fileno(),),
                env={**os.environ, "PYTHONPATH": os.pathsep.join(path or os.getcwd() for path in sys.path)},
                stdin=subprocess.DEVNULL,
            )
        self._connection = ours
        self._enter(SlotState.BEGINNING)
        state, self._saved = self._saved, b""  # once: an action that crashes from there as well is not chosen for ever
        order = encode_order(self._schema, self._settings, simulated_clock=self._simulated_clock, seed=seed, state=state)
        self._told(lambda: ours.send_bytes(order))

    def act(self, action: Columns, started_at_s: float) -> None:
        """Hand an action over. action: leaves without a batch axis. Raises Gone if the process has ended."""
        assert self.state is SlotState.READY
        self._enter(SlotState.ACTING, started_at_s)
        self._told(lambda: self.connection.send_bytes(self._wire.encode_action(action, started_at_s)))

    def receive(self) -> Beginning | Finished | Fault:
        """The answer that is there. Raises Gone if the process has ended instead."""
        self._saved, body = self._wire.split_saved(self._told(self.connection.recv_bytes))
        answer = self._wire.decode_answer(body)
        if isinstance(answer, Beginning):
            self._enter(SlotState.READY)
        elif isinstance(answer, Finished):
            ended = answer.outcome.terminated or answer.outcome.truncated
            self._enter(SlotState.BEGINNING if ended else SlotState.READY)
        return answer

    def begin_anew(self) -> None:
        """The next process starts with a reset and not where this one was."""
        self._saved = b""

    def end(self, restart_at_s: float = float("inf")) -> None:
        """Kill the process, whatever it does, and forget it; another may start at `restart_at_s`."""
        if self._process is not None and self._connection is not None:
            self._process.kill()
            self._process.wait()
            self._connection.close()
        self._process = self._connection = None
        self._enter(SlotState.GONE)
        self.restart_at_s = restart_at_s

    def _enter(self, state: SlotState, now_s: float | None = None) -> None:
        self.state = state
        self.since_s = time.monotonic() if now_s is None else now_s

    def _told(self, talk: Callable[[], Answer]) -> Answer:
        try:
            return talk()
        except (EOFError, OSError) as error:
            raise Gone(self._how_it_ended()) from error

    def _how_it_ended(self) -> str:
        """The process has closed its end: it has exited or is about to."""
        assert self._process is not None
        try:
            code = self._process.wait(timeout=1.0)
        except subprocess.TimeoutExpired:
            return "its process closed the connection"
        return f"its process was ended by signal {-code}" if code < 0 else f"its process ended with exit code {code}"
