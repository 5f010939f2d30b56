"""How do several learners take every step together? One process group: gradients are averaged, decisions taken by all at once.

Rank 0 leads: it publishes, writes checkpoints, and holds the store where the others find each other. A rank that goes takes the group
with it: every other one raises UnavailableError at its next step, and all begin anew from the newest checkpoint.
Everything here blocks until all ranks have come to the same call.
"""

import hashlib
import logging
import os
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from datetime import timedelta
from typing import Protocol

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor

from learners.meeting import meet
from sojourn.algorithms import Algorithm
from sojourn.errors import ContractError, UnavailableError
from sojourn.ranks import Alone, Ranks, join
from sojourn.roles import RoleContext

SILENCE_S = 60.0  # a rank that has not come to the next step for so long has gone
BACKENDS = {"cpu": "gloo", "cuda": "cpu:gloo,cuda:nccl"}

LOG = logging.getLogger("sojourn.learners")


class Group(Ranks, Protocol):
    """What a learner's loop asks of the others besides."""

    @property
    def leads(self) -> bool:
        """Whether this is rank 0."""

    def agree(self, *wishes: bool) -> tuple[bool, ...]:
        """Each wish is true everywhere where any rank has it."""

    def gather(self, numbers: np.ndarray) -> list[np.ndarray]:
        """Numbers of all ranks, in their order, of one shape and dtype, on every rank."""

    def take_over(self, algorithm: Algorithm) -> None:
        """Rank 0's parameters, statistics, optimisers and learner step become everybody's."""

    def check(self, algorithm: Algorithm) -> None:
        """Raises ContractError if the ranks' parameters differ in a bit."""


class One(Alone):
    """The group of a learner that is alone."""

    leads = True

    def agree(self, *wishes: bool) -> tuple[bool, ...]:
        return wishes

    def gather(self, numbers: np.ndarray) -> list[np.ndarray]:
        return [numbers]

    def take_over(self, algorithm: Algorithm) -> None:
        return None

    def check(self, algorithm: Algorithm) -> None:
        return None


class Several:
    """A group of processes, by torch.distributed: gloo between processors, NCCL between GPUs."""

    def __init__(self, rank: int, world: int, device: torch.device) -> None:
        self.rank, self.world, self.leads = rank, world, rank == 0
        self._device = device

    def add(self, tensors: Sequence[Tensor]) -> None:
        flat = torch.cat([tensor.reshape(-1) for tensor in tensors])
        with _together():
            dist.all_reduce(flat)
        parts = torch.split_with_sizes(flat, [tensor.numel() for tensor in tensors])
        for tensor, part in zip(tensors, parts, strict=True):
            tensor.copy_(part.view_as(tensor))

    def average(self, tensors: Sequence[Tensor]) -> None:
        self.add(tensors)
        torch._foreach_div_(list(tensors), float(self.world))

    def agree(self, *wishes: bool) -> tuple[bool, ...]:
        flags = torch.tensor(wishes, dtype=torch.uint8)
        with _together():
            dist.all_reduce(flags, dist.ReduceOp.MAX)
        return tuple(map(bool, flags.tolist()))

    def gather(self, numbers: np.ndarray) -> list[np.ndarray]:
        mine = torch.from_numpy(np.frombuffer(numbers.tobytes(), np.uint8).copy())
        found = [torch.empty_like(mine) for _ in range(self.world)]
        with _together():
            dist.all_gather(found, mine)
        return [one.numpy().view(numbers.dtype).reshape(numbers.shape) for one in found]

    def take_over(self, algorithm: Algorithm) -> None:
        state = {**algorithm.state(), **{f"policy.{name}": tensor for name, tensor in algorithm.policy.state_dict().items()}}
        state["learner_step"] = state["learner_step"].clone()
        for _, tensor in sorted(state.items()):
            with _together(), torch.no_grad():
                dist.broadcast(tensor, 0)
        algorithm.learner_step = int(state["learner_step"])

    def check(self, algorithm: Algorithm) -> None:
        digest = hashlib.sha256()
        for _, tensor in sorted(algorithm.policy.state_dict().items()):
            digest.update(tensor.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().tobytes())
        found = self.gather(np.frombuffer(digest.digest(), np.uint8))
        if different := [rank for rank, one in enumerate(found) if not np.array_equal(one, found[0])]:
            raise ContractError(
                f"at learner step {algorithm.learner_step:,} the policy of ranks {different} is not that of rank 0: an algorithm of your own "
                "must keep what it learns in sojourn.algorithms.Optimiser, or average it over self.ranks"
            )


@contextmanager
def _together() -> Iterator[None]:
    try:
        yield
    except RuntimeError as error:  # what torch.distributed raises where another rank has gone, or says nothing
        raise UnavailableError(f"another rank of the learner has gone: {error}") from error


def open_group(context: RoleContext, device: torch.device, metrics_address: str, stack: ExitStack) -> Group | None:
    """The group of all ranks, once all are there; None if told to stop before. Announces this rank.

    stack: leaves the group when it closes.  Raises UnavailableError if a rank goes meanwhile.
    """
    world = context.config.learners.replicas
    if world == 1:
        context.announce(metrics=metrics_address)
        return One()
    host = context.listen.rpartition(":")[0]
    if host.startswith("127."):
        os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")  # else gloo asks for the address of the machine's name
    store = meet(context, world, metrics_address)
    if store is None:
        return None
    silence = timedelta(seconds=SILENCE_S)
    with _together():
        dist.init_process_group(BACKENDS[device.type], store=store, rank=context.index, world_size=world, timeout=silence)
    stack.callback(dist.destroy_process_group)
    LOG.info("rank %d of %d is there", context.index, world)
    return Several(context.index, world, device)


def learn_together(algorithm: Algorithm, group: Group) -> None:
    """Begin at rank 0's state, and make every update over all ranks from now on."""
    join([algorithm.policy, *algorithm.parts.values()], group)
    group.take_over(algorithm)
