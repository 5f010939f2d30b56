"""A learner from start to end through the real replay and parameter services."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from learners.role import chosen_device
from sojourn.algorithms import build_policy
from sojourn.errors import CheckpointError, ConfigError
from tests.waiting import DEADLINE_S, eventually


def test_an_untrained_policy_is_published_before_any_experience(make_run, schema):
    run = make_run()
    run.learner()
    snapshot = run.watcher.wait(0, timeout_s=DEADLINE_S)
    assert (snapshot.policy_version, snapshot.learner_step, snapshot.algorithm) == (1, 0, "sac")
    policy = build_policy(run.config, schema)
    policy.load(snapshot.tensors)


def test_a_learner_learns_publishes_and_leaves_a_checkpoint(make_run):
    run = make_run()
    run.insert(200)
    run.learn(40)
    assert run.checkpoints()[-1] == "step_000000000040"
    snapshot = eventually(lambda: (latest := run.watcher.latest()) and latest.learner_step == 40 and latest)
    assert snapshot.env_steps == 200
    written = [json.loads((run.folder / "checkpoints" / name / "metadata.json").read_text()) for name in run.checkpoints()]
    assert written[-1]["policy_version"] == snapshot.policy_version
    steps, versions = zip(*(pair for metadata in written for pair in metadata["publications"]), strict=True)
    assert (steps[0], versions[0]) == (0, 1)
    assert (steps[-1], versions[-1]) == (40, snapshot.policy_version)
    assert list(steps) == sorted(set(steps))
    assert list(versions) == sorted(set(versions))


def test_priorities_reach_the_table(make_run):
    """An item's first priority is the largest seen; TD errors of a new network differ from each other."""
    run = make_run()
    run.insert(65)
    before = run.table().facts.total_priority
    run.learn(30)
    eventually(lambda: run.table().facts.total_priority != before)


def test_a_second_life_goes_on_at_the_step_and_with_higher_versions(make_run):
    run = make_run()
    run.insert(200)
    run.learn(20)
    first = eventually(lambda: (latest := run.watcher.latest()) and latest.learner_step == 20 and latest)
    stop, ended = run.learner()
    resumed = run.watcher.wait(first.policy_version, timeout_s=DEADLINE_S)
    assert resumed.learner_step >= 20
    assert resumed.policy_version > first.policy_version
    eventually(lambda: run.watcher.latest().learner_step > 30)
    stop.set()
    ended.result(DEADLINE_S)
    assert int(run.checkpoints()[-1].removeprefix("step_")) > 30


def test_a_life_that_is_killed_before_the_first_period_is_over_loses_little(make_run):
    """What is on disk while it still runs is all that kill -9 leaves."""
    run = make_run(learners={"checkpoint_every_s": 3600.0, "keep_checkpoints": 10})
    run.learner()
    run.insert(100)
    eventually(lambda: len(run.checkpoints()) >= 3)  # after the first update, a second later, two seconds later
    assert run.checkpoints()[0] == "step_000000000001"
    on_disk = int(run.checkpoints()[-1].removeprefix("step_"))
    again = make_run("again")
    half_written = shutil.ignore_patterns(".*")
    shutil.copytree(run.folder / "checkpoints", again.folder / "checkpoints", ignore=half_written)
    again.learner()
    assert again.watcher.wait(0, timeout_s=DEADLINE_S).learner_step >= on_disk


def test_a_learner_that_is_stopped_while_it_waits_leaves_at_once(make_run):
    run = make_run()
    stop, ended = run.learner()
    assert run.watcher.wait(0, timeout_s=DEADLINE_S)
    stop.set()
    ended.result(DEADLINE_S)
    assert run.checkpoints() == []


def test_another_runs_checkpoint_is_refused(make_run):
    run = make_run()
    run.insert(100)
    run.learn(5)
    folder = run.folder / "checkpoints" / run.checkpoints()[-1]
    metadata = json.loads((folder / "metadata.json").read_text())
    (folder / "metadata.json").write_text(json.dumps({**metadata, "run_id": "other"}))
    _, ended = run.learner()
    with pytest.raises(CheckpointError, match="another run: other there, run here"):
        ended.result(DEADLINE_S)


