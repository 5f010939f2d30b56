"""Is nothing lost and nothing doubled when services are killed and disks are full, under load? The reduced chaos table."""

from pathlib import Path

import numpy as np
import pytest

from sojourn.bench.chaos import faults, server_faults
from sojourn.bench.chaos.rows import SETTINGS
from sojourn.bench.chaos.snapshot import Snapshot, make_snapshot
from sojourn.bench.chaos.stage import Setting, Stage
from sojourn.bench.chaos.trial import measure
from sojourn.config.load import load_config
from tests.waiting import eventually

CONFIG = load_config(None, [*SETTINGS, "actors.replicas=2"])
STEPS = 16_000


class BriefDiskFull(server_faults.DiskFull):
    """Until something was drawn."""

    def hold(self, seconds: float) -> None:
        before = self.stage.drawing.batches
        eventually(lambda: self.stage.drawing.batches > before)


@pytest.fixture(scope="module")
def snapshot(tmp_path_factory: pytest.TempPathFactory) -> Snapshot:
    folder: Path = tmp_path_factory.mktemp("snapshot")
    return make_snapshot(folder, CONFIG, STEPS)


def test_nothing_is_lost_when_the_shard_is_killed_and_the_disk_is_full(snapshot: Snapshot):
    with Stage(CONFIG, Setting(actors=2), snapshot, seed=1) as stage:
        for number, fault in enumerate((faults.KillShard, BriefDiskFull, faults.KillRedis)):
            rng = np.random.default_rng(number)
            found = measure(stage, fault(stage, rng), rng)
            assert (found.lost, found.doubled, found.broken) == (0, 0, "")
            assert found.steps > STEPS


def test_a_write_whose_acknowledgement_died_with_the_shard_is_recognised(snapshot: Snapshot):
    with Stage(CONFIG, Setting(actors=2, wire="redis"), snapshot, seed=1) as stage:
        rng = np.random.default_rng(1)
        found = measure(stage, faults.KillBetweenWriteAndAnswer(stage, rng), rng)
    assert (found.lost, found.doubled, found.broken) == (0, 0, "")


def test_a_damaged_chunk_is_named_and_the_rest_is_served(snapshot: Snapshot):
    with Stage(CONFIG, Setting(actors=2), snapshot, seed=1) as stage:
        rng = np.random.default_rng(2)
        found = measure(stage, server_faults.CorruptedChunk(stage, rng), rng)
    assert (found.lost, found.doubled, found.broken) == (0, 0, "")
    assert found.left_out > 0
