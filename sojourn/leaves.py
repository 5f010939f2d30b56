"""What are the leaves of a stored space? Read from its JSON form (sojourn/columns.py), so that who learns needs no Gymnasium. Pure."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np

from sojourn.errors import ContractError, EnvironmentFault


@dataclass(frozen=True)
class Leaf:
    """One leaf of a space. shape: () for Discrete.

    low, high: of a Box, [*shape].  choices, start: how many values each integer of another kind can take, and the smallest; int64[*shape].
    """

    kind: Literal["Box", "Discrete", "MultiDiscrete", "MultiBinary"]
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    low: np.ndarray
    high: np.ndarray
    choices: np.ndarray
    start: np.ndarray

    def __str__(self) -> str:
        if self.kind != "Box":
            return f"{self.kind}({', '.join(str(size) for size in self.choices.flat)})"
        low, high = (float(bound.flat[0]) if bound.size else 0.0 for bound in (self.low, self.high))
        return f"Box({low:g}, {high:g}, {self.shape}, {self.dtype})"

    def stacked(self, frames: int) -> "Leaf":
        """With a leading axis of `frames`; 1 leaves it as it is. Raises EnvironmentFault for any leaf but a Box."""
        if frames == 1:
            return self
        if self.kind != "Box":
            raise EnvironmentFault(f"frame_stack needs Box observations, got {self}")
        low, high = (np.repeat(bound[None], frames, axis=0) for bound in (self.low, self.high))
        return replace(self, shape=(frames, *self.shape), low=low, high=high)


def leaves_of(space: dict[str, Any], name: str) -> Iterator[tuple[str, Leaf]]:
    """Yield (dotted column name, leaf) in the order of the columns. space: JSON form.  Raises ContractError for an unknown type."""
    match space["type"]:
        case "Dict":
            for key, inner in space["spaces"]:
                yield from leaves_of(inner, f"{name}.{key}")
        case "Tuple":
            for index, inner in enumerate(space["spaces"]):
                yield from leaves_of(inner, f"{name}.{index}")
        case _:
            yield name, _leaf(space)


def _leaf(space: dict[str, Any]) -> Leaf:
    none = np.empty(0)
    match space["type"]:
        case "Box":
            shape, dtype = tuple(space["shape"]), np.dtype(space["dtype"])
            low, high = (np.broadcast_to(bound_from_json(space[side], dtype), shape) for side in ("low", "high"))
            return Leaf("Box", shape, dtype, low, high, none, none)
        case "Discrete":
            return _integers("Discrete", np.dtype(np.int64), np.array(space["n"]), np.array(space["start"]))
        case "MultiDiscrete":
            return _integers("MultiDiscrete", np.dtype(space["dtype"]), np.array(space["nvec"]), np.array(space["start"]))
        case "MultiBinary":
            places = np.zeros(tuple(space["shape"]), np.int64)
            return _integers("MultiBinary", np.dtype(np.int8), places + 2, places)
    raise ContractError(f"unknown space type {space['type']!r}")


def _integers(
    kind: Literal["Discrete", "MultiDiscrete", "MultiBinary"], dtype: np.dtype[Any], choices: np.ndarray, start: np.ndarray
) -> Leaf:
    none = np.empty(0)
    return Leaf(kind, choices.shape, dtype, none, none, choices.astype(np.int64), start.astype(np.int64))


def bound_from_json(bound: Any, dtype: np.dtype[Any]) -> np.ndarray:
    """A Box's bound: one number or nested lists of them, "inf" and "-inf" among them."""
    return np.array(bound, dtype=object).astype(dtype)
