"""Spaces and the columns in which they are stored. NumPy and Gymnasium spaces only; no I/O.

A `Schema` says everything that a reader of experience must know: the observation and action spaces, how many frames are
stacked at gather, and which extra columns were declared. Its JSON travels in Hello; its fingerprint tells runs apart.
"""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any, Literal

import gymnasium as gym
import numpy as np

from sojourn.errors import ContractError, EnvironmentFault
from sojourn.experience import Columns
from sojourn.leaves import bound_from_json

Scope = Literal["step", "episode"]


@dataclass(frozen=True)
class Column:
    """One stored column.

    dtype: NumPy name.  shape: of one row; () is a scalar.
    ragged_max: 0 for a fixed shape; otherwise rows hold 0..ragged_max elements of `dtype` and `shape` is ().
    scope: extras only; "episode" columns repeat one value over an episode's rows.
    """

    name: str
    dtype: str
    shape: tuple[int, ...] = ()
    ragged_max: int = 0
    scope: Scope = "step"

    @property
    def row_bytes(self) -> int:
        """Bytes that one row takes at most."""
        elements = self.ragged_max or int(np.prod(self.shape, dtype=np.int64))
        return elements * np.dtype(self.dtype).itemsize


@dataclass(frozen=True)
class Schema:
    """What experience of a run looks like.

    observation, action: spaces in JSON form (`space_to_json`).  frame_stack: frames that gather stacks, 1 is none.
    storage_dtype: "float32" stores float64 observations as float32, "same" keeps them.
    extras: declared extra columns.  core_state: recurrent state columns, empty for feed-forward policies.
    task_column: name of the extra that labels tasks, "" if none.
    """

    observation: dict[str, Any]
    action: dict[str, Any]
    frame_stack: int = 1
    storage_dtype: Literal["float32", "same"] = "float32"
    extras: tuple[Column, ...] = ()
    core_state: tuple[Column, ...] = ()
    task_column: str = ""

    @property
    def observation_space(self) -> gym.Space[Any]:
        """Space of one stored observation (a single frame if frames are stacked)."""
        return space_from_json(self.observation)

    @property
    def policy_observation_space(self) -> gym.Space[Any]:
        """Space that the policy sees: the stored one with a leading axis of `frame_stack` frames on every Box if stacked."""
        return stacked_space(self.observation_space, self.frame_stack)

    @property
    def action_space(self) -> gym.Space[Any]:
        return space_from_json(self.action)

    def observation_columns(self) -> list[Column]:
        columns = space_columns(self.observation_space, "observation")
        return columns if self.storage_dtype == "same" else [_as_float32(column) for column in columns]

    def action_columns(self) -> list[Column]:
        return space_columns(self.action_space, "action")

    def to_json(self) -> bytes:
        """Canonical JSON: equal schemas give equal bytes."""
        return json.dumps(asdict(self), sort_keys=True, separators=(",", ":")).encode()

    @classmethod
    def from_json(cls, text: bytes) -> "Schema":
        try:
            fields = json.loads(text)
            for name in ("extras", "core_state"):
                fields[name] = tuple(Column(**{**column, "shape": tuple(column["shape"])}) for column in fields[name])
            return cls(**fields)
        except (ValueError, TypeError, KeyError) as error:
            raise ContractError(f"not an experience schema: {error}") from error

    @property
    def fingerprint(self) -> str:
        """Sixteen hexadecimal digits that differ between different schemas."""
        return hashlib.sha256(self.to_json()).hexdigest()[:16]


def _as_float32(column: Column) -> Column:
    return Column(column.name, "float32", column.shape) if column.dtype == "float64" else column


def stacked_space(space: gym.Space[Any], frames: int) -> gym.Space[Any]:
    """Add a leading axis of `frames` to every Box leaf; 1 leaves the space as it is."""
    if frames == 1:
        return space
    if isinstance(space, gym.spaces.Box):
        low, high = (np.repeat(bound[None], frames, axis=0) for bound in (space.low, space.high))
        return gym.spaces.Box(low, high, dtype=space.dtype.type)
    if isinstance(space, gym.spaces.Dict):
        return gym.spaces.Dict({key: stacked_space(inner, frames) for key, inner in space.spaces.items()})
    if isinstance(space, gym.spaces.Tuple):
        return gym.spaces.Tuple(tuple(stacked_space(inner, frames) for inner in space.spaces))
    raise EnvironmentFault(f"frame_stack needs Box observations, got {space}")


def leaves(space: gym.Space[Any], name: str) -> Iterator[tuple[str, gym.Space[Any]]]:
    """Yield (dotted column name, leaf space) in a fixed order."""
    if isinstance(space, gym.spaces.Dict):
        for key, inner in space.spaces.items():
            yield from leaves(inner, f"{name}.{key}")
    elif isinstance(space, gym.spaces.Tuple):
        for index, inner in enumerate(space.spaces):
            yield from leaves(inner, f"{name}.{index}")
    else:
        yield name, space


