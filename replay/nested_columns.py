"""How does a value of a space look in Arrow? A Dict or Tuple is a struct, a Box a fixed-size list in C order, a Discrete a number.

Pure: trees of columns, their Arrow types and arrays, and back. No I/O.
"""

import json
from collections.abc import Mapping
from typing import Any

import gymnasium as gym
import numpy as np
import pyarrow as pa

from replay.rows import RaggedColumn, Rows
from sojourn.columns import Column, Schema
from sojourn.experience import Columns

Tree = Column | dict[str, Any]
"""A leaf, or trees by field name."""


def trees(schema: Schema) -> dict[str, Tree]:
    """The schema's groups that hold anything: "observation", "action", "extras", "core_state"."""
    observation = {column.name: column for column in schema.observation_columns()}
    action = {column.name: column for column in schema.action_columns()}
    groups: dict[str, Tree] = {
        "observation": _tree(schema.observation_space, "observation", observation),
        "action": _tree(schema.action_space, "action", action),
        "extras": {column.name: column for column in schema.extras},
        "core_state": {column.name: column for column in schema.core_state},
    }
    return {name: tree for name, tree in groups.items() if tree}


def _tree(space: gym.Space[Any], name: str, stored: Mapping[str, Column]) -> Tree:
    if isinstance(space, gym.spaces.Dict):
        return {key: _tree(inner, f"{name}.{key}", stored) for key, inner in space.spaces.items()}
    if isinstance(space, gym.spaces.Tuple):
        return {str(index): _tree(inner, f"{name}.{index}", stored) for index, inner in enumerate(space.spaces)}
    return stored[name]


def type_of(tree: Tree) -> Any:
    """Arrow type of a tree's values."""
    if isinstance(tree, Column):
        item = pa.from_numpy_dtype(np.dtype(tree.dtype))
        if tree.ragged_max:
            return pa.list_(item)
        return pa.list_(item, int(np.prod(tree.shape, dtype=np.int64))) if tree.shape else item
    return pa.struct([field(name, inner) for name, inner in tree.items()])


def field(name: str, tree: Tree) -> Any:
    """Arrow field; that of a leaf with several axes tells its shape."""
    shape = tree.shape if isinstance(tree, Column) else ()
    return pa.field(name, type_of(tree), nullable=False, metadata={"shape": json.dumps(shape)} if len(shape) > 1 else None)


def array_of(tree: Tree, rows: Rows) -> Any:
    """The rows' values as one Arrow array; numbers are not copied."""
    if not isinstance(tree, Column):
        fields = [field(name, inner) for name, inner in tree.items()]
        return pa.StructArray.from_arrays([array_of(inner, rows) for inner in tree.values()], fields=fields)
    if tree.ragged_max:
        return _ragged_array(tree, rows.ragged[tree.name])
    values = rows.columns[tree.name]
    if not tree.shape:
        return pa.array(values)
    return pa.FixedSizeListArray.from_arrays(pa.array(np.ascontiguousarray(values).reshape(-1)), type=type_of(tree))


def _ragged_array(column: Column, ragged: RaggedColumn) -> Any:
    first, last = ragged.offsets[0], ragged.offsets[-1]
    offsets = pa.array((ragged.offsets - first).astype(np.int32))
    return pa.ListArray.from_arrays(offsets, pa.array(ragged.values[first:last]), type=type_of(column))


def leaves_of(tree: Tree, array: Any) -> Columns:
    """Inverse of `array_of`: arrays [N, ...] by dotted name; ragged columns as object arrays of N one-dimensional arrays."""
    if not isinstance(tree, Column):
        return {name: leaf for key, inner in tree.items() for name, leaf in leaves_of(inner, array.field(key)).items()}
    if tree.ragged_max:
        lists = np.empty(len(array), object)
        lists[:] = [np.asarray(row.values.to_numpy(zero_copy_only=False), tree.dtype) for row in array]
        return {tree.name: lists}
    flat = array.flatten() if tree.shape else array
    return {tree.name: flat.to_numpy(zero_copy_only=False).reshape((len(array), *tree.shape))}
