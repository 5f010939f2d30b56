"""How one step travels between an actor and the process of a slot: plain bytes in a layout that the schema fixes.

Pure: no I/O. Little-endian as the machine has it (both ends are one machine). The first byte of an answer says which it is.

    order      JSON: settings, schema, simulated_clock, seed, state, parent    actor -> slot, once
    action     started_at_s float64, action leaves                             actor -> slot
    beginning  B, duration_s float64, episode extras, observation leaves                           slot -> actor, after the order and each episode
    outcome    O, reward, duration_s, finished_at_s float64, terminated, truncated uint8, step extras, observation leaves
    saved      S, number of bytes uint32, the environment's state, an outcome  slot -> actor, in place of an outcome
    fault      F, a sentence in UTF-8; the process ends after it

A ragged leaf has its number of elements (uint32) before it.
"""

import math
import struct
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from actors.outcomes import Beginning, Outcome
from sojourn.columns import Column, Schema
from sojourn.experience import IDLE, Columns

_ACTION = struct.Struct("=d")
_OUTCOME = struct.Struct("=ddd??")
_BEGINNING = struct.Struct("=d")
_COUNT = struct.Struct("=I")


class Fault(NamedTuple):
    """The slot's environment failed; its process has ended or is about to."""

    reason: str


class Finished(NamedTuple):
    """An outcome and the monotonic clock when the slot's process had it."""

    outcome: Outcome
    finished_at_s: float


class SlotWire:
    """Encodes and decodes for one schema. Decoded arrays are read-only views of the message."""

    def __init__(self, schema: Schema) -> None:
        self._action = schema.action_columns()
        self._observation = schema.observation_columns()
        self._step_extras = [column for column in schema.extras if column.scope == "step" and column.name != IDLE]
        self._episode_extras = [column for column in schema.extras if column.scope == "episode"]

    def encode_action(self, action: Columns, started_at_s: float) -> bytes:
        return b"".join([_ACTION.pack(started_at_s), *_packed(self._action, action)])

    def decode_action(self, body: bytes) -> tuple[Columns, float]:
        """The action's leaves, writable, and when it was handed over."""
        (started_at_s,) = _ACTION.unpack_from(body)
        action, _ = _unpacked(self._action, body, _ACTION.size)
        return {name: leaf.copy() for name, leaf in action.items()}, started_at_s

    def encode_beginning(self, beginning: Beginning) -> bytes:
        extras = _packed(self._episode_extras, beginning.extras)
        return b"".join(
            [b"B", _BEGINNING.pack(beginning.duration_s), *extras, *_packed(self._observation, beginning.observation)]
        )

    def encode_outcome(self, outcome: Outcome, finished_at_s: float) -> bytes:
        head = _OUTCOME.pack(outcome.reward, outcome.duration_s, finished_at_s, outcome.terminated, outcome.truncated)
        extras = _packed(self._step_extras, outcome.extras)
        return b"".join([b"O", head, *extras, *_packed(self._observation, outcome.observation)])

    def encode_saved(self, state: bytes, outcome: bytes) -> bytes:
        """An encoded outcome and the state behind it in one message, so that there is never one without the other."""
        return b"".join([b"S", _COUNT.pack(len(state)), state, outcome])

    def split_saved(self, body: bytes) -> tuple[bytes, bytes]:
        """State, empty for none, and the answer itself."""
        if body[:1] != b"S":
            return b"", body
        (count,) = _COUNT.unpack_from(body, 1)
        begin = 1 + _COUNT.size
        return body[begin : begin + count], body[begin + count :]

    def encode_fault(self, reason: str) -> bytes:
        return b"F" + reason.encode()

    def decode_answer(self, body: bytes) -> Beginning | Finished | Fault:
        """What a slot's process said."""
        if body[:1] == b"B":
            (duration_s,) = _BEGINNING.unpack_from(body, 1)
            extras, place = _unpacked(self._episode_extras, body, 1 + _BEGINNING.size)
            return Beginning(_unpacked(self._observation, body, place)[0], extras, duration_s)
        if body[:1] == b"O":
            return self._decode_outcome(body)
        return Fault(body[1:].decode(errors="replace"))

    def _decode_outcome(self, body: bytes) -> Finished:
        reward, duration_s, finished_at_s, terminated, truncated = _OUTCOME.unpack_from(body, 1)
        extras, place = _unpacked(self._step_extras, body, 1 + _OUTCOME.size)
        observation, _ = _unpacked(self._observation, body, place)
        return Finished(Outcome(observation, reward, terminated, truncated, duration_s, extras), finished_at_s)


def _packed(columns: Sequence[Column], values: Columns) -> list[bytes]:
    parts = []
    for column in columns:
        array = np.asarray(values[column.name], column.dtype)
        if column.ragged_max:
            parts.append(_COUNT.pack(array.size))
        parts.append(array.tobytes())
    return parts


def _unpacked(columns: Sequence[Column], body: bytes, place: int) -> tuple[Columns, int]:
    """Leaves from `place` on, and where they end."""
    values: Columns = {}
    for column in columns:
        count = math.prod(column.shape)
        if column.ragged_max:
            (count,) = _COUNT.unpack_from(body, place)
            place += _COUNT.size
        flat = np.frombuffer(body, column.dtype, count, place)
        values[column.name] = flat if column.ragged_max else flat.reshape(column.shape)
        place += flat.nbytes
    return values, place