def space_columns(space: gym.Space[Any], name: str) -> list[Column]:
    """Columns that hold one value of the space. Raises EnvironmentFault for a space that has no fixed shape."""
    return [_leaf_column(leaf_name, leaf) for leaf_name, leaf in leaves(space, name)]


def _leaf_column(name: str, leaf: gym.Space[Any]) -> Column:
    if isinstance(leaf, gym.spaces.Discrete):
        return Column(name, "int64")
    if isinstance(leaf, gym.spaces.Box | gym.spaces.MultiDiscrete | gym.spaces.MultiBinary):
        return Column(name, str(np.dtype(leaf.dtype)), tuple(int(n) for n in leaf.shape))
    raise EnvironmentFault(f"space {leaf} of {name!r} has no fixed shape; wrap the environment (Box, Dict, Tuple, Discrete, ...)")


def flatten(space: gym.Space[Any], value: Any, name: str) -> Columns:
    """One value of the space as columns without a batch axis. Inverse of `unflatten`."""
    if isinstance(space, gym.spaces.Dict):
        parts = [flatten(inner, value[key], f"{name}.{key}") for key, inner in space.spaces.items()]
    elif isinstance(space, gym.spaces.Tuple):
        parts = [flatten(inner, value[index], f"{name}.{index}") for index, inner in enumerate(space.spaces)]
    else:
        return {name: np.asarray(value)}
    return {key: array for part in parts for key, array in part.items()}


def unflatten(space: gym.Space[Any], columns: Columns, name: str) -> Any:
    """The value that `flatten` was given, ready for `env.step`: Discrete becomes int, arrays keep the leaf's dtype."""
    if isinstance(space, gym.spaces.Dict):
        return {key: unflatten(inner, columns, f"{name}.{key}") for key, inner in space.spaces.items()}
    if isinstance(space, gym.spaces.Tuple):
        return tuple(unflatten(inner, columns, f"{name}.{index}") for index, inner in enumerate(space.spaces))
    if isinstance(space, gym.spaces.Discrete):
        return int(columns[name])
    return np.asarray(columns[name], dtype=space.dtype).reshape(space.shape)


def space_to_json(space: gym.Space[Any]) -> dict[str, Any]:
    """A space as plain JSON. Infinite bounds are the strings "inf" and "-inf"; uniform bounds are one number."""
    if isinstance(space, gym.spaces.Dict):
        return {"type": "Dict", "spaces": [[key, space_to_json(inner)] for key, inner in space.spaces.items()]}
    if isinstance(space, gym.spaces.Tuple):
        return {"type": "Tuple", "spaces": [space_to_json(inner) for inner in space.spaces]}
    if isinstance(space, gym.spaces.Discrete):
        return {"type": "Discrete", "n": int(space.n), "start": int(space.start)}
    if isinstance(space, gym.spaces.MultiDiscrete):
        return {"type": "MultiDiscrete", "nvec": space.nvec.tolist(), "start": space.start.tolist(), "dtype": str(space.dtype)}
    if isinstance(space, gym.spaces.MultiBinary):
        return {"type": "MultiBinary", "shape": [int(n) for n in space.shape]}
    if isinstance(space, gym.spaces.Box):
        return {
            "type": "Box",
            "shape": [int(n) for n in space.shape],
            "dtype": str(np.dtype(space.dtype)),
            "low": _bound_to_json(space.low),
            "high": _bound_to_json(space.high),
        }
    raise EnvironmentFault(f"space {space} cannot be stored; wrap the environment (Box, Dict, Tuple, Discrete, ...)")


def space_from_json(spec: dict[str, Any]) -> gym.Space[Any]:
    """Inverse of `space_to_json`."""
    match spec["type"]:
        case "Dict":
            return gym.spaces.Dict({key: space_from_json(inner) for key, inner in spec["spaces"]})
        case "Tuple":
            return gym.spaces.Tuple(tuple(space_from_json(inner) for inner in spec["spaces"]))
        case "Discrete":
            return gym.spaces.Discrete(spec["n"], start=spec["start"])
        case "MultiDiscrete":
            return gym.spaces.MultiDiscrete(
                np.array(spec["nvec"]), dtype=np.dtype(spec["dtype"]).type, start=np.array(spec["start"])
            )
        case "MultiBinary":
            shape = spec["shape"]
            return gym.spaces.MultiBinary(shape[0] if len(shape) == 1 else shape)
        case "Box":
            dtype, shape = np.dtype(spec["dtype"]), tuple(spec["shape"])
            low, high = (np.broadcast_to(bound_from_json(spec[side], dtype), shape) for side in ("low", "high"))
            return gym.spaces.Box(low, high, shape, dtype.type)
    raise ContractError(f"unknown space type {spec['type']!r}")


def _bound_to_json(bound: np.ndarray) -> Any:
    def scalar(x: Any) -> Any:
        return str(float(x)) if np.issubdtype(bound.dtype, np.floating) and np.isinf(x) else x.item()

    if bound.size and (bound == bound.flat[0]).all():
        return scalar(bound.flat[0])
    return np.array([scalar(x) for x in bound.flat], dtype=object).reshape(bound.shape).tolist()
