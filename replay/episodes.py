"""Which rows of an opened table are whole episodes? Gathers each lane's rows until its episode ends. Pure: no I/O, no clock."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import numpy as np
import pyarrow as pa

Lane = tuple[int, str, int, int]
"""(shard, actor, incarnation, lane)."""


@dataclass(frozen=True)
class Run:
    """Rows of one lane and episode that follow each other, inside a record batch. first: sequence number.  closed: the last closes."""

    lane: Lane
    first: int
    episode: int
    closed: bool
    rows: Any


@dataclass
class Growing:
    """An episode under way. whole: its first step is there."""

    next_sequence: int = 0
    whole: bool = True
    parts: list[Any] = field(default_factory=list)

    @property
    def steps(self) -> int:
        return sum(len(part) for part in self.parts)


def runs_of(batch: Any) -> Iterator[Run]:
    """A batch of an opened or exported table run by run."""
    if len(batch) == 0:
        return
    names = ("shard", "incarnation", "lane", "sequence", "episode")
    shard, incarnation, lane, sequence, episode = (batch.column(name).to_numpy() for name in names)
    actors = batch.column("actor").dictionary_encode()
    actor, is_step = actors.indices.to_numpy(), batch.column("is_step").to_numpy(zero_copy_only=False)
    new = ~is_step[:-1] | (np.diff(sequence) != 1)
    for column in (shard, incarnation, lane, episode, actor):
        new |= column[1:] != column[:-1]
    starts = np.concatenate([[0], np.flatnonzero(new) + 1, [len(lane)]]).tolist()
    for start, stop in pairwise(starts):
        whose = (int(shard[start]), actors.dictionary[actor[start]].as_py(), int(incarnation[start]), int(lane[start]))
        closed = not is_step[stop - 1]
        yield Run(whose, int(sequence[start]), int(episode[start]), closed, batch.slice(start, stop - start))


class Episodes:
    """Whole episodes of batches given in order. Memory holds the episodes under way, one a lane.

    cut_steps: of episodes whose beginning, or a row between, is not there.  Invariant: of each lane one episode grows at most.
    """

    def __init__(self) -> None:
        self.cut_steps = 0
        self._growing: dict[Lane, Growing] = {}

    def add(self, batch: Any) -> Iterator[Any]:
        """Yield each episode that the batch ends, as one record batch: its steps, then the row that closes it."""
        for run in runs_of(batch):
            growing = self._growing.setdefault(run.lane, Growing())
            if run.first != growing.next_sequence:
                self.cut_steps += growing.steps
                growing.parts, growing.whole = [], False
            growing.next_sequence = run.first + len(run.rows)
            if growing.whole:
                growing.parts.append(run.rows)
            else:
                self.cut_steps += len(run.rows) - run.closed
            if run.closed:
                if len(parts := growing.parts) and growing.steps > 1:
                    yield pa.Table.from_batches(parts).combine_chunks().to_batches()[0]
                growing.parts, growing.whole = [], True

    @property
    def unfinished_steps(self) -> int:
        """Steps of episodes that have not ended yet."""
        return sum(growing.steps for growing in self._growing.values())
