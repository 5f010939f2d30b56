"""What does a run's manifest say: which batches lead to a version, which versions were trained on an item? Reads files; live or ended runs.

A *path* is a way back from a learner step to the run's first: stretches of lives, each going on where a checkpoint of the one before was.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from replay.manifest import LearnerLife, PublishedVersion, TrainedBatch, lineage_folder, read_batches, read_lives, read_versions
from sojourn.errors import CheckpointError, ConfigError

FOR_EVER = 1 << 62


@dataclass(frozen=True)
class Stretch:
    """Learner steps above `after` up to `until`, of one life."""

    life: int
    after: int
    until: int


@dataclass(frozen=True)
class ItemUse:
    """An update that an item took part in. version: the first published one that holds it, None: none yet, or lost with its life.

    put_aside: the life was killed afterwards, and the update is not part of what was learned on.
    """

    learner_step: int
    life: int
    version: int | None
    put_aside: bool


class Manifest:
    """The manifest of one run as it is now. Raises CheckpointError where a file of it is not what was written."""

    def __init__(self, run_folder: Path) -> None:
        """Raises ConfigError if the run has none."""
        self._folder = lineage_folder(run_folder)
        self.lives = read_lives(self._folder)
        if not self.lives:
            raise ConfigError(f"{run_folder} has no lineage: it has learned nothing yet, or was run with lineage: off")
        self.versions = [version for life in self.lives for version in read_versions(self._folder, life.number)]

    def life(self, number: int) -> LearnerLife:
        return next(life for life in self.lives if life.number == number)

    def version(self, policy_version: int) -> PublishedVersion:
        """Raises ConfigError naming the known ones for another one."""
        for version in self.versions:
            if version.policy_version == policy_version:
                return version
        known = [version.policy_version for version in self.versions]
        there = f"known are {min(known)} to {max(known)}" if known else "none was published yet"
        raise ConfigError(f"the lineage knows no policy version {policy_version}: {there}")

    def path(self, life: int, learner_step: int) -> list[Stretch]:
        """From the run's first step to `learner_step` of a life."""
        stretches = []
        until = learner_step
        for one in reversed([known for known in self.lives if known.number <= life]):
            if one.learner_step < until:
                stretches.append(Stretch(one.number, one.learner_step, until))
                until = one.learner_step
        return stretches[::-1]

    def newest_path(self) -> list[Stretch]:
        """Everything that the newest life's parameters hold."""
        return self.path(self.lives[-1].number, FOR_EVER)

    def on(self, path: list[Stretch]) -> list[PublishedVersion]:
        """Versions that were published along a path, in order of their steps; the first step of a life is on it too."""
        ends = {(stretch.life, stretch.after, stretch.until) for stretch in path}
        return sorted(
            (v for v in self.versions if any(v.life == life and after <= v.learner_step <= until for life, after, until in ends)),
            key=lambda version: (version.learner_step, version.policy_version),
        )

    def stretches_of(self, version: PublishedVersion) -> list[Stretch]:
        """The updates that a version holds and no earlier version on its path does."""
        path = self.path(version.life, version.learner_step)
        before = [v.learner_step for v in self.on(path) if v.learner_step < version.learner_step]
        after = max(before, default=0)
        return [Stretch(s.life, max(s.after, after), s.until) for s in path if s.until > after]

    def batches(self, stretches: list[Stretch]) -> Iterator[TrainedBatch]:
        """The updates of stretches, in order. Updates that the disk refused are not there."""
        for stretch in stretches:
            for file in self._files(stretch):
                for batch in read_batches(file):
                    if stretch.after < batch.learner_step <= stretch.until:
                        yield batch

    def _files(self, stretch: Stretch) -> list[Path]:
        """Of a life, in order, that may hold steps of a stretch."""
        found = sorted(self._folder.glob(f"batches-{stretch.life:06d}-*.arrow"))
        firsts = [_first_step(file) for file in found]
        ends = [*firsts[1:], FOR_EVER]
        return [
            file
            for file, first, end in zip(found, firsts, ends, strict=True)
            if first <= stretch.until and end > stretch.after + 1
        ]

    def uses(self, key: int, shard: int = 0) -> list[ItemUse]:
        """Updates that an item took part in, in order. Reads the whole manifest."""
        path = self.newest_path()
        kept, going_on = {stretch.life: stretch.until for stretch in path}, self.on(path)
        found = []
        for life in self.lives:
            lost = [version for version in self.versions if version.life == life.number]
            for batch in self.batches([Stretch(life.number, life.learner_step, FOR_EVER)]):
                if _holds(batch, key, shard):
                    step = batch.learner_step
                    put_aside = step > kept.get(life.number, 0)
                    version = next((v.policy_version for v in (lost if put_aside else going_on) if v.learner_step >= step), None)
                    found.append(ItemUse(step, life.number, version, put_aside))
        return found


def _holds(batch: TrainedBatch, key: int, shard: int) -> bool:
    same = batch.key == np.uint64(key)
    if len(batch.shard):
        same &= batch.shard == shard
    return bool(same.any()) and (shard == 0 or len(batch.shard) > 0)


def _first_step(file: Path) -> int:
    matched = re.fullmatch(r"batches-\d{6}-(\d{12})\.arrow", file.name)
    if matched is None:
        raise CheckpointError(f"{file} is no file of a manifest")
    return int(matched[1])
