"""In which ways can a GPU be given an update of SAC? Each takes its turn beside Stable-Baselines3's.

Both networks have two hidden layers of 256, a batch 256 items. Blocks for minutes: some ways are compiled first.
"""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache, partial
from itertools import count

import torch

from benchmarks.gpu.batches import random_batch
from benchmarks.gpu.plain import ACTION, OBSERVATION, plain_config, plain_schema
from benchmarks.gpu.stable_baselines3_sac import StableBaselines3Sac
from learners.batches import LatePriorities, copying_stream, train_batch
from sojourn.algorithms import Algorithm, TrainBatch, Update, build_algorithm
from sojourn.algorithms.captured import updates_of
from sojourn.bench.row import Size
from sojourn.bench.speed.figure import Row
from sojourn.bench.speed.run import Scene, Work

ITEMS, BATCHES, WARM_UPS = 256, 8, 10
SECONDS = 1.0  # of a turn
PEER = "Stable-Baselines3's update"


@dataclass(frozen=True)
class Way:
    """name: of its row.  captured: as one CUDA graph.  mode: of `torch.compile`, "" without it."""

    name: str
    what: str
    captured: bool = False
    mode: str = ""
    precision: str = "float32"

    def algorithm(self, device: str) -> Algorithm:
        algorithm = build_algorithm(plain_config(precision=self.precision), plain_schema(), device, 0)
        if self.mode:
            algorithm.update = torch.compile(algorithm.update, mode=self.mode)
        return algorithm


CAPTURED = Way("graph", "one CUDA graph (learners.cuda_graphs)", captured=True)
WAYS = (
    Way("eager", "call by call"),
    CAPTURED,
    Way("graph-bfloat16", "one CUDA graph, bfloat16", captured=True, precision="bfloat16"),
    Way("compile-graph", "torch.compile, in one CUDA graph", captured=True, mode="default"),
    Way("reduce-overhead", "torch.compile(mode='reduce-overhead')", mode="reduce-overhead"),
    Way("max-autotune", "torch.compile(mode='max-autotune')", mode="max-autotune"),
    Way("max-autotune-graph", "the same, in one CUDA graph", captured=True, mode="max-autotune-no-cudagraphs"),
)


class Stage:
    """A device, batches, and whatever was made ready for a turn."""

    def __init__(self, device: torch.device, size: Size) -> None:
        self._device, self._seconds = device, SECONDS / size.of(1, 20)
        self._batches = [random_batch(seed, ITEMS) for seed in range(BATCHES)]
        self._there = [train_batch(batch, device) for batch in self._batches]
        self._peer = StableBaselines3Sac(OBSERVATION, ACTION, str(device))
        self.updates = cache(self._updates)

    def turn(self, way: Way) -> tuple[float, float]:
        """Updates a second, and how many times those of the peer; NaN for a way that this torch cannot go, which is told."""
        theirs = self.peer()
        try:
            ours = self._rate(partial(self.resident, self.updates(way)))
        except RuntimeError as error:
            print(f"{way.name} fails: {error!r}"[:2_000], file=sys.stderr)
            return float("nan"), float("nan")
        return ours, ours / theirs

    def peer(self) -> float:
        """Its updates a second, of batches that it draws itself."""
        return self._rate(lambda number: self._peer.train(1, ITEMS))

    def resident(self, update: Callable[[TrainBatch], Update], number: int) -> None:
        """An update from a batch that lies on the device."""
        torch.compiler.cudagraph_mark_step_begin()
        update(self._there[number % BATCHES])

    def feeding(self, way: Way) -> tuple[float, float]:
        """Updates a second from batches that come from NumPy, priorities going back, and the share of time that this costs."""
        late, copying, update = LatePriorities(self._device), copying_stream(self._device), self.updates(way)

        def fed(number: int) -> None:
            batch = self._batches[number % BATCHES]
            late.exchange(batch, update(train_batch(batch, self._device, stream=copying)).priority)

        resident, whole = self._rate(partial(self.resident, update)), self._rate(fed)
        return whole, max(0.0, 1.0 - whole / resident)

    def _updates(self, way: Way) -> Callable[[TrainBatch], Update]:
        """Warmed up. Raises RuntimeError, of which torch's own errors are kinds, for a way that is not open."""
        update = updates_of(way.algorithm(str(self._device)), self._device, capture=way.captured)
        for number in range(WARM_UPS):
            self.resident(update, number)
        return update

    def _rate(self, once: Callable[[int], None]) -> float:
        """How often a second, until the device has done it."""
        once(0)
        self._wait()
        began_s = time.perf_counter()
        for number in count(1):
            once(number)
            if number % BATCHES == 0 and time.perf_counter() - began_s > self._seconds:
                break
        self._wait()
        return number / (time.perf_counter() - began_s)

    def _wait(self) -> None:
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)


def scenes(device: torch.device) -> tuple[Scene[Stage], ...]:
    """Of all ways on a device."""

    @contextmanager
    def opened(size: Size) -> Iterator[Stage]:
        yield Stage(device, size)

    return (Scene(opened, (*map(_work, WAYS), _feeding(CAPTURED))),)


def _work(way: Way) -> Work[Stage]:
    rows = (
        Row(name=f"gpu-{way.name}", what=f"updates of SAC, {way.what}", unit="updates/s", on=()),
        Row(
            name=f"gpu-{way.name}-ratio",
            what=f"over {PEER} in the same turn",
            unit="x",
            on=(),
            target=10.0 if way == CAPTURED else None,
        ),
    )
    return Work(rows, lambda at: at.turn(way))


def _feeding(way: Way) -> Work[Stage]:
    rows = (
        Row(name="gpu-fed", what="updates of SAC from batches in NumPy, priorities back", unit="updates/s", on=()),
        Row(name="gpu-fed-waiting", what="share of the time that this takes", unit="x", on=(), target=0.02, higher=False),
    )
    return Work(rows, lambda at: at.feeding(way))
