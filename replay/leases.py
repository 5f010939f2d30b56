"""Which drawn items wait to be consumed? Leases of a consuming table: draw id -> item keys. No clock: the service decides when one is lost."""

from collections.abc import Mapping
from typing import Any

import numpy as np


class Leases:
    """Draws handed out and neither consumed nor handed back.

    Invariant: an item is in one lease at most. Draw ids begin at 1 and are never given twice.
    """

    def __init__(self) -> None:
        self._next_id = 1
        self._keys: dict[int, np.ndarray] = {}
        self._handed_back: set[int] = set()
        self.redelivered_items = 0

    def lease(self, keys: np.ndarray) -> tuple[int, bool]:
        """A new draw id for keys uint64[N], and whether any of them was leased before."""
        draw_id, self._next_id = self._next_id, self._next_id + 1
        self._keys[draw_id] = keys
        again = self._handed_back.intersection(keys.tolist())
        self._handed_back -= again
        self.redelivered_items += len(again)
        return draw_id, bool(again)

    def end(self, draw_id: int) -> np.ndarray | None:
        """Forget a lease; its keys, or None if there is none of that id."""
        return self._keys.pop(draw_id, None)

    def hand_back(self, draw_id: int) -> np.ndarray | None:
        """Forget a lease whose items are to be drawn again; its keys, or None if there is none of that id."""
        keys = self.end(draw_id)
        if keys is not None:
            self._handed_back.update(keys.tolist())
        return keys

    def all(self) -> dict[int, np.ndarray]:
        """Keys uint64 by draw id."""
        return dict(self._keys)

    def state(self) -> dict[str, Any]:
        """What `restore` needs, ready for JSON."""
        return {
            "next_id": self._next_id,
            "keys": {str(draw_id): keys.tolist() for draw_id, keys in self._keys.items()},
            "handed_back": sorted(self._handed_back),
            "redelivered_items": self.redelivered_items,
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take over another life's leases. Draw ids go on far behind its last, which the snapshot may have missed."""
        self._next_id = int(state["next_id"]) + (1 << 20)
        self._keys = {int(draw_id): np.array(keys, np.uint64) for draw_id, keys in state["keys"].items()}
        self._handed_back = set(state["handed_back"])
        self.redelivered_items = int(state["redelivered_items"])