def test_a_new_run_acts_by_the_policy_that_it_starts_from(make_run):
    """It says learner step 1 at once, or actors would draw uniform actions."""
    old = make_run("old")
    old.insert(100)
    old.learn(10)
    trained = eventually(lambda: (latest := old.watcher.latest()) and latest.learner_step == 10 and latest)
    new = make_run("new", run={"init_from": str(old.folder)})
    new.learner()
    snapshot = new.watcher.wait(0, timeout_s=DEADLINE_S)
    assert (snapshot.policy_version, snapshot.learner_step) == (1, 1)
    assert snapshot.tensors == trained.tensors


def test_an_algorithm_that_does_not_fit_ends_the_learner_with_the_right_name(make_run, make_config):
    run = make_run()
    _, ended = run.learner(algorithm=make_config(algorithm="dqn").algorithm)
    with pytest.raises(ConfigError, match="algorithm: sac"):
        ended.result(DEADLINE_S)


def blocked(run) -> Path:
    """Once the learner runs, a file stands where its checkpoints belong."""
    assert run.watcher.wait(0, timeout_s=DEADLINE_S)
    file = run.folder / "checkpoints"
    file.write_text("not a folder")
    return file


def test_a_checkpoint_that_cannot_be_written_is_told_and_training_goes_on(make_run, caplog):
    run = make_run(learners={"checkpoint_every_s": 0.05})
    stop, ended = run.learner()
    file = blocked(run)
    run.insert(100)
    eventually(lambda: caplog.text.count("cannot be written") >= 2)
    assert "training goes on" in caplog.text
    file.unlink()
    eventually(run.checkpoints)
    stop.set()
    ended.result(DEADLINE_S)


def test_the_last_checkpoint_is_an_error_if_it_cannot_be_written(make_run):
    run = make_run()
    _, ended = run.learner(learners=run.config.learners.model_copy(update={"steps": 5}))
    blocked(run)
    run.insert(100)
    with pytest.raises(CheckpointError, match="step_000000000005 cannot be written"):
        ended.result(DEADLINE_S)


def test_items_of_a_consuming_table_leave_with_the_checkpoint_that_holds_them(make_run):
    fifo = {"sampler": "fifo", "consume": True}
    run = make_run(table=fifo, learners={"checkpoint_every_s": 3600, "prefetch": 1})
    stop, ended = run.learner()
    file = blocked(run)
    run.insert(16 * 4 + 1)
    eventually(lambda: run.watcher.latest().learner_step == 4)
    assert run.table().leased_items == 64
    file.unlink()
    stop.set()
    ended.result(DEADLINE_S)
    eventually(lambda: run.table().leased_items == 0)
    assert run.table().facts.items == 0


def test_batches_that_no_checkpoint_holds_are_delivered_again(make_run):
    run = make_run(table={"sampler": "fifo", "consume": True}, learners={"prefetch": 1})
    _, ended = run.learner(learners=run.config.learners.model_copy(update={"steps": 2}))
    file = blocked(run)
    run.insert(16 * 2 + 1)
    with pytest.raises(CheckpointError):
        ended.result(DEADLINE_S)
    eventually(lambda: run.table().leased_items == 0)
    assert run.table().facts.items == 32
    file.unlink()
    run.learn(2)
    eventually(lambda: run.table().facts.items == 0)
    assert run.table().redelivered_items == 32


def test_a_device_that_is_not_there_is_said(make_config):
    with pytest.raises(ConfigError, match="torch sees"):
        chosen_device(make_config(learners={"device": "cuda:63"}))


def test_a_learner_loads_neither_ray_nor_mujoco():
    loaded = "import sys, learners.role; print([m for m in ('ray', 'mujoco') if m in sys.modules])"
    found = subprocess.run([sys.executable, "-c", loaded], capture_output=True, text=True, timeout=2 * DEADLINE_S, check=True)
    assert found.stdout.strip() == "[]"


@pytest.mark.parametrize("algorithm", ["vtrace", "ppo"])
def test_a_learner_of_segments_consumes_what_its_checkpoints_hold(make_run, algorithm):
    fifo = {"item": "segment", "length": 4, "sampler": "fifo", "consume": True}
    run = make_run(algorithm=algorithm, table=fifo, learners={"prefetch": 1})
    run.insert(4 * 16 * 3 + 1)
    run.learn(3)
    eventually(lambda: run.table().leased_items + run.table().facts.items == 0)
    assert run.watcher.latest().learner_step == 3
