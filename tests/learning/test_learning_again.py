"""A learner trained again on archived rows has the parameters of the run, bit by bit; what is damaged or missing is named."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner

from learners.rerun import Comparison, Rerun
from replay.archive import archive_files, archive_folder
from replay.client import Manifest
from sojourn.cli.app import app
from sojourn.config import Config
from sojourn.config.load import load_config
from sojourn.errors import CheckpointError, ConfigError
from sojourn.launcher import serial
from sojourn.run_folder import create_run, read_run, run_config

ENV_STEPS, CAPACITY = 900, 300
CONFIG = [
    "environment={id: Pendulum-v1, max_episode_steps: 50}",
    "lineage=full",
    "run.seed=5",
    "network.hidden=[32, 32]",
    f"run.env_steps={ENV_STEPS}",  # actors end before the learner, which a limiter would keep waiting otherwise
    "learners={batch_size: 32, checkpoint_every_s: 600, publish_every_s: 0.05, prefetch: 2, batches_per_message: 1}",
    f"tables.replay={{capacity_steps: {CAPACITY}, capacity_bytes: 20_000_000, n_step: 3}}",
    "tables.replay.limiter={min_size: 100, samples_per_insert: 4}",
    "actors={segment_steps: 8, flush_age_s: 0.1, environments: 3}",
    "evaluation={episodes: 1, every_env_steps: 1_000_000}",
]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Config]:
    """A run whose table has let go of most of what was inserted."""
    folder = tmp_path_factory.mktemp("trained")
    path = create_run(load_config(None, [*CONFIG, f"run.folder={folder}", "run.name=run"]), ["sojourn", "train"])
    config = run_config(path)
    assert serial(config, path, run_id=read_run(path).run_id) == 0
    return path, config


@pytest.fixture
def copied(trained: tuple[Path, Config], tmp_path: Path) -> Callable[[], Path]:
    def copy() -> Path:
        shutil.copytree(trained[0], tmp_path / "run", ignore=shutil.ignore_patterns("*.sock"))
        return tmp_path / "run"

    return copy


def compared(folder: Path, config: Config, first: int = 1) -> list[Comparison]:
    return list(Rerun(folder, config, first).comparisons())


def from_the_seed(folder: Path) -> Path:
    """Without the checkpoints that a repetition could begin with: all but the last."""
    kept = sorted((folder / "checkpoints").glob("step_*"))
    for other in kept[:-1]:
        shutil.rmtree(other)
    return kept[-1]


def test_the_same_bits_come_of_the_same_batches(copied, trained):
    folder, config = copied(), trained[1]
    last = int(from_the_seed(folder).name.removeprefix("step_"))
    rerun = Rerun(folder, config, 1)
    assert (rerun.start, rerun.unlike) == (0, [])
    found = list(rerun.comparisons())
    versions = Manifest(folder).versions
    assert [comparison.difference for comparison in found] == [""] * (len(versions) + 1)
    assert {comparison.learner_step for comparison in found} == {0, last} | {version.learner_step for version in versions}
    archived = archive_files(archive_folder(folder))
    assert archived[-1].last_row >= ENV_STEPS > CAPACITY, "nothing was trimmed, so the archive was not needed"
    assert last > 10


def test_parameters_of_another_seed_are_found_and_named(copied, trained):
    folder, config = copied(), trained[1]
    from_the_seed(folder)
    changed = config.model_copy(update={"run": config.run.model_copy(update={"seed": 6})})
    for life in (folder / "lineage").glob("life-*.json"):
        life.write_text(life.read_text().replace('"seed": 5', '"seed": 6'))
    (first, *none_after) = compared(folder, changed)
    assert first.difference
    assert none_after == []


def test_a_flipped_bit_of_the_archive_is_found_and_a_missing_file_is_named(copied, trained):
    folder, config = copied(), trained[1]
    from_the_seed(folder)
    file = archive_files(archive_folder(folder))[0].path
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)
    with pytest.raises(CheckpointError, match=f"{file.name} is not what was written: its checksum is wrong"):
        compared(folder, config)
    file.unlink()
    with pytest.raises(CheckpointError, match=r"rows 1 to \d+ of shard 0 are missing|holds no rows"):
        compared(folder, config)


def test_what_cannot_be_repeated_is_said(copied, trained):
    folder, config = copied(), trained[1]
    with pytest.raises(ConfigError, match="no policy version 99999"):
        Rerun(folder, config, 99999)
    for life in (folder / "lineage").glob("life-*.json"):
        life.write_text(life.read_text().replace('"full": true', '"full": false'))
    from_the_seed(folder)
    with pytest.raises(ConfigError, match="only lineage: full can be repeated"):
        Rerun(folder, config, 1)


def told(*arguments: str) -> str:
    answer = CliRunner().invoke(app, arguments, catch_exceptions=False)
    assert answer.exit_code == 0, answer.output
    return answer.output


def test_the_command_line_says_whether_it_is_identical(trained):
    last = Manifest(trained[0]).versions[-1]
    said = told("replay-learner", str(trained[0]), "--from", str(last.policy_version))
    assert f"identical: 2 versions and checkpoints, learner steps {last.learner_step} to {last.learner_step}" in said


def test_a_version_says_what_it_was_trained_on(trained):
    version = Manifest(trained[0]).versions[-1]
    said = told("lineage", str(trained[0]), "--policy-version", str(version.policy_version))
    assert f"policy version {version.policy_version}  learner step {version.learner_step}  life 1 of the learner" in said
    assert "by actor           actor-0 100 %" in said
    assert f" to {version.learner_step:,})" in said
    with pytest.raises(ConfigError, match="no policy version 9999: known are 1 to"):
        told("lineage", str(trained[0]), "--policy-version", "9999")


@pytest.mark.parametrize("kept_by", ["archive", "durable tier"])
def test_an_item_says_where_it_comes_from_after_the_run_has_ended(copied, kept_by):
    folder = copied()
    newest = next(iter(archive_files(archive_folder(folder))[-1:])).last_row
    manifest = Manifest(folder)
    keys = {key for batch in manifest.batches(manifest.newest_path()) for key in batch.key.tolist()}
    item = max(key for key in keys if key < newest - 20)
    if kept_by == "durable tier":
        shutil.rmtree(archive_folder(folder))
    said = told("lineage", str(folder), "--item", str(item))
    assert "actor        actor-0, life " in said
    assert "environment  Pendulum-v1 gymnasium " in said
    assert "run seed 5" in said
    assert "trained on   in " in said
    with pytest.raises(ConfigError, match="nothing is known of item 99999999 of shard 0"):
        told("lineage", str(folder), "--item", "99999999")


def test_a_shard_that_the_run_does_not_have_is_said(trained):
    with pytest.raises(ConfigError, match="has 1 replay shards, numbered from 0: there is no shard 3"):
        told("lineage", str(trained[0]), "--item", "1", "--shard", "3")
