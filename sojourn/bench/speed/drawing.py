"""A learner that takes batches as fast as they come, prefetched within a bound: items a second by the clock on the wall."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np

from replay.client import LearnerConnection
from sojourn.allocator import keep_freed_memory
from sojourn.bench.load.shards import RUN_ID
from sojourn.config import Config
from sojourn.experience import PriorityUpdate
from sojourn.roles import fixed_address

FREED_BYTES = 1 << 30  # as in sojourn/algorithms/processor.py
SAMPLE_S = 30.0
WARM_UP_S = 0.2  # until as many batches are on their way as may be


class Drawing:
    """Batches of one table, and what can be done with them."""

    def __init__(self, learner: LearnerConnection, table: str) -> None:
        self._learner, self._table = learner, table
        self._rng = np.random.default_rng(0)

    def sample(self, seconds: float) -> float:
        """Items a second."""
        self._take(WARM_UP_S, update=False)
        return self._take(seconds, update=False)

    def sample_and_update(self, seconds: float) -> float:
        """Items a second, each of which is given a new priority."""
        self._take(WARM_UP_S, update=True)
        return self._take(seconds, update=True)

    def _take(self, seconds: float, *, update: bool) -> float:
        items, began_s = 0, time.monotonic()
        while (elapsed_s := time.monotonic() - began_s) < seconds:
            batch = self._learner.sample(SAMPLE_S)
            items += len(batch)
            if update:
                priority = self._rng.random(len(batch), np.float32)
                self._learner.update_priorities(PriorityUpdate(self._table, batch.info.key, priority, batch.info.shard))
        return items / elapsed_s


@contextmanager
def drawing(target: str, config: Config, table: str) -> Iterator[Drawing]:
    """A learner's connection that draws from a table as `config.learners` says, in a process that is set up as a learner's is."""
    keep_freed_memory(FREED_BYTES)
    learner = LearnerConnection(
        [fixed_address(target)],
        run_id=RUN_ID,
        client_id=f"learner-{table}",
        table=table,
        table_settings=config.tables[table],
        learner=config.learners,
        total_env_steps=config.run.env_steps,
    )
    try:
        yield Drawing(learner, table)
    finally:
        learner.close()
