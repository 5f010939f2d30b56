"""The rows of `sojourn bench learner`: updates of SAC a second, on one thread, and what they are of the processor's products of matrices.

Both networks have two hidden layers of 256, observations and actions HalfCheetah's shapes, a batch 256 items that lie in memory. Measures in
this process, which it sets up as a learner sets up its own.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

from sojourn.algorithms import Algorithm, TrainBatch, build_algorithm
from sojourn.algorithms.processor import set_up
from sojourn.bench.row import Size
from sojourn.bench.speed.figure import Row
from sojourn.bench.speed.run import Scene, Work
from sojourn.bench.speed.steps import W1
from sojourn.config import Config

ITEMS, HIDDEN, OBSERVATION, ACTION = 256, 256, 17, 6
BATCHES = 8
WARM_UPS = 20
SECONDS = 3.0  # of a turn
PRODUCT_SECONDS = 0.5
PRECISIONS = ("float32", "bfloat16")


def random_batch(generator: torch.Generator) -> TrainBatch:
    """Transitions of W1, as the learner's loss sees them."""
    columns = {
        "observation": torch.randn(ITEMS, OBSERVATION, generator=generator),
        "next_observation": torch.randn(ITEMS, OBSERVATION, generator=generator),
        "action": torch.rand(ITEMS, ACTION, generator=generator) * 2.0 - 1.0,
        "reward": torch.randn(ITEMS, 1, generator=generator),
        "duration_s": torch.rand(ITEMS, 1, generator=generator),
        "mask": torch.ones(ITEMS, 1, dtype=torch.bool),
        "terminated": torch.zeros(ITEMS, dtype=torch.bool),
    }
    return TrainBatch(columns, torch.rand(ITEMS, generator=generator) + 0.5)


def operations() -> int:
    """Multiplications and additions of an update's products of matrices.

    Forward: the policy on both observations, targets, critics on both actions. Backward: both gradients of each network that learns, but
    for its inputs', and the critics' inputs' gradient, which the policy learns by.
    """
    actor_first, critic_first = OBSERVATION * HIDDEN, 2 * (OBSERVATION + ACTION) * HIDDEN
    actor = actor_first + HIDDEN * HIDDEN + HIDDEN * 2 * ACTION
    critics = critic_first + 2 * (HIDDEN * HIDDEN + HIDDEN)
    forward, backward = 2 * actor + 3 * critics, 2 * actor - actor_first + 2 * critics - critic_first + critics
    return 2 * ITEMS * (forward + backward)


class Stage:
    """An algorithm of each precision, and matrices."""

    def __init__(self, size: Size) -> None:
        generator = torch.Generator().manual_seed(0)
        self._quicker = size.of(1, 30)
        self._batches = [random_batch(generator) for _ in range(BATCHES)]
        self._algorithms = {precision: _algorithm(precision) for precision in PRECISIONS}
        self._matrices = [torch.randn(HIDDEN, HIDDEN, generator=generator) for _ in range(2)]
        for algorithm in self._algorithms.values():
            for number in range(WARM_UPS):
                self._update(algorithm, number)

    def turn(self, precision: str) -> tuple[float, float]:
        """Updates a second, and which share of what 256 x 256 products reach beside them."""
        algorithm = self._algorithms[precision]
        updates = rate(lambda number: self._update(algorithm, number), SECONDS / self._quicker)
        a, b = (matrix.to(getattr(torch, precision)) for matrix in self._matrices)
        products = rate(lambda number: a @ b, PRODUCT_SECONDS / self._quicker)
        return updates, updates * operations() / (products * 2 * HIDDEN**3)

    def _update(self, algorithm: Algorithm, number: int) -> Tensor:
        return algorithm.update(self._batches[number % BATCHES]).priority


def rate(once: Callable[[int], object], seconds: float) -> float:
    """How often a second something can be done; it is told how often it was."""
    began_s, count = time.perf_counter(), 0
    while (elapsed_s := time.perf_counter() - began_s) < seconds or not count:
        once(count)
        count += 1
    return count / elapsed_s


def _algorithm(precision: str) -> Algorithm:
    config = Config.model_validate({"network": {"hidden": (HIDDEN, HIDDEN)}, "learners": {"precision": precision}})
    return build_algorithm(config, W1.schema, "cpu", 0)


@contextmanager
def _opened(size: Size) -> Iterator[Stage]:
    set_up(threads=1)
    yield Stage(size)


def _work(precision: str) -> Work[Stage]:
    rows = (
        Row(name=f"sac-{precision}", what=f"updates of SAC in {precision}, one thread", unit="updates/s", on=()),
        Row(name=f"sac-{precision}-peak", what="of what 256 x 256 products reach in the same turn", unit="x", on=()),
    )
    return Work(rows, lambda at: at.turn(precision))


SCENES = (Scene(_opened, tuple(_work(precision) for precision in PRECISIONS)),)
