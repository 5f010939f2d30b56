"""Is what was published what the batches make of it? Trains the learner of a run again, on the CPU, and compares every bit.

Reads a run's lineage, archive and checkpoints (docs/lineage.md); needs no service and changes nothing in the run's folder.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from learners import random_state
from learners.batches import on_device
from learners.checkpoints import Checkpoint, Checkpoints
from learners.lineage import facts_of, tensor_digests
from learners.resuming import resume, start_from
from replay.client import ArchivedItems, LearnerLife, Manifest, PublishedVersion, TrainedBatch
from sojourn.algorithms import Algorithm, build_algorithm
from sojourn.algorithms.processor import set_up
from sojourn.algorithms.tensors import from_bytes
from sojourn.checkpoint_folders import DamagedError, step_folders
from sojourn.columns import Schema
from sojourn.config import Config
from sojourn.errors import CheckpointError, ConfigError
from sojourn.seeds import lane_seed
from sojourn.storage import Storage

CPU = torch.device("cpu")
ALIKE = ("torch", "cpu_capability", "products")
"""Facts of a life (learners/lineage.py) without which equal bits cannot be expected."""


@dataclass(frozen=True)
class Comparison:
    """One point that was compared. what: "policy version 12" or "checkpoint".  difference: "" if every bit is equal."""

    learner_step: int
    what: str
    difference: str = ""


class Rerun:
    """The updates from one version of a run to another, made again.

    start: learner step that it begins at.  begins_with: where that state is from.  unlike: what is not as it was, in words.
    """

    def __init__(self, run_folder: Path, config: Config, first: int, last: int | None = None) -> None:
        """first, last: policy versions; last None: the newest that the newest learner published.

        Raises ConfigError where the run cannot be repeated, or a version is unknown, CheckpointError for damaged files.
        """
        self._manifest = Manifest(run_folder)
        self._run_folder, self._config = run_folder, config
        on_path = self._manifest.on(self._manifest.newest_path())
        self._until = self._manifest.version(last) if last is not None else on_path[-1]
        self._path = self._manifest.path(self._until.life, self._until.learner_step)
        self._versions = self._manifest.on(self._path)
        wanted = self._manifest.version(first)
        if wanted not in self._versions:
            raise ConfigError(
                f"policy version {first} does not lead to {self._until.policy_version}: give versions of one course"
            )
        self._checkpoints = _checkpoints_by_step(run_folder)
        self._items: ArchivedItems | None = None
        self._begin = self._checkpoint_before(wanted.learner_step)
        self.start = self._begin.learner_step if self._begin else 0
        self._lives = [self._manifest.life(stretch.life) for stretch in self._path if stretch.until > self.start]
        self._check_lives()
        self.begins_with = self._told_beginning()
        set_up(_threads(self._first_life))  # before it is looked who multiplies
        self.unlike = self._unlike()

    def comparisons(self) -> Iterator[Comparison]:
        """Train, and yield every point of comparison as it is reached; the first difference is the last one.

        Raises CheckpointError naming what is missing or damaged.
        """
        for algorithm in self._states():
            for comparison in self._compared(algorithm):
                yield comparison
                if comparison.difference:
                    return

    def _states(self) -> Iterator[Algorithm]:
        """The learner as it begins, and after every update."""
        life = self._first_life
        algorithm = self._first_algorithm(self._config_of(life))
        yield algorithm
        for stretch in self._path:
            if stretch.until > self.start and stretch.life != life.number:
                life = self._manifest.life(stretch.life)
                torch.set_num_threads(_threads(life))
                algorithm = self._gone_on(algorithm, self._config_of(life))
            for batch in self._manifest.batches([stretch]):
                if batch.learner_step > self.start:
                    self._train(algorithm, batch)
                    yield algorithm
        if algorithm.learner_step != self._until.learner_step:
            raise CheckpointError(_hole(algorithm.learner_step + 1, self._until.learner_step))

    def _train(self, algorithm: Algorithm, batch: TrainedBatch) -> None:
        if batch.learner_step != algorithm.learner_step + 1:
            raise CheckpointError(_hole(algorithm.learner_step + 1, batch.learner_step - 1))
        columns = self._archived().columns(batch.key, batch.shard)
        value_weight = batch.value_weight if len(batch.value_weight) else None
        algorithm.update(on_device(columns, batch.loss_weight, value_weight, CPU))

    def _compared(self, algorithm: Algorithm) -> Iterator[Comparison]:
        step = algorithm.learner_step
        for version in self._versions:
            if version.learner_step == step:
                yield Comparison(step, f"policy version {version.policy_version}", _differing(algorithm, version))
        if step in self._checkpoints and (kept := self._load(step)) is not None:
            yield Comparison(step, "checkpoint", _first_difference(algorithm, kept))

    @property
    def end(self) -> int:
        """Learner step of the last version that is compared."""
        return self._until.learner_step

    # where it begins

    def _checkpoint_before(self, learner_step: int) -> Checkpoint | None:
        """The newest whole one at or before a step; None if it must begin at the first step."""
        for step in sorted((step for step in self._checkpoints if step <= learner_step), reverse=True):
            if (found := self._load(step)) is not None:
                return found
        return None

    def _load(self, learner_step: int) -> Checkpoint | None:
        try:
            return Checkpoints(self._run_folder / "checkpoints", keep=1).load(self._checkpoints[learner_step])
        except DamagedError:
            return None

    def _first_algorithm(self, config: Config) -> Algorithm:
        schema = self._begin.schema if self._begin else self._archived().schema
        algorithm = _built(config, schema)
        if self._begin is not None:
            resume(algorithm, self._begin, run_id=self._begin.run_id, name=config.algorithm.name, schema=schema)
        elif config.run.init_from:
            start_from(algorithm, config.run.init_from, config)
            self._check_beginning(algorithm, config.run.init_from)
        return algorithm

    def _told_beginning(self) -> str:
        if self._begin:
            return f"the checkpoint at learner step {self.start}"
        other = self._config_of(self._first_life).run.init_from
        return f"the policy of {other}" if other else "the initial parameters, by their seed"

    def _check_beginning(self, algorithm: Algorithm, location: str) -> None:
        """The other run may have gone on: then nothing that follows could be equal."""
        for version in self._versions:
            if version.learner_step == 0 and (name := _differing(algorithm, version)):
                raise ConfigError(
                    f"run.init_from: {location} no longer holds the policy that this run began with: it differs first in {name}"
                )

    def _gone_on(self, before: Algorithm, config: Config) -> Algorithm:
        """The learner of the next life, in the state that it read from a checkpoint."""
        algorithm = _built(config, self._archived().schema)
        algorithm.policy.load(before.policy.dump())
        algorithm.load_state(before.state())
        random_state.restore(random_state.capture(before.generator), algorithm.generator)
        return algorithm

    def _archived(self) -> ArchivedItems:
        if self._items is None:
            table = max((self._table(life) for life in self._lives), key=lambda settings: settings.capacity_steps)
            self._items = ArchivedItems(self._run_folder, table)
        return self._items

    # what must be alike

    @property
    def _first_life(self) -> LearnerLife:
        return self._lives[0] if self._lives else self._manifest.life(self._until.life)

    def _config_of(self, life: LearnerLife) -> Config:
        """The run's configuration, with what the life was really run with laid over it."""
        return Config.model_validate(_laid_over(self._config.model_dump(), life.facts["config"]))

    def _table(self, life: LearnerLife) -> Any:
        config = self._config_of(life)
        return config.tables[config.learners.table]

    def _check_lives(self) -> None:
        for life in self._lives:
            if not life.full:
                raise ConfigError(
                    f"life {life.number} of the learner, from learner step {life.learner_step} on, was run with lineage: manifest, "
                    "which keeps no weights and no rows: only lineage: full can be repeated"
                )
            if life.facts["device"] != "cpu":
                raise ConfigError(
                    f"life {life.number} of the learner ran on {life.facts['device']}: equal bits are promised for the CPU only"
                )

    def _unlike(self) -> list[str]:
        here = facts_of(self._config, CPU)
        return sorted(
            {
                f"{name} was {life.facts.get(name)} and is {here[name]} here"
                for life in self._lives
                for name in ALIKE
                if life.facts.get(name) != here[name]
            }
        )


