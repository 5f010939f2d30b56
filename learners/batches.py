"""How a batch gets to the device, and how priorities get back. The only place where axes could be swapped: transitions need none.

Copies memory; on CUDA it never waits for the device, except for priorities that are a whole update old.
"""

from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from sojourn.algorithms import TrainBatch
from sojourn.experience import Batch, Columns, PriorityUpdate

SMALLEST_PRIORITY = 1e-6  # an item of priority 0 would never be drawn again (Schaul et al. 2016, section 3.3)
_ALIGNMENT = 64


def train_batch(
    batch: Batch, device: torch.device, *, policy_only: bool = False, stream: torch.cuda.Stream | None = None
) -> TrainBatch:
    """The columns of a batch and its weights on a device.

    policy_only: the factor "duration" is left out of the weight of value losses.  stream: see `on_device`.
    """
    return on_device(batch.columns, batch.loss_weight, value_weight(batch) if policy_only else None, device, stream)


def copying_stream(device: torch.device) -> torch.cuda.Stream | None:
    """A stream to copy batches on beside the updates; None where the device is no GPU."""
    return torch.cuda.Stream(device) if device.type == "cuda" else None  # type: ignore[no-untyped-call]


def on_device(
    columns: Columns,
    loss_weight: np.ndarray,
    value_weight: np.ndarray | None,
    device: torch.device,
    stream: torch.cuda.Stream | None = None,
) -> TrainBatch:
    """Columns [B, ...] and weights float32[B] on a device, float64 as float32.

    All travel in one piece of memory, pinned where the device is a GPU, so there is one copy to it a batch.
    stream: of the device, on which it is copied while the update before goes on; None: behind that.
    """
    arrays = {**columns, "loss_weight": loss_weight}
    if value_weight is not None:
        arrays["value_weight"] = value_weight
    places, size = _layout(arrays)
    host = torch.empty(size, dtype=torch.uint8, pin_memory=device.type == "cuda")
    for name, (place, dtype) in places.items():
        view = host[place].numpy().view(dtype).reshape(arrays[name].shape)
        np.copyto(view, arrays[name], casting="same_kind")
    there = _copied(host, device, stream)
    tensors = {name: there[place].view(_TORCH[dtype.name]).reshape(arrays[name].shape) for name, (place, dtype) in places.items()}
    return TrainBatch(tensors, tensors.pop("loss_weight"), tensors.pop("value_weight", None), there)


def _copied(host: Tensor, device: torch.device, stream: torch.cuda.Stream | None) -> Tensor:
    """The same bytes on a device, for whatever is asked of it from now on. Waits for nothing."""
    with torch.cuda.stream(stream):
        there = host.to(device, non_blocking=True)
    if stream is not None:
        usual = torch.cuda.current_stream(device)
        usual.wait_stream(stream)
        there.record_stream(usual)
    return there


def value_weight(batch: Batch) -> np.ndarray:
    """The product of all factors but "duration": float32[B]."""
    others = [factor for name, factor in batch.factors.items() if name != "duration"]
    return np.prod(others, axis=0, dtype=np.float32) if others else np.ones(len(batch), np.float32)


_TORCH = {
    name: getattr(torch, name)
    for name in ("bool", "uint8", "int8", "int16", "uint16", "int32", "uint32", "int64", "uint64", "float16", "float32")
}


def _layout(arrays: Columns) -> tuple[dict[str, tuple[slice, np.dtype]], int]:
    """Where each array's bytes lie, aligned, and in which dtype; and how many bytes there are."""
    places, end = {}, 0
    for name, array in arrays.items():
        dtype = np.dtype(np.float32) if array.dtype == np.float64 else array.dtype
        start = -(-end // _ALIGNMENT) * _ALIGNMENT
        end = start + array.size * dtype.itemsize
        places[name] = (slice(start, end), dtype)
    return places, end


class LatePriorities:
    """Holds each update's priorities until the next one, so that the device has computed them when they are read.

    Invariant: at most one batch waits.
    """

    def __init__(self, device: torch.device) -> None:
        self._asynchronous = device.type == "cuda"
        self._waiting: tuple[Batch, Tensor, torch.cuda.Event | None] | None = None

    def exchange(self, batch: Batch, priority: Tensor) -> PriorityUpdate | None:
        """Take the priorities of a batch, float32[B] on the device; give those of the batch before, if there was one."""
        ready = self.take()
        copied = None
        if self._asynchronous:
            priority = priority.to("cpu", non_blocking=True)
            copied = torch.cuda.Event()  # type: ignore[no-untyped-call]
            copied.record()
        self._waiting = (replace(batch, columns={}), priority, copied)
        return ready

    def take(self) -> PriorityUpdate | None:
        """What waits, if anything. Priorities that are not finite are left out: their items keep the ones they have."""
        if self._waiting is None:
            return None
        (batch, priority, copied), self._waiting = self._waiting, None
        if copied is not None:
            copied.synchronize()
        values = priority.numpy().astype(np.float32, copy=False)
        good = np.isfinite(values)
        if not good.any():
            return None
        info = batch.info
        if good.all():
            return PriorityUpdate(batch.table, info.key, np.maximum(values, SMALLEST_PRIORITY), info.shard)
        return PriorityUpdate(batch.table, info.key[good], np.maximum(values[good], SMALLEST_PRIORITY), info.shard[good])
