"""Checkpoints: what is in one, rotation, and what is said of damaged and foreign ones."""

import hashlib
import json
from pathlib import Path

import pytest
import torch

from learners.checkpoints import Checkpoint, Checkpoints
from learners.random_state import capture
from learners.resuming import read_policy, resume, start_from
from sojourn.algorithms import TrainBatch, build_algorithm
from sojourn.checkpoint_folders import POLICY_FILE
from sojourn.errors import CheckpointError, ConfigError


def checkpoint_of(learned, schema, learner_step: int | None = None, **changed) -> Checkpoint:
    fields = {
        "run_id": "run",
        "algorithm": "sac",
        "learner_step": learned.learner_step if learner_step is None else learner_step,
        "env_steps": 120,
        "policy_version": 9,
        "schema": schema,
        "policy": learned.policy.dump(),
        "state": learned.state(),
        "random": capture(learned.generator),
        "publications": ((1, 8), (5, 9)),
    }
    return Checkpoint(**{**fields, **changed})


def batch(seed: int) -> TrainBatch:
    generator = torch.Generator().manual_seed(seed)
    columns = {name: torch.randn(8, 3, generator=generator) for name in ("observation", "next_observation")}
    columns |= {"action": torch.rand(8, 2, generator=generator), "reward": torch.randn(8, 1, generator=generator)}
    columns |= {"duration_s": torch.ones(8, 1), "mask": torch.ones(8, 1, dtype=torch.bool)}
    return TrainBatch({**columns, "terminated": torch.zeros(8, dtype=torch.bool)}, torch.ones(8))


@pytest.fixture
def algorithm(make_config, schema):
    return build_algorithm(make_config(), schema, "cpu", 1)


@pytest.fixture
def checkpoints(tmp_path: Path) -> Checkpoints:
    return Checkpoints(tmp_path / "checkpoints", keep=3)


def names(tmp_path: Path) -> list[str]:
    return sorted(path.name for path in (tmp_path / "checkpoints").iterdir())


def test_learning_goes_on_bit_by_bit_from_what_was_read_back(make_config, schema, algorithm, checkpoints):
    for seed in range(3):
        algorithm.update(batch(seed))
    torch.randn(5)  # the global state moves on too
    checkpoints.save(checkpoint_of(algorithm, schema))
    other = build_algorithm(make_config(), schema, "cpu", 2)
    global_draw = torch.rand(3)
    resume(other, checkpoints.newest(), run_id="run", name="sac", schema=schema)
    assert torch.equal(torch.rand(3), global_draw)
    assert other.learner_step == 3
    for seed in range(3, 6):
        assert torch.equal(algorithm.update(batch(seed)).priority, other.update(batch(seed)).priority)
    assert algorithm.policy.dump() == other.policy.dump()


def test_metadata_is_readable_and_says_what_it_is(schema, algorithm, checkpoints, tmp_path):
    checkpoints.save(checkpoint_of(algorithm, schema, 12_000))
    metadata = json.loads((tmp_path / "checkpoints/step_000000012000/metadata.json").read_text())
    assert metadata["learner_step"] == 12_000
    assert metadata["publications"] == [[1, 8], [5, 9]]
    assert metadata["schema_fingerprint"] == schema.fingerprint
    assert {"torch", "numpy", "sojourn", "python", "safetensors"} <= metadata["libraries"].keys()
    assert [part["file"] for part in metadata["components"]] == ["policy.safetensors", "algorithm.safetensors", "rng.json"]
    read = checkpoints.newest()
    assert (read.env_steps, read.policy_version, read.publications) == (120, 9, ((1, 8), (5, 9)))
    assert read.schema == schema


def test_the_oldest_beyond_the_number_kept_go_and_the_best_stays(schema, algorithm, checkpoints, tmp_path):
    (tmp_path / "checkpoints" / "best").mkdir(parents=True)
    for step in (1, 2, 30, 4):
        checkpoints.save(checkpoint_of(algorithm, schema, step))
    assert names(tmp_path) == ["best", "step_000000000002", "step_000000000004", "step_000000000030"]
    assert checkpoints.newest().learner_step == 30


def test_there_is_none_before_the_first(checkpoints):
    assert checkpoints.newest() is None


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda folder: (folder / POLICY_FILE).write_bytes(b"short"), "policy.safetensors has 5 bytes"),
        (lambda folder: _flip(folder / POLICY_FILE), "its checksum is wrong"),
        (lambda folder: (folder / POLICY_FILE).unlink(), "policy.safetensors cannot be read"),
        (lambda folder: (folder / "metadata.json").write_text('{"format_version": 1, "comp'), "metadata.json is cut short"),
        (lambda folder: (folder / "metadata.json").unlink(), "metadata.json cannot be read"),
    ],
)
def test_a_damaged_newest_one_is_passed_over_with_a_warning(schema, algorithm, checkpoints, tmp_path, caplog, damage, message):
    for step in (1, 2):
        checkpoints.save(checkpoint_of(algorithm, schema, step))
    damage(tmp_path / "checkpoints" / "step_000000000002")
    assert checkpoints.newest().learner_step == 1
    assert message in caplog.text


