"""What a learner writes beside its checkpoints on a full disk: nothing of that ends it, or holds it up."""

import os
from pathlib import Path

import numpy as np
import pytest

from replay.client import ManifestWriter, TrainedBatch, lineage_folder
from replay.manifest import batches_file, read_batches
from replay.manifest_writer import append_whole
from sojourn.checkpoint_requests import CheckpointRequests, Made, ask_for_checkpoint, take_answer
from tests.full_disk import full_disk


def test_batches_that_the_disk_refuses_are_counted_and_later_ones_are_written(tmp_path: Path) -> None:
    folder = lineage_folder(tmp_path)
    folder.mkdir(parents=True)
    batches_file(folder, 1, 1).symlink_to("/dev/full")
    writer = ManifestWriter(folder, run_id="run", learner_step=0, full=False, facts={})
    for step in (1, 2):
        writer.batch(TrainedBatch(step, np.arange(256, dtype=np.uint64)))
        assert writer.sync(20.0)
    writer.close()
    assert writer.lost_updates == 1
    assert [batch.learner_step for batch in read_batches(batches_file(folder, 1, 2))] == [2]


def test_a_line_that_does_not_fit_leaves_the_file_whole(tmp_path: Path) -> None:
    file = tmp_path / "versions.jsonl"
    append_whole(file, b"first\n")
    with full_disk(9), pytest.raises(OSError, match=r"too large|No space"):
        append_whole(file, b"second\n")
    append_whole(file, b"third\n")
    assert file.read_bytes() == b"first\nthird\n"


def test_an_answer_that_the_disk_refuses_ends_the_request_and_not_the_learner(tmp_path: Path) -> None:
    requests = CheckpointRequests(tmp_path)
    name = ask_for_checkpoint(tmp_path)
    (tmp_path / "control" / f".{name}.answered.{os.getpid()}").symlink_to("/dev/full")
    requests.answer(requests.waiting(0.0), Made("step_1", 1))
    assert take_answer(tmp_path, name) is None
    assert requests.waiting(1.0) == []
    again = ask_for_checkpoint(tmp_path)
    requests.answer(requests.waiting(2.0), Made("step_2", 2))
    assert take_answer(tmp_path, again) == Made("step_2", 2)
