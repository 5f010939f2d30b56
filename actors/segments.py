"""How transitions of a lane become segments: rows are collected in place and handed over by length, end or age.

NumPy only; no I/O, no clock. A segment of T steps holds T + 1 observations; the last one is stored only if it closes the
episode's chain, otherwise it is the first row of the lane's next segment.
"""

import numpy as np

from sojourn.columns import Column, Schema
from sojourn.experience import Columns, Segment, Transition

_STEP_DTYPES = {
    "reward": np.float32,
    "terminated": np.bool_,
    "truncated": np.bool_,
    "duration_s": np.float64,
    "started_at_s": np.float64,
    "end_kind": np.uint8,
    "log_prob": np.float32,
    "policy_version": np.int64,
}


def empty_column(column: Column, rows: int) -> np.ndarray:
    """Room for `rows` values: [rows, *shape], or objects [rows] that are 1-D arrays for a ragged column."""
    if column.ragged_max:
        return np.empty(rows, dtype=object)
    return np.zeros((rows, *column.shape), column.dtype)


class SegmentBuilder:
    """Rows of one lane that were not handed over yet, all of one episode.

    Invariant (`check`): 0 <= length <= capacity; `sequence` is the lane sequence number of the next row to hand over;
    `stored` rows of the running episode were handed over before.
    """

    def __init__(self, schema: Schema, lane: int, capacity: int) -> None:
        self.lane = lane
        self.capacity = capacity
        self.length = 0
        self.sequence = 0
        self.episode = -1
        self.stored = 0
        self._columns = schema.observation_columns(), schema.action_columns(), schema.extras
        self._allot()

    def _allot(self) -> None:
        rows = self.capacity
        observation, action, extras = self._columns
        self._observation = {column.name: empty_column(column, rows + 1) for column in observation}
        self._action = {column.name: empty_column(column, rows) for column in action}
        self._extras = {column.name: empty_column(column, rows) for column in extras}
        self._steps: Columns = {name: np.zeros(rows, dtype) for name, dtype in _STEP_DTYPES.items()}
        columns = self._steps
        self._reward, self._terminated, self._truncated = columns["reward"], columns["terminated"], columns["truncated"]
        self._duration_s, self._started_at_s = columns["duration_s"], columns["started_at_s"]
        self._end_kind, self._log_prob = columns["end_kind"], columns["log_prob"]
        self._policy_version = columns["policy_version"]

    @property
    def full(self) -> bool:
        return self.length == self.capacity

    def begin(self) -> None:
        """The next episode starts. The one before must have been closed or cut."""
        assert self.length == 0, f"lane {self.lane}: {self.length} rows of episode {self.episode} were not handed over"
        self.episode += 1
        self.stored = 0

    def add(self, step: Transition) -> None:
        """Append one row. The caller hands over before there are more than `capacity`."""
        row = self.length
        for name, value in step.observation.items():
            self._observation[name][row] = value
        for name, value in step.action.items():
            self._action[name][row] = value
        for name, value in step.extras.items():
            self._extras[name][row] = value
        self._reward[row] = step.reward
        self._terminated[row] = step.terminated
        self._truncated[row] = step.truncated
        self._duration_s[row] = step.duration_s
        self._started_at_s[row] = step.started_at_s
        self._end_kind[row] = step.end_kind
        self._log_prob[row] = step.log_prob
        self._policy_version[row] = step.policy_version
        self.length = row + 1

    def charge(self, name: str, value: float) -> None:
        """Add to a scalar extra of the last row."""
        self._extras[name][self.length - 1] += value

    def take(self, observation: Columns, *, closed: bool) -> Segment:
        """Hand over all rows. observation: the one after the last row; `closed` says that it ends the episode's chain."""
        steps = self.length
        for name, value in observation.items():
            self._observation[name][steps] = value
        whole = 2 * steps > self.capacity  # a short segment is copied: it must not hold the memory of a full one
        segment = Segment(
            lane=self.lane,
            first_sequence=self.sequence,
            episode=self.episode,
            observation=_first(self._observation, steps + 1, whole),
            action=_first(self._action, steps, whole),
            extras=_first(self._extras, steps, whole),
            closed=closed,
            **_first(self._steps, steps, whole),  # type: ignore[arg-type]
        )
        if whole:
            self._allot()
        self.sequence += steps + closed
        self.stored += steps
        self.length = 0
        return segment

    def cut(self, observation: Columns) -> Segment | None:
        """The episode goes no further through no fault of its own: close it as truncated at the last good observation.

        The last step not yet handed over is marked truncated. If every step was handed over before, the segment has no steps
        and only its observation, which ends the chain; if the episode has no steps at all there is nothing to send.
        """
        if self.length:
            self._truncated[self.length - 1] = True
        elif not self.stored:
            return None
        return self.take(observation, closed=True)

    def check(self) -> None:
        """Prove the invariant, or raise AssertionError."""
        assert 0 <= self.length <= self.capacity, (self.length, self.capacity)
        assert self.sequence >= self.stored >= 0, (self.sequence, self.stored)


def _first(columns: Columns, rows: int, whole: bool) -> Columns:
    return {name: column[:rows] if whole else column[:rows].copy() for name, column in columns.items()}
