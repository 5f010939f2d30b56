"""Which messages does the fuzzer send? Well-formed requests of every call, then spoilt: fields, bytes, or everything.

No I/O; all chance comes from the generator that is handed in, so a case can be made again.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from google.protobuf.descriptor import FieldDescriptor, MethodDescriptor
from google.protobuf.message import DecodeError, Message
from google.protobuf.message_factory import GetMessageClass

from protos import replay_pb2 as pb
from replay.arrow import encode_chunk
from sojourn.bench.load.steps import ACTOR_BITS, HALF_CHEETAH, Generator, schema_of
from sojourn.rpc import CONTRACT_VERSION

FUZZERS = 4  # clients of the fuzzer's own, whose lives are real
NUMBERS_OF = 9  # actor index in the step numbers of the fuzzer's rows
STEPS = 16
LONG_BYTES = 100_000
TABLE = "replay"

INTEGERS = (0, 1, 2, 255, 2**31 - 1, 2**31, 2**32 - 1, 2**62, 2**63 - 1, 2**64 - 1, -1, -(2**31), -(2**63))
FLOATS = (0.0, -0.0, 1.0, -1.0, 1e-300, 1e300, float("nan"), float("inf"), float("-inf"))
TEXTS = (
    "",
    "replay",
    "fuzz-0",
    "../../etc/passwd",
    "\x00",
    "a" * 200,
    "#totals",
    "fuzz/1",
    "ü" * 50,
    "'; DROP TABLE",
    "{}",
    "%s%n",
)


@dataclass(frozen=True)
class Call:
    """One call of the service. path: as gRPC addresses it."""

    name: str
    path: str
    streams_in: bool
    streams_out: bool
    request: type[Message]

    def is_readable(self, body: bytes) -> bool:
        """Whether protobuf can read it: gRPC itself refuses what it cannot, with UNKNOWN, before any code of ours."""
        try:
            self.request.FromString(body)
        except DecodeError:
            return False
        return True


def calls() -> list[Call]:
    """Every call of the contract."""
    service = pb.DESCRIPTOR.services_by_name["Replay"]
    return [_call(service.full_name, method) for method in service.methods]


def _call(service: str, method: MethodDescriptor) -> Call:
    path = f"/{service}/{method.name}"
    return Call(method.name, path, method.client_streaming, method.server_streaming, GetMessageClass(method.input_type))


class Messages:
    """Makes requests. lives: the fuzzer's incarnations by client id; message numbers rise as the service expects."""

    def __init__(self, rng: np.random.Generator, lives: dict[str, int]) -> None:
        self._rng = rng
        self._lives = lives
        self._numbers: dict[str, int] = {}
        self._generator = Generator(HALF_CHEETAH, STEPS, np.random.default_rng(0))
        self._sent = 0

    def begin_again(self) -> None:
        """All lives are new: their messages are numbered from 1."""
        self._numbers.clear()

    def request(self, call: Call) -> bytes:
        """One request of the call: as it should be, with spoilt fields, with spoilt bytes, or noise."""
        kind = self._rng.random()
        if kind < 0.05:
            return self._noise(int(self._rng.integers(0, 300)))
        message = self._well_formed(call)
        if kind < 0.5:
            self._spoil_fields(message)
        body = message.SerializeToString()
        return self._spoilt_bytes(body) if kind > 0.85 else body

    def _well_formed(self, call: Call) -> Message:
        client = f"fuzz-{int(self._rng.integers(FUZZERS))}"
        fields = {field.name for field in call.request.DESCRIPTOR.fields}
        known: dict[str, Callable[[], object]] = {
            "client_id": lambda: client,
            "incarnation": lambda: self._lives.get(client, 1),
            "table": lambda: TABLE,
            "contract_version": lambda: CONTRACT_VERSION,
            "role": lambda: int(self._rng.integers(1, 5)),
            "last_incarnation": lambda: self._lives.get(client, 0),
            "inherit_incarnation": lambda: self._lives.get(client, 0),
            "schema_json": lambda: schema_of(HALF_CHEETAH).to_json(),
            "message_number": lambda: self._next_number(client),
            "rows": lambda: self.chunk(),
            "batch_size": lambda: 8,
            "credits": lambda: 2,
            "max_batches_per_message": lambda: 2,
            "keys": lambda: np.arange(1, 9, dtype="<u8").tobytes() if call.name == "UpdatePriorities" else [1, 2, 3],
            "priorities": lambda: np.ones(8, "<f4").tobytes(),
            "draw_ids": lambda: [1, 2, 3],
            "lanes": lambda: [pb.LaneCounters(lane=0, started=self._sent, completed=self._sent)],
            "running": lambda: [pb.RunningAction(lane=0, action_number=self._sent, age_s=0.5)],
        }
        self._sent += 1
        return call.request(**{name: make() for name, make in known.items() if name in fields})

    def _next_number(self, client: str) -> int:
        number = self._numbers[client] = self._numbers.get(client, 0) + 1
        return number

    def chunk(self) -> bytes:
        """Rows of one lane, spoilt every second time."""
        first = (NUMBERS_OF << ACTOR_BITS) + self._sent * STEPS
        segment = self._generator.segment(int(self._rng.integers(4)), self._sent * STEPS, first, np.full(STEPS, 0.01), 0.0)
        body = encode_chunk(schema_of(HALF_CHEETAH), [segment], 0.0)
        return self._spoilt_bytes(body) if self._rng.random() < 0.5 else body

    def _spoil_fields(self, message: Message) -> None:
        fields = list(message.DESCRIPTOR.fields)
        for field in self._rng.permutation(np.array(fields, object))[: int(self._rng.integers(1, 4))]:
            self._spoil_field(message, field)

    def _spoil_field(self, message: Message, field: FieldDescriptor) -> None:
        message.ClearField(field.name)
        if field.is_repeated:
            many = int(self._rng.choice([0, 1, 3, 50, 2_000]))
            if field.type == FieldDescriptor.TYPE_MESSAGE:
                for _ in range(min(many, 50)):
                    self._spoil_fields(getattr(message, field.name).add())
            else:
                getattr(message, field.name).extend([self._odd_value(field) for _ in range(many)])
        elif field.type == FieldDescriptor.TYPE_MESSAGE:
            self._spoil_fields(getattr(message, field.name))
        else:
            setattr(message, field.name, self._odd_value(field))

    def _odd_value(self, field: FieldDescriptor) -> object:
        kind = field.cpp_type
        if kind in (FieldDescriptor.CPPTYPE_DOUBLE, FieldDescriptor.CPPTYPE_FLOAT):
            return float(self._rng.choice(FLOATS))
        if kind == FieldDescriptor.CPPTYPE_BOOL:
            return bool(self._rng.integers(2))
        if kind == FieldDescriptor.CPPTYPE_ENUM:
            return int(self._rng.choice([0, 1, 2, 3, 4, 5, 99]))
        if field.type == FieldDescriptor.TYPE_STRING:
            return str(TEXTS[int(self._rng.integers(len(TEXTS)))])
        if field.type == FieldDescriptor.TYPE_BYTES:
            return self._odd_bytes()
        return self._odd_integer(kind)

    def _odd_integer(self, kind: int) -> int:
        ranges = {
            FieldDescriptor.CPPTYPE_INT32: (-(2**31), 2**31 - 1),
            FieldDescriptor.CPPTYPE_UINT32: (0, 2**32 - 1),
            FieldDescriptor.CPPTYPE_INT64: (-(2**63), 2**63 - 1),
            FieldDescriptor.CPPTYPE_UINT64: (0, 2**64 - 1),
        }
        low, high = ranges[kind]
        return min(max(INTEGERS[int(self._rng.integers(len(INTEGERS)))], low), high)

    def _odd_bytes(self) -> bytes:
        choice = int(self._rng.integers(5))
        if choice == 0:
            return self._noise(int(self._rng.integers(0, 64)))
        if choice == 1:
            return self._noise(LONG_BYTES)
        if choice == 2:
            return self._spoilt_bytes(schema_of(HALF_CHEETAH).to_json())
        return self._spoilt_bytes(self.chunk())

    def _noise(self, size: int) -> bytes:
        return bytes(self._rng.bytes(size))

    def _spoilt_bytes(self, body: bytes) -> bytes:
        """Flip some bytes, cut the end off, double a part, or put noise in."""
        if not body:
            return self._noise(8)
        spoilt = bytearray(body)
        choice, at = int(self._rng.integers(4)), int(self._rng.integers(len(spoilt)))
        if choice == 0:
            for place in self._rng.integers(len(spoilt), size=int(self._rng.integers(1, 9))):
                spoilt[place] ^= int(self._rng.integers(1, 256))
        elif choice == 1:
            del spoilt[at:]
        elif choice == 2:
            spoilt[at:at] = spoilt[at : at + int(self._rng.integers(1, 200))]
        else:
            spoilt[at : at + 8] = self._noise(8)
        return bytes(spoilt)