def _checkpoints_by_step(run_folder: Path) -> dict[int, str]:
    return {int(name.removeprefix("step_")): name for name in step_folders(Storage(run_folder / "checkpoints"))}


def _threads(life: LearnerLife) -> int:
    return int(life.facts["threads"])


def _built(config: Config, schema: Schema) -> Algorithm:
    return build_algorithm(config, schema, "cpu", lane_seed(config.run.seed, "learner", 0, 0, 0))


def _differing(algorithm: Algorithm, version: PublishedVersion) -> str:
    """The first tensor, by name, whose digest is another one than was published."""
    found = tensor_digests(algorithm.policy.dump())
    names = [name for name in sorted(found.keys() | version.tensors.keys()) if found.get(name) != version.tensors.get(name)]
    return names[0] if names else ""


def _first_difference(algorithm: Algorithm, kept: Checkpoint) -> str:
    """The first tensor of policy or state, by name, that is not equal bit by bit, or the random generator."""
    expected: Mapping[str, Tensor] = {**from_bytes(kept.policy), **kept.state}
    found = {**from_bytes(algorithm.policy.dump()), **algorithm.state()}
    for name in sorted(found.keys() | expected.keys()):
        if name not in found or name not in expected or not _same_bits(found[name], expected[name]):
            return name
    same = random_state.capture(algorithm.generator)["algorithm"] == kept.random["algorithm"]
    return "" if same else "the state of the random generator"


def _same_bits(one: Tensor, other: Tensor) -> bool:
    """NaN equals the same NaN."""
    a, b = (tensor.detach().cpu().contiguous() for tensor in (one, other))
    return a.shape == b.shape and a.dtype == b.dtype and a.numpy().tobytes() == b.numpy().tobytes()


def _laid_over(values: dict[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """Mappings are merged key by key; everything else is replaced."""
    merged = dict(values)
    for name, value in over.items():
        old = merged.get(name)
        merged[name] = _laid_over(old, value) if isinstance(old, dict) and isinstance(value, dict) else value
    return merged


def _hole(first: int, last: int) -> str:
    return f"the lineage lacks the batches of learner steps {first} to {last}: its disk refused them, or a file was removed"
