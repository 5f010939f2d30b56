"""What does a learner average over? Batches of a table, summed up with their loss weights."""

from collections.abc import Iterator

import numpy as np

from replay.client import LearnerConnection
from sojourn.bench.world import DEADLINE_S, World, eventually
from sojourn.experience import Batch

AHEAD = 16  # batches


class Averages:
    """Weighted means of the labels over all batches that were added."""

    def __init__(self) -> None:
        self._sum: np.ndarray | float = 0.0
        self.weight = 0.0

    def add(self, batch: Batch, weight: np.ndarray | None = None) -> None:
        """Count a batch. weight: float[B], instead of its loss weights."""
        weight = (batch.loss_weight if weight is None else weight).astype(np.float64)
        self._sum = self._sum + weight @ batch.columns["observation"]
        self.weight += float(weight.sum())

    def of(self, label: int) -> float:
        """Mean of a label."""
        return float(np.asarray(self._sum)[label] / self.weight)


def take(learner: LearnerConnection, batches: int) -> Iterator[Batch]:
    """The next batches, each consumed once the caller asks for the next one."""
    for _ in range(batches):
        batch = learner.sample(DEADLINE_S)
        yield batch
        learner.consumed(batch)


def take_now(world: World, table: str, batch_size: int, batches: int) -> Iterator[Batch]:
    """Batches that are drawn at this moment: by a learner that comes for them, and goes once those ahead are drawn too.

    All tables draw from one generator: how many draws it has made must not hang on when somebody went.
    """
    before, ahead = _sampled(world, table), min(AHEAD, batches)
    learner = world.learner(table, batch_size, ahead=ahead)
    yield from take(learner, batches)
    eventually(lambda: _sampled(world, table) == before + (batches + ahead) * batch_size, "the batches ahead")
    learner.close()


def _sampled(world: World, table: str) -> int:
    found = world.info().table(table)
    return found.facts.sampled_items if found else 0
