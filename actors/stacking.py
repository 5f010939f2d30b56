"""Which observation does the policy see in each slot now: the newest frame, or the last `frame_stack` of them.

NumPy only; no I/O, no clock. Axes: N slots, k frames, oldest first. At an episode's start the first frame fills the stack.
"""

from collections.abc import Sequence

import numpy as np

from sojourn.columns import Schema
from sojourn.experience import Columns


class Observations:
    """The current observations of N slots, ready for one batched inference.

    Leaves are [N, ...], or [N, k, ...] when frames are stacked, in the dtype in which they are stored: the policy acts on
    exactly the numbers that the learner will see.
    """

    def __init__(self, schema: Schema, slots: int) -> None:
        self._stacked = schema.frame_stack > 1
        frames = (schema.frame_stack,) if self._stacked else ()
        self._leaves: Columns = {
            column.name: np.zeros((slots, *frames, *column.shape), column.dtype) for column in schema.observation_columns()
        }
        self._newest = [self._newest_of(slot) for slot in range(slots)]

    def _newest_of(self, slot: int) -> Columns:
        last = (slot, -1) if self._stacked else (slot,)
        return {name: leaf[(*last, ...)] for name, leaf in self._leaves.items()}

    def newest(self, slot: int) -> Columns:
        """Views of the slot's newest frame, leaves without a batch axis; the next `push` or `restart` overwrites them."""
        return self._newest[slot]

    def restart(self, slot: int, observation: Columns) -> None:
        """An episode begins: its first observation fills the whole stack."""
        for name, leaf in self._leaves.items():
            leaf[slot] = observation[name]

    def push(self, slot: int, observation: Columns) -> None:
        """The observation after a step becomes the newest frame."""
        if self._stacked:
            for leaf in self._leaves.values():
                leaf[slot, :-1] = leaf[slot, 1:]
        newest = self._newest[slot]
        for name, frame in newest.items():
            frame[...] = observation[name]

    def batch(self, slots: Sequence[int] | None = None) -> Columns:
        """Observations of the given slots, leaves [B, ...]; None gives all slots without a copy."""
        if slots is None:
            return self._leaves
        chosen = np.asarray(slots)
        return {name: leaf[chosen] for name, leaf in self._leaves.items()}
