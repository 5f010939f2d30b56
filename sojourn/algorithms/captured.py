"""Updates as one CUDA graph: the device is given the some 300 kernels of an update by one call, which otherwise takes longer than they do.

Never waits for the device, but for the capture itself.
"""

from collections.abc import Callable

import torch

from sojourn.algorithms.base import Algorithm, TrainBatch, Update
from sojourn.errors import ConfigError

WARM_UPS = 3  # updates made as ever before the capture: libraries choose their kernels in them


class CapturedUpdates:
    """An algorithm's updates: the first ones as ever, all others by replaying what one of them gave the device to do.

    Invariant: every batch has the columns, shapes and dtypes of the one that was captured, and the algorithm's tensors stay where they are.
    """

    def __init__(self, algorithm: Algorithm) -> None:
        """Raises ConfigError for an algorithm whose updates differ from one to the next."""
        if not algorithm.capturable:
            raise ConfigError(f"{type(algorithm).__name__} cannot be captured: write learners.cuda_graphs: false")
        self._algorithm = algorithm
        self._beside = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        self._warmed_up = 0
        self._captured: _Captured | None = None

    def update(self, batch: TrainBatch) -> Update:
        """As `Algorithm.update`. What it returns stays as it is when the next one is made."""
        if self._warmed_up < WARM_UPS:
            self._warmed_up += 1
            return self._warm_up(batch)
        if self._captured is None:
            self._captured = _Captured(self._algorithm, batch)
        self._algorithm.learner_step += 1
        return self._captured.replay(batch)

    def _warm_up(self, batch: TrainBatch) -> Update:
        """On a stream of its own, as captures ask for."""
        usual = torch.cuda.current_stream()
        self._beside.wait_stream(usual)
        with torch.cuda.stream(self._beside):
            update = self._algorithm.update(batch)
        usual.wait_stream(self._beside)
        return update


class _Captured:
    """One graph, the batch that it reads and the update that it writes."""

    def __init__(self, algorithm: Algorithm, batch: TrainBatch) -> None:
        self._memory = batch.in_one_piece.clone()
        self._graph = torch.cuda.CUDAGraph()
        self._graph.register_generator_state(algorithm.generator)
        learner_step = algorithm.learner_step
        with torch.cuda.graph(self._graph, capture_error_mode="thread_local"):  # other threads may go on using the device
            update = algorithm.update(batch.in_place_of(self._memory))
            self._priority = update.priority
            self._scalars = torch.stack([torch.as_tensor(value, dtype=torch.float32) for value in update.metrics.values()])
        self._names = list(update.metrics)
        algorithm.learner_step = learner_step  # nothing was computed yet

    def replay(self, batch: TrainBatch) -> Update:
        self._memory.copy_(batch.in_one_piece)
        self._graph.replay()
        return Update(self._priority.clone(), dict(zip(self._names, self._scalars.clone().unbind(), strict=True)))


def updates_of(algorithm: Algorithm, device: torch.device, *, capture: bool) -> Callable[[TrainBatch], Update]:
    """How a learner makes updates: captured if that is wanted and the device is a GPU. Raises ConfigError as `CapturedUpdates` does."""
    return CapturedUpdates(algorithm).update if capture and device.type == "cuda" else algorithm.update
