"""Several learners of one run: do they make every update together, and does the loss of one cost no more than a checkpoint's time?"""

import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from learners.batches import on_device
from replay.client import Manifest
from sojourn.algorithms import TrainBatch
from sojourn.config import Config
from sojourn.config.load import dump_config
from sojourn.errors import UnavailableError
from tests.learners.conftest import Run, config_of
from tests.waiting import DEADLINE_S, eventually

STEPS, WORLD, BATCH = 20, 2, 8

RANK = """
import sys
from contextlib import ExitStack
from pathlib import Path
import torch
from learners.ranks import learn_together, open_group
from sojourn.algorithms import build_algorithm
from sojourn.roles import RoleContext, announced_address
from tests.learners import test_ranks as here
from tests.learners.conftest import SCHEMA
rank, folder = int(sys.argv[1]), Path(sys.argv[2])
torch.set_num_threads(1)
config = here.together()
context = RoleContext(config, folder, "run", "learner", rank, ranks=announced_address(folder, "learner-0"))
with ExitStack() as stack:
    group = open_group(context, torch.device("cpu"), "", stack)
    algorithm = build_algorithm(config, SCHEMA, "cpu", seed=rank)
    learn_together(algorithm, group)
    for step in range(here.STEPS):
        algorithm.update(here.part(rank, step))
    group.check(algorithm)
    given = [torch.tensor([rank, 2.0]), torch.full((2, 3), 10.0 * rank)]
    group.average(given)
    tensors = {**algorithm.policy.state_dict(), **algorithm.state(), "averaged": given[0], "averaged too": given[1]}
    torch.save(tensors, folder / f"{rank}.pt")
"""


def together() -> Config:
    """With everything that has to come out the same: normalisers, a reward rate, clipped gradients."""
    return config_of(
        algorithm={"name": "sac", "max_gradient_norm": 1.0, "entropy": "centred"},
        environment={"normalise_observation": True, "normalise_reward": True},
        learners={"replicas": WORLD},
        objective="per_second",
    )


def part(rank: int, step: int) -> TrainBatch:
    """A rank's batch at a step: other items everywhere."""
    rng = np.random.default_rng([rank, step])
    columns = {
        "observation": rng.standard_normal((BATCH, 3)).astype(np.float32),
        "next_observation": rng.standard_normal((BATCH, 3)).astype(np.float32),
        "action": rng.uniform(-1, 1, (BATCH, 2)).astype(np.float32),
        "reward": rng.standard_normal((BATCH, 1)).astype(np.float32),
        "duration_s": rng.uniform(0.5, 1, (BATCH, 1)).astype(np.float32),
        "mask": np.ones((BATCH, 1), bool),
        "terminated": rng.random(BATCH) < 0.2,
        "policy_version": np.full(BATCH, 3, np.int64),
    }
    return on_device(columns, rng.uniform(0.5, 1.5, BATCH).astype(np.float32), None, torch.device("cpu"))


@pytest.fixture
def started() -> Iterator[Callable[..., "subprocess.Popen[bytes]"]]:
    """Starts processes; ends those that are left."""
    processes: list[subprocess.Popen[bytes]] = []

    def start(*arguments: str) -> "subprocess.Popen[bytes]":
        processes.append(subprocess.Popen([sys.executable, *arguments], stderr=subprocess.PIPE))
        return processes[-1]

    yield start
    for process in processes:
        process.kill()
        process.communicate()


def test_ranks_come_to_the_same_parameters_bit_by_bit_and_to_the_statistics_of_all_batches(tmp_path: Path, started):
    ranks = [started("-c", RANK, str(rank), str(tmp_path)) for rank in range(WORLD)]
    for rank in ranks:
        _, said = rank.communicate(timeout=DEADLINE_S)
        assert rank.returncode == 0, said.decode()
    first, second = (torch.load(tmp_path / f"{rank}.pt", weights_only=True) for rank in range(WORLD))
    assert [name for name in first if not torch.equal(first[name], second[name])] == []
    assert first["averaged"].tolist() == [0.5, 2.0]
    assert first["averaged too"].tolist() == [[5.0] * 3] * 2
    assert first["learner_step"] == STEPS

    batches = [part(rank, step) for step in range(STEPS) for rank in range(WORLD)]
    weight = torch.cat([batch.weight_of_values for batch in batches]).double()
    seen = torch.cat([batch["observation"] for batch in batches]).double()
    mean = (weight[:, None] * seen).sum(0) / weight.sum()
    torch.testing.assert_close(first["encoder.leaf_encoders.0.moments.count"], weight.sum())
    torch.testing.assert_close(first["encoder.leaf_encoders.0.moments.mean"], mean)
    torch.testing.assert_close(first["encoder.leaf_encoders.0.moments.m2"], (weight[:, None] * (seen - mean).square()).sum(0))


def test_a_rank_whose_policy_differs_is_told(tmp_path: Path, started):
    other = RANK.replace(
        "    group.check(algorithm)", "    algorithm.policy.head.bias.data[0, 0, 0] += rank\n    group.check(algorithm)"
    )
    ranks = [started("-c", other, str(rank), str(tmp_path)) for rank in range(WORLD)]
    said = [rank.communicate(timeout=DEADLINE_S)[1].decode() for rank in ranks]
    assert all("the policy of ranks [1] is not that of rank 0" in one for one in said)


def test_two_learners_go_on_together_behind_the_loss_of_one(make_run: Callable[..., Run], started):
    run = make_run(
        learners={"replicas": WORLD, "steps": 150, "checkpoint_every_s": 1.0, "publish_every_s": 0.05},
        table={"limiter": {"min_size": 64, "samples_per_insert": 64, "tolerance": 512}},
    )
    (run.folder / "config.yaml").write_text(dump_config(run.config))

    def ranks() -> list["subprocess.Popen[bytes]"]:
        arguments = ("-m", "learners", "--run-folder", str(run.folder), "--run-id", "run", "--index")
        return [started(*arguments, str(rank)) for rank in range(WORLD)]

    run.insert(65)
    first, second = ranks()
    eventually(lambda: len(run.checkpoints()) > 0)
    second.send_signal(signal.SIGKILL)
    first.communicate(timeout=DEADLINE_S)
    assert first.returncode == UnavailableError.exit_code

    before = max(int(name.removeprefix("step_")) for name in run.checkpoints())
    run.insert(128)
    for rank in ranks():
        _, said = rank.communicate(timeout=DEADLINE_S)
        assert rank.returncode == 0, said.decode()
    assert before < 150
    assert run.checkpoints()[-1].endswith("150")

    manifest = Manifest(run.folder)
    batches = list(manifest.batches(manifest.newest_path()))
    assert [batch.learner_step for batch in batches] == list(range(1, 151))
    assert {len(batch.key) for batch in batches} == {WORLD * run.config.learners.batch_size}
    facts = run.table().facts
    assert facts.sampled_items >= 150 * WORLD * run.config.learners.batch_size
    assert facts.sampled_items <= 64 * facts.inserted_items + 512 + run.config.learners.batch_size
