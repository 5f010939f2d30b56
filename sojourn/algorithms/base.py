"""What an algorithm is: a policy that acts and is published, and updates that are learned from batches.

    Policy      networks that choose actions; its state_dict is exactly what is published
    Algorithm   policy, further networks, optimisers; one `update` per batch

Torch and NumPy: no I/O, no clock. An algorithm draws from its own `generator`, a policy from the generator handed in.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from sojourn.algorithms.optimiser import Optimiser
from sojourn.algorithms.tensors import differences, from_bytes, to_bytes
from sojourn.errors import ConfigError, ContractError
from sojourn.experience import Columns
from sojourn.networks import FEW, ObservationEncoder, forward_pass
from sojourn.networks.normaliser import RewardScale

if TYPE_CHECKING:
    from sojourn.columns import Schema
    from sojourn.config import Config
    from sojourn.config.schema import TableSettings


@dataclass(frozen=True)
class Acted:
    """Actions for B observations: action leaves [B, ...], log_prob float32[B] of the behaviour policy."""

    action: Columns
    log_prob: np.ndarray


@dataclass(frozen=True)
class TrainBatch:
    """A batch as the loss sees it: the columns of `Batch` as tensors on the device, floats as float32.

    columns: by the names of `sojourn.experience.Batch`.  loss_weight: float32[B], multiplies every sample's losses.
    value_weight: float32[B], multiplies losses of value functions in its place where the duration weight applies to the policy
    alone; None elsewhere.
    memory: uint8[bytes], of which all these tensors are views; None where each has memory of its own.
    """

    columns: Mapping[str, Tensor]
    loss_weight: Tensor
    value_weight: Tensor | None = None
    memory: Tensor | None = None

    def __getitem__(self, name: str) -> Tensor:
        return self.columns[name]

    def __len__(self) -> int:
        return len(self.loss_weight)

    @property
    def weight_of_values(self) -> Tensor:
        """float32[B]: what the losses of value functions are multiplied by."""
        return self.loss_weight if self.value_weight is None else self.value_weight

    @property
    def in_one_piece(self) -> Tensor:
        """All of it as uint8[bytes]. Raises ValueError where each tensor has memory of its own."""
        if self.memory is None:
            raise ValueError("this batch lies in several pieces of memory; learners.batches.on_device makes one of one piece")
        return self.memory

    def in_place_of(self, memory: Tensor) -> TrainBatch:
        """The same tensors in another piece of memory, uint8[bytes], that has the same contents."""

        def moved(tensor: Tensor) -> Tensor:
            start = tensor.data_ptr() - self.in_one_piece.data_ptr()
            return memory[start : start + tensor.nbytes].view(tensor.dtype).view(tensor.shape)

        columns = {name: moved(tensor) for name, tensor in self.columns.items()}
        value_weight = None if self.value_weight is None else moved(self.value_weight)
        return TrainBatch(columns, moved(self.loss_weight), value_weight, memory)


def weighs_policy_only(table: TableSettings) -> bool:
    """Whether the table's duration weight multiplies policy losses alone: by configuration, else the published rule's way.

    Never where draws follow the weight: every loss learns from what was drawn.
    """
    duration = table.duration
    return (
        duration.apply == "weight" and (duration.applies_to or ("policy" if duration.weight == "linear" else "all")) == "policy"
    )


@dataclass(frozen=True)
class StepFacts:
    """What a learner of segments saw of each step, with the policy as it was before the update. B segments, L steps, on the device.

    ratio: policy over behaviour probability, float32[B, L].  error: absolute TD error, float32[B, L].
    score: gradient of the action's log-probability by what the policy's last layer puts out, float32[B, L, E]; its mean is 0
    exactly where actions come as the policy chose them (docs/duration.md).
    choices: whether E are choices of one discrete action, so that the mean score is a difference of shares.
    """

    ratio: Tensor
    error: Tensor
    score: Tensor
    choices: bool


@dataclass(frozen=True)
class Update:
    """What came of one update.

    priority: absolute TD error float32[B], on the device; not finite where the update was not applied.
    metrics: scalars by name, on the device: reading one would wait for it. `skipped` is 1 where gradients were not finite.
    steps: for diagnosis, of algorithms with a policy gradient on stored actions.
    """

    priority: Tensor
    metrics: Mapping[str, Tensor | float]
    steps: StepFacts | None = None


class Policy(nn.Module, ABC):
    """Chooses actions. Whatever it needs to act is in its state_dict: parameters and normalisers.

    It acts on one observation (stacked frames included): no recurrent state is carried from step to step.
    """

    encoder: ObservationEncoder
    reward_scale: RewardScale | None

    def __init__(self, config: Config, schema: Schema) -> None:
        super().__init__()
        self.encoder = ObservationEncoder(schema, config.network, normalise=config.environment.normalise_observation)
        self.reward_scale = RewardScale() if config.environment.normalise_reward else None

    def act(
        self, observation: Columns, *, deterministic: bool, learner_step: int, env_steps: int, rng: np.random.Generator
    ) -> Acted:
        """Choose actions for B observations.

        observation: leaves [B, ...] of the policy's observation space (stacked frames: axis 1).
        learner_step: of the parameters in use; at 0 nothing was learned and actions are `random`, unless deterministic.
        env_steps: of the run, for exploration that fades.  rng: the caller's.
        """
        if learner_step == 0 and not deterministic:
            acted = self.random(len(next(iter(observation.values()))), rng)
            if acted is not None:
                return acted
        return self.choose(self._outputs(observation), deterministic=deterministic, env_steps=env_steps, rng=rng)

    def _outputs(self, observation: Columns) -> np.ndarray:
        """What encoder and `trunk` make of B observations, float32[B, O]: without torch where its calls would cost the most."""
        if self._without_torch is not None and len(next(iter(observation.values()))) <= FEW:
            return self._without_torch(observation)
        with torch.inference_mode():
            outputs: Tensor = self.encoder({name: torch.from_numpy(np.asarray(leaf)) for name, leaf in observation.items()})
            for module in self.trunk():
                outputs = module(outputs)
            return (outputs[0] if self.trunk() else outputs).numpy()

    @cached_property
    def _without_torch(self) -> Callable[[Columns], np.ndarray] | None:
        return forward_pass(self.encoder, self.trunk())

    def trunk(self) -> tuple[nn.Module, ...]:
        """Modules behind the encoder through which an observation goes before `choose`, each float32[B, I] to [1, B, O]."""
        return ()

    def random(self, size: int, rng: np.random.Generator) -> Acted | None:
        """Uniform actions of the space, [size, ...], for the warm-up; None for a policy that acts itself from the first step on."""
        return None

    @abstractmethod
    def choose(self, outputs: np.ndarray, *, deterministic: bool, env_steps: int, rng: np.random.Generator) -> Acted:
        """Actions for what encoder and trunk made of B observations, float32[B, O]."""

    def observe(self, batch: TrainBatch) -> Tensor:
        """Take a batch into the normalisers. Returns its rewards as they are learned from, float32[B, n]."""
        self.encoder.observe(batch.columns, batch.weight_of_values)
        if self.reward_scale is None:
            return batch["reward"]
        self.reward_scale.observe(batch["reward"][:, 0], batch.weight_of_values)
        scaled: Tensor = self.reward_scale(batch["reward"])
        return scaled

    def dump(self) -> bytes:
        """The state_dict as safetensors bytes."""
        return to_bytes(self.state_dict())

    def load(self, tensors: bytes) -> None:
        """Inverse of `dump`. Raises ContractError, naming the tensors, if they are of another policy; then nothing changed."""
        loaded = from_bytes(tensors)
        if different := differences(loaded, self.state_dict()):
            raise ContractError(f"the tensors are of another policy: {'; '.join(different[:3])}")
        self.load_state_dict(loaded)


class Algorithm(ABC):
    """Learns from batches. `sojourn/algorithms/sac.py` is one, whole.

    learner_step: updates so far, skipped ones included.  generator: the source of all its random numbers.
    parts: everything besides the policy and the generator that learning goes on from, by name; a checkpoint holds them.
    items: the kinds of table items that it can learn from.
    capturable: whether every update has the device do the same, whatever the learner step and the values of the batch.
    """

    items: ClassVar[tuple[str, ...]] = ("transition",)
    capturable: ClassVar[bool] = False

    def __init__(self, config: Config, schema: Schema, device: str, seed: int) -> None:
        """At learner step 0. Raises ConfigError where the algorithm does not fit the spaces or the table."""
        table = config.tables[config.learners.table]
        if table.item not in self.items:
            wanted = " or ".join(self.items)
            raise ConfigError(
                f"{config.algorithm.name} learns from {wanted} items: write tables.{config.learners.table}.item: {self.items[0]}, "
                f"not {table.item}"
            )
        self.policy = self.make_policy(config, schema).to(device)
        self.learner_step = 0
        self.generator = torch.Generator(device).manual_seed(seed)
        self.parts: dict[str, nn.Module | Optimiser] = {}

    @classmethod
    @abstractmethod
    def make_policy(cls, config: Config, schema: Schema) -> Policy:
        """A policy for the schema's spaces. Raises ConfigError where the algorithm cannot act there."""

    @abstractmethod
    def update(self, batch: TrainBatch) -> Update:
        """One gradient step on everything; `learner_step` rises by one. Never waits for the device."""

    @abstractmethod
    def adopt_policy(self) -> None:
        """The policy's tensors were replaced by others: targets become copies of it."""

    def state(self) -> dict[str, Tensor]:
        """The tensors of all parts, by "part.name", and `learner_step`."""
        found = {f"{part}.{name}": tensor for part, holder in self.parts.items() for name, tensor in holder.state_dict().items()}
        return {"learner_step": torch.tensor(self.learner_step), **found}

    def load_state(self, state: Mapping[str, Tensor]) -> None:
        """Inverse of `state`. Raises ContractError if tensors are missing, foreign or of another shape."""
        for part, holder in self.parts.items():
            prefix = f"{part}."
            mine = {name.removeprefix(prefix): tensor for name, tensor in state.items() if name.startswith(prefix)}
            if isinstance(holder, nn.Module) and (different := differences(mine, holder.state_dict())):
                raise ContractError(f"{part} does not fit: {'; '.join(different[:3])}")
            holder.load_state_dict(mine)
        self.learner_step = int(state["learner_step"])
