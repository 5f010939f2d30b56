"""How does one record batch become bytes and come back, and NumPy's arrays Arrow's? Pure.

Bytes are an Arrow IPC stream. Nothing is copied on the way back: arrays are read-only views of the bytes. Booleans travel as uint8,
fixed shapes as FixedSizeList, ragged columns as List.
"""

from typing import Any

import numpy as np
import pyarrow as pa

from sojourn.columns import Column
from sojourn.errors import ConfigError, ValidationError


def arrow_type(column: Column) -> Any:
    item = _item_type(column.dtype)
    if column.ragged_max:
        return pa.list_(item)
    return pa.list_(item, int(np.prod(column.shape, dtype=np.int64))) if column.shape else item


def _item_type(dtype: str) -> Any:
    if dtype == "bool":
        return pa.uint8()
    try:
        return pa.from_numpy_dtype(np.dtype(dtype))
    except (TypeError, pa.ArrowException) as error:
        raise ConfigError(f"columns of dtype {dtype} cannot be stored: {error}") from error


def to_arrow(array: np.ndarray) -> Any:
    """An Arrow array over the same memory: [N] primitive, [N, ...] fixed-size lists."""
    plain = array.view(np.uint8) if array.dtype == np.bool_ else array
    if plain.ndim == 1:
        return pa.array(plain)
    return pa.FixedSizeListArray.from_arrays(pa.array(plain.reshape(-1)), int(np.prod(plain.shape[1:], dtype=np.int64)))


def to_numpy(array: Any) -> np.ndarray:
    """View of an Arrow array without nulls: primitives [N], fixed-size lists [N, size]."""
    if isinstance(array, pa.FixedSizeListArray):
        size, first, rows = array.type.list_size, array.offset, len(array)
        flat: np.ndarray = array.values.to_numpy(zero_copy_only=True)[first * size : (first + rows) * size]
        return flat.reshape(rows, size)
    values: np.ndarray = array.to_numpy(zero_copy_only=True)
    return values


def to_ipc(batch: Any) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, batch.schema) as writer:
        writer.write_batch(batch)
    body: bytes = sink.getvalue().to_pybytes()
    return body


def from_ipc(body: bytes) -> Any:
    """The single record batch of an Arrow IPC stream, its buffers checked against its lengths."""
    try:
        with pa.ipc.open_stream(pa.py_buffer(body)) as reader:
            batches = list(reader)
        if len(batches) != 1:
            raise ValidationError(f"a body holds one record batch, got {len(batches)}")
        batches[0].validate()
        _ = batches[0].schema.names  # bytes that are no text are only noticed when the names are read
    except (pa.ArrowException, OSError, ValueError) as error:
        raise ValidationError(f"not an Arrow IPC stream of rows: {error}") from error
    return batches[0]
