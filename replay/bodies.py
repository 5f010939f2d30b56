"""How do the columns of a batch become one body of bytes, and come back? Pure.

A body is an Arrow IPC stream of one record batch. Bodies of the same columns and as many rows differ in nothing but what the columns
hold. So Arrow is asked once for each such form; then columns are copied to, and found at, the places that it has chosen.
"""

import json
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from replay.ipc import arrow_type, from_ipc, to_arrow, to_ipc, to_numpy
from sojourn.columns import Column
from sojourn.experience import Columns

Signature = tuple[tuple[str, str, tuple[int, ...]], ...]
"""Name, dtype and shape [N, ...] of every column."""

MOST_FORMS = 64  # that are remembered for reading, and for writing


def encode_columns(columns: Columns) -> bytes:
    """Columns [N, ...] as one Arrow IPC stream; shapes and booleans are named in the fields' metadata."""
    form = _form_of(tuple((name, array.dtype.str, array.shape) for name, array in columns.items()))
    return form.fill(columns) if form is not None else _write(columns)


def decode_columns(body: bytes) -> Columns:
    """Inverse of `encode_columns`; arrays are read-only views. Raises ValidationError for other bytes."""
    head = _head(body)
    form = _forms.get(head)
    if form is not None and form.fits(body):
        return form.columns(body)
    columns = _read(body)
    if (form := Form.of(body, columns)) is not None:
        if len(_forms) >= MOST_FORMS:
            _forms.clear()
        _forms[head] = form
    return columns


class Place(NamedTuple):
    """One column: `gap` bytes of padding, then its own from byte `at` of the body on."""

    name: str
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    gap: bytes
    at: int


@dataclass(frozen=True)
class Form:
    """What bodies of equal columns and rows have in common. head, tail: the bytes before the first column and behind the last."""

    size: int
    head: bytes
    places: tuple[Place, ...]
    tail: bytes

    @classmethod
    def of(cls, body: bytes, columns: Columns) -> "Form | None":
        """The form of a body whose columns are these views of it. None where they do not lie in it one behind the other."""
        places: list[Place] = []
        begin = _address(np.frombuffer(body, np.uint8))
        end = begin + len(_head(body))
        for name, column in columns.items():
            at = _address(column)
            if not (column.size and column.flags.c_contiguous and end <= at <= begin + len(body) - column.nbytes):
                return None
            places.append(Place(name, column.shape, column.dtype, bytes(at - end), at - begin))
            end = at + column.nbytes
        return cls(len(body), body[: len(_head(body))], tuple(places), body[end - begin :])

    def fits(self, body: bytes) -> bool:
        """Whether a body is of this form: all of it but the columns is the same."""
        return len(body) == self.size and body.startswith(self.head) and body.endswith(self.tail)

    def columns(self, body: bytes) -> Columns:
        """Views of a body that fits."""
        return {name: np.ndarray(shape, dtype, body, at) for name, shape, dtype, _, at in self.places}

    def fill(self, columns: Columns) -> bytes:
        """The body of columns [N, ...] of this form."""
        parts: list[Any] = [self.head]
        for place in self.places:
            parts += place.gap, np.ascontiguousarray(columns[place.name])
        return b"".join([*parts, self.tail])


_forms: dict[bytes, Form] = {}
"""Of bodies that were read, by their heads."""


@lru_cache(maxsize=MOST_FORMS)
def _form_of(signature: Signature) -> Form | None:
    body = _write({name: np.zeros(shape, dtype) for name, dtype, shape in signature})
    return Form.of(body, _read(body))


def _head(body: bytes) -> bytes:
    """The two messages before the first column: schema and description of the record batch. Of other bytes, some of them."""
    end = 0
    for _ in range(2):  # a message: a marker, how long the rest is, the rest
        end += 8 + max(0, int.from_bytes(body[end + 4 : end + 8], "little", signed=True))
    return body[:end]


def _address(array: np.ndarray) -> int:
    address: int = array.__array_interface__["data"][0]
    return address


def _write(columns: Columns) -> bytes:
    signature = tuple((name, array.dtype.name, array.shape[1:]) for name, array in columns.items())
    arrays = [to_arrow(np.ascontiguousarray(array)) for array in columns.values()]
    return to_ipc(pa.RecordBatch.from_arrays(arrays, schema=_schema(signature)))


@lru_cache(maxsize=MOST_FORMS)
def _schema(signature: Signature) -> Any:
    """The Arrow schema of columns by name, dtype and shape of a row."""
    return pa.schema([_field(Column(*described)) for described in signature])


def _field(column: Column) -> Any:
    metadata = {"numpy": json.dumps({"shape": list(column.shape), "dtype": column.dtype})}
    return pa.field(column.name, arrow_type(column), nullable=False, metadata=metadata)


def _read(body: bytes) -> Columns:
    batch = from_ipc(body)
    columns: Columns = {}
    for name, field, array in zip(batch.schema.names, batch.schema, batch.columns, strict=True):
        said = json.loads((field.metadata or {}).get(b"numpy", b"{}"))
        values = to_numpy(array)
        shaped = values.reshape((len(array), *said.get("shape", values.shape[1:])))
        columns[name] = shaped.view(np.bool_) if said.get("dtype") == "bool" else shaped
    return columns
