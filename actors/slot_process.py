"""One environment in a process of its own: `python -m actors.slot_process FD` steps it for an actor until the actor is gone.

Speaks `actors.slot_wire` over the socket whose file descriptor it is given. Whatever happens here ends this slot only. Resets
at once after an episode, without being asked. Imports no torch.
"""

import base64
import ctypes
import json
import os
import signal
import sys
from multiprocessing.connection import Connection
from typing import Any

from actors.slot_wire import SlotWire
from actors.steps import CheckedEnvironment, make_checked
from sojourn.columns import Schema, unflatten
from sojourn.config.schema import EnvironmentSettings
from sojourn.errors import SojournError

PR_SET_PDEATHSIG = 1  # linux/prctl.h: the kernel sends this signal when the parent dies


def encode_order(schema: Schema, settings: EnvironmentSettings, *, simulated_clock: bool, seed: int, state: bytes) -> bytes:
    """The first message: which environment to make and how. state: to go on from, empty to reset."""
    order = {
        "schema": schema.to_json().decode(),
        "settings": settings.model_dump(mode="json"),
        "simulated_clock": simulated_clock,
        "seed": seed,
        "state": base64.b64encode(state).decode(),
        "parent": os.getpid(),
    }
    return json.dumps(order).encode()


def serve(connection: Connection) -> None:
    """Make the ordered environment and step it until the actor closes the connection or the environment fails."""
    order = json.loads(connection.recv_bytes())
    die_with_parent(order["parent"])
    schema = Schema.from_json(order["schema"].encode())
    wire = SlotWire(schema)
    try:
        environment = make_checked(
            EnvironmentSettings.model_validate(order["settings"]), schema, simulated_clock=order["simulated_clock"]
        )
        state = base64.b64decode(order["state"])
        connection.send_bytes(wire.encode_beginning(environment.resume(state) if state else environment.reset(order["seed"])))
        _step_for_ever(connection, wire, environment, schema.action_space)
    except SojournError as fault:
        connection.send_bytes(wire.encode_fault(str(fault)))


def _step_for_ever(connection: Connection, wire: SlotWire, environment: CheckedEnvironment, space: Any) -> None:
    while True:
        columns, started_at_s = wire.decode_action(connection.recv_bytes())
        outcome = environment.step(unflatten(space, columns, "action"), started_at_s)
        answer, ended = wire.encode_outcome(outcome, environment.finished_at_s), outcome.terminated or outcome.truncated
        state = b"" if ended else environment.save()
        connection.send_bytes(wire.encode_saved(state, answer) if state else answer)
        if ended:
            connection.send_bytes(wire.encode_beginning(environment.reset(None)))


def die_with_parent(parent: int) -> None:
    """Ask the kernel to kill this process when the actor dies, even in the middle of a step. Linux only; elsewhere the slot
    ends when it next looks at its socket."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:
            raise SystemExit(0)


def main(descriptor: int) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the actor decides when slots end
    try:
        serve(Connection(descriptor))
    except (EOFError, ConnectionError, BrokenPipeError):
        return  # the actor is gone


if __name__ == "__main__":
    main(int(sys.argv[1]))
