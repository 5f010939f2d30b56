"""What a learner writes down of what it is trained on, through kill -9, and what can be asked of it."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from learners.rerun import Rerun
from replay.client import Manifest, ManifestWriter, TrainedBatch, lineage_folder
from replay.manifest import batches_file
from sojourn.errors import CheckpointError, ConfigError
from tests.waiting import eventually


def batch_of(step: int, *, full: bool = True) -> TrainedBatch:
    rng = np.random.default_rng(step)
    weight = rng.random(8, np.float32) if full else np.zeros(0, np.float32)
    return TrainedBatch(step, rng.integers(1, 1_000, 8).astype(np.uint64), loss_weight=weight)


def life_of(run: Path, after: int, until: int, versions: dict[int, int], *, end: bool = True) -> ManifestWriter:
    """A life that learns steps after..until and publishes {learner step: version}; `end=False` leaves it as kill -9 does."""
    writer = ManifestWriter(lineage_folder(run), run_id="run", learner_step=after, full=True, facts={"threads": 1})
    for step in range(after, until + 1):
        if step > after:
            writer.batch(batch_of(step))
        if step in versions:
            writer.version(step, versions[step], lambda: {"layer": "abc"})
    assert writer.sync(20.0)
    if end:
        writer.close()
    return writer


def steps_of(manifest: Manifest, version: int) -> list[int]:
    return [batch.learner_step for batch in manifest.batches(manifest.stretches_of(manifest.version(version)))]


def test_batches_come_back_as_they_were_and_belong_to_the_first_version_that_holds_them(tmp_path: Path) -> None:
    life_of(tmp_path, 0, 200, {0: 1, 90: 2, 200: 3})
    manifest = Manifest(tmp_path)
    assert (steps_of(manifest, 1), steps_of(manifest, 2), steps_of(manifest, 3)) == ([], list(range(1, 91)), list(range(91, 201)))
    for found in manifest.batches(manifest.newest_path()):
        made = batch_of(found.learner_step)
        np.testing.assert_array_equal(found.key, made.key)
        np.testing.assert_array_equal(found.loss_weight, made.loss_weight)
    assert manifest.version(2).tensors == {"layer": "abc"}
    with pytest.raises(ConfigError, match="no policy version 9: known are 1 to 3"):
        manifest.version(9)


def test_steps_that_a_killed_life_did_beyond_its_checkpoint_are_put_aside_and_not_doubled(tmp_path: Path) -> None:
    killed = life_of(tmp_path, 0, 150, {0: 1, 80: 2, 140: 3}, end=False)
    life_of(tmp_path, 100, 180, {100: 4, 180: 5})
    manifest = Manifest(tmp_path)
    assert [batch.learner_step for batch in manifest.batches(manifest.newest_path())] == list(range(1, 181))
    assert steps_of(manifest, 3) == list(range(81, 141))  # what its actors acted by is known, although it was put aside
    assert steps_of(manifest, 5) == list(range(101, 181))
    assert steps_of(manifest, 4) == list(range(81, 101))
    assert [version.policy_version for version in manifest.on(manifest.newest_path())] == [1, 2, 4, 5]
    key = int(batch_of(120).key[0])
    uses = [use for use in manifest.uses(key) if use.learner_step == 120]
    assert [(use.life, use.version, use.put_aside) for use in uses] == [(1, 3, True), (2, 5, False)]
    killed.close()


def test_a_torn_tail_is_passed_over_and_a_flipped_bit_is_found(tmp_path: Path) -> None:
    life_of(tmp_path, 0, 64, {64: 1}, end=False)
    file = batches_file(lineage_folder(tmp_path), 1, 1)
    whole = file.read_bytes()
    file.write_bytes(whole + whole[-300:-100])
    assert steps_of(Manifest(tmp_path), 1) == list(range(1, 65))
    versions = lineage_folder(tmp_path) / "versions-000001.jsonl"
    versions.write_text(versions.read_text() + '{"policy_ver')
    assert steps_of(Manifest(tmp_path), 1) == list(range(1, 65))
    harm = bytearray(whole)
    harm[len(whole) // 2] ^= 1
    file.write_bytes(harm)
    with pytest.raises(CheckpointError, match="is not what was written"):
        steps_of(Manifest(tmp_path), 1)


def test_a_disk_that_refuses_costs_the_manifest_and_not_the_learner(tmp_path: Path) -> None:
    writer = life_of(tmp_path, 0, 10, {}, end=False)
    for file in lineage_folder(tmp_path).iterdir():
        file.unlink()
    lineage_folder(tmp_path).rmdir()
    writer.close()
    writer = ManifestWriter(tmp_path / "lineage", run_id="run", learner_step=10, full=False, facts={})
    for file in lineage_folder(tmp_path).iterdir():
        file.unlink()
    lineage_folder(tmp_path).rmdir()
    writer.batch(batch_of(11))
    assert writer.sync(20.0)
    assert writer.lost_updates == 1
    writer.close()


def test_a_learners_own_lives_are_written_down(make_run: Callable[..., object]) -> None:
    run = make_run(lineage="manifest")
    run.insert(200)
    run.learn(20)
    run.learn(50)
    manifest = Manifest(run.folder)
    assert [batch.learner_step for batch in manifest.batches(manifest.newest_path())] == list(range(1, 51))
    first = next(manifest.batches(manifest.newest_path()))
    assert (len(first.key), len(first.loss_weight)) == (16, 0)
    assert {life.learner_step for life in manifest.lives} == {0, 20}
    newest = manifest.on(manifest.newest_path())[-1]
    assert newest.learner_step == 50
    eventually(lambda: run.watcher.latest().policy_version == newest.policy_version)
    written = json.loads((run.folder / "checkpoints" / run.checkpoints()[-1] / "metadata.json").read_text())
    assert newest.policy_version == written["policy_version"]


def test_a_run_that_began_with_another_runs_policy_is_repeated_from_it_and_not_from_what_became_of_it(
    make_run: Callable[..., object],
) -> None:
    other = make_run("other")
    other.insert(100)
    other.learn(5)
    run = make_run(lineage="full", replay={"durability": "process"}, run={"init_from": str(other.folder)})
    run.insert(100)
    run.learn(10)
    run.close()
    for checkpoint in run.checkpoints():
        shutil.rmtree(run.folder / "checkpoints" / checkpoint)
    rerun = Rerun(run.folder, run.config, 1)
    assert rerun.begins_with == f"the policy of {other.folder}"
    assert {comparison.difference for comparison in rerun.comparisons()} == {""}
    other.learn(8)
    with pytest.raises(ConfigError, match="no longer holds the policy that this run began with: it differs first in"):
        next(Rerun(run.folder, run.config, 1).comparisons())


def test_lives_that_go_on_from_a_checkpoint_are_repeated_as_one(make_run: Callable[..., object]) -> None:
    """The second life learns faster, on two threads: each is repeated with the settings that it had, and the run's file has the latest ones."""
    run = make_run(lineage="full", replay={"durability": "process"}, algorithm={"name": "sac", "learning_rate": 1e-3})
    run.insert(200)
    run.learn(20)
    faster = run.config.algorithm.model_copy(update={"learning_rate": 1e-2})
    run.learn(50, algorithm=faster, learners=run.config.learners.model_copy(update={"threads": 2}))
    run.close()
    for checkpoint in run.checkpoints()[:-1]:
        shutil.rmtree(run.folder / "checkpoints" / checkpoint)
    torch.backends.mkldnn.matmul.fp32_precision = "ieee"  # as in a program that has just begun
    rerun = Rerun(run.folder, run.config.model_copy(update={"algorithm": faster}), 1)
    assert rerun.unlike == []
    found, threads = [], {}
    for comparison in rerun.comparisons():
        found.append(comparison)
        threads[comparison.learner_step] = torch.get_num_threads()
    assert (threads[20], threads[50]) == (1, 2)
    assert [(comparison.what, comparison.difference) for comparison in found if comparison.difference] == []
    assert {life.learner_step for life in Manifest(run.folder).lives} == {0, 20}
    assert {comparison.learner_step for comparison in found} >= {0, 20, 50}
