"""What a chunk holds once it is decoded: rows of lanes, column by column. NumPy only; no I/O, no clock.

N rows, sorted by lane, then by lane sequence. A row is a step or the observation-only row that closes an episode or truncation.
"""

from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from sojourn.experience import Columns

STEP = 1  # bit 0 of `kind`: the row holds an action and its result; otherwise only the closing observation
TERMINATED = 2
TRUNCATED = 4
END_KIND_SHIFT = 4  # bits 4 to 6: `EndKind`
KIND_BITS = STEP | TERMINATED | TRUNCATED | (7 << END_KIND_SHIFT)

PAGE_ROWS = 4096
"""Row numbers per page of a snapshot."""


@dataclass(frozen=True)
class RaggedColumn:
    """N lists of elements laid end to end: list i is `values[offsets[i]:offsets[i + 1]]`.

    values: elements [offsets[N]] of the column's dtype.  offsets: int64[N + 1], not decreasing.
    """

    values: np.ndarray
    offsets: np.ndarray


@dataclass(frozen=True)
class Rows:
    """N rows of one chunk. Arrays may be read-only views of the message.

    lane uint32[N].  sequence int64[N], contiguous in a lane.  episode int64[N].  kind uint8[N] (bits above).
    reward float32[N], duration_s float64[N], start_age_s float64[N]: age of the action's start when the body was made.
    log_prob float32[N], policy_version int64[N], priority float32[N]: the actor's estimate, NaN for none.
    columns: observation*, action*, fixed extras and core_state.*, each [N, ...].  ragged: extras of variable length.
    """

    lane: np.ndarray
    sequence: np.ndarray
    episode: np.ndarray
    kind: np.ndarray
    reward: np.ndarray
    duration_s: np.ndarray
    start_age_s: np.ndarray
    log_prob: np.ndarray
    policy_version: np.ndarray
    priority: np.ndarray
    columns: Columns = field(default_factory=dict)
    ragged: dict[str, RaggedColumn] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.lane)

    @cached_property
    def lane_starts(self) -> np.ndarray:
        """Index of the first row of each lane, int64, where rows are of one life and not none."""
        return run_starts(self.lane)

    @cached_property
    def steps(self) -> int:
        """Rows that are steps; the others close an episode or truncation."""
        return int(np.count_nonzero(self.kind & STEP))

    @property
    def episodes(self) -> int:
        """Rows that close an episode or truncation."""
        return len(self) - self.steps

    def without_lists(self, at: np.ndarray) -> "Rows":
        """The rows at int64[M], without their columns of variable length."""
        told = {name: getattr(self, name)[at] for name in ("lane", "sequence", "episode", "kind", "reward", "duration_s")}
        told |= {name: getattr(self, name)[at] for name in ("start_age_s", "log_prob", "policy_version", "priority")}
        return Rows(**told, columns={name: values[at] for name, values in self.columns.items()})


def run_starts(values: np.ndarray) -> np.ndarray:
    """Index of the first of each run of equal values [N], int64; N > 0."""
    begins = np.ones(len(values), np.bool_)
    np.not_equal(values[1:], values[:-1], out=begins[1:])
    return np.flatnonzero(begins)