def _flip(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)


def test_when_all_are_damaged_it_is_an_error_and_not_a_new_start(schema, algorithm, checkpoints, tmp_path):
    checkpoints.save(checkpoint_of(algorithm, schema, 1))
    _flip(tmp_path / "checkpoints" / "step_000000000001" / "rng.json")
    with pytest.raises(CheckpointError, match=r"no checkpoint in .* can be read \(.*rng.json is not what was written"):
        checkpoints.newest()


def test_another_format_is_an_error_that_names_both(schema, algorithm, checkpoints, tmp_path):
    checkpoints.save(checkpoint_of(algorithm, schema, 1))
    file = tmp_path / "checkpoints" / "step_000000000001" / "metadata.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "format_version": 2}))
    with pytest.raises(CheckpointError, match="has format 2, this version of sojourn reads 1"):
        checkpoints.newest()


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"run_id": "other"}, "another run: other there, run here"),
        ({"algorithm": "dqn"}, "another algorithm: dqn there, sac here"),
    ],
)
def test_a_foreign_checkpoint_is_refused_by_what_differs(schema, algorithm, changed, message):
    with pytest.raises(CheckpointError, match=message):
        resume(algorithm, checkpoint_of(algorithm, schema, **changed), run_id="run", name="sac", schema=schema)


def test_a_changed_network_is_refused_by_its_tensors(make_config, schema, algorithm):
    wide = build_algorithm(make_config(network={"hidden": (32,)}), schema, "cpu", 1)
    with pytest.raises(CheckpointError, match=r"body\.layers\.0\.weight is \[1, 3, 32\] there.*was the network changed"):
        resume(algorithm, checkpoint_of(wide, schema), run_id="run", name="sac", schema=schema)


def test_a_new_run_starts_from_anothers_policy_with_targets_like_it(make_config, schema, algorithm, checkpoints, tmp_path):
    algorithm.update(batch(0))
    checkpoints.save(checkpoint_of(algorithm, schema))
    for location in (tmp_path, tmp_path / "checkpoints" / "step_000000000001"):
        other = build_algorithm(make_config(), schema, "cpu", 2)
        start_from(other, str(location), make_config())
        assert other.policy.dump() == algorithm.policy.dump()
        assert other.learner_step == 0


def test_the_best_policy_of_a_run_is_preferred_and_its_checksum_is_checked(make_config, schema, algorithm, checkpoints, tmp_path):
    checkpoints.save(checkpoint_of(algorithm, schema))
    best = build_algorithm(make_config(), schema, "cpu", 5).policy.dump()
    folder = tmp_path / "checkpoints" / "best-7"
    folder.mkdir()
    (folder / POLICY_FILE).write_bytes(best)
    digest = hashlib.sha256(best).hexdigest()
    (folder / "metadata.json").write_text(json.dumps({"algorithm": "sac", "sha256": digest}))
    (tmp_path / "checkpoints" / "best").symlink_to("best-7")
    assert read_policy(str(tmp_path))[1] == best
    (folder / POLICY_FILE).write_bytes(best[:-1])
    with pytest.raises(ConfigError, match=r"run\.init_from: .*best-7/policy.safetensors is not what was written"):
        start_from(algorithm, str(tmp_path), make_config())


@pytest.mark.parametrize(
    ("sections", "message"),
    [
        ({"algorithm": "dqn"}, "was trained by sac, this run by dqn; write algorithm: sac"),
        ({"network": {"hidden": (32,)}}, r"does not fit this run: .* there and .* here"),
    ],
)
def test_a_policy_that_does_not_fit_is_refused_by_what_differs(
    make_config, schema, algorithm, checkpoints, tmp_path, sections, message
):
    checkpoints.save(checkpoint_of(algorithm, schema))
    config = make_config(**sections)
    here = build_algorithm(make_config(**{**sections, "algorithm": "sac"}), schema, "cpu", 1)
    with pytest.raises(ConfigError, match=message):
        start_from(here, str(tmp_path), config)


def test_a_location_without_a_policy_is_refused(make_config, algorithm, tmp_path):
    with pytest.raises(ConfigError, match=r"run\.init_from: .*metadata.json cannot be read"):
        start_from(algorithm, str(tmp_path / "nothing"), make_config())
