"""The same on a GPU: an update gives what the CPU gives, batches and priorities cross over, a checkpoint goes on there."""

import pytest
import torch

from learners.batches import LatePriorities, train_batch
from learners.random_state import capture, restore
from sojourn.algorithms import build_algorithm
from sojourn.algorithms.tensors import from_bytes, to_bytes

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")]
CPU, GPU = torch.device("cpu"), torch.device("cuda")


def test_critics_move_on_a_gpu_as_on_the_cpu(make_config, schema, make_batch):
    """Without bootstrapping the critics' targets hold no random numbers, so both devices must agree."""
    config = make_config(algorithm={"name": "sac", "discount": 0.0})
    priorities = []
    for device in (CPU, GPU):
        algorithm = build_algorithm(config, schema, str(device), 1)
        for seed in range(5):
            update = algorithm.update(train_batch(make_batch(seed=seed), device))
        priorities.append(update.priority.cpu())
    torch.testing.assert_close(*priorities, rtol=1e-3, atol=1e-4)


def test_priorities_cross_over_one_update_late(make_batch):
    late = LatePriorities(GPU)
    assert late.exchange(make_batch(), torch.tensor([1.0, 2.0, torch.nan, 4.0], device=GPU)) is None
    assert late.take().priority.tolist() == [1.0, 2.0, 4.0]


def test_a_checkpoint_goes_on_bit_by_bit_on_the_gpu(make_config, schema, make_batch):
    straight, resumed = (build_algorithm(make_config(), schema, "cuda", seed) for seed in (1, 2))
    for seed in range(3):
        straight.update(train_batch(make_batch(seed=seed), GPU))
    resumed.policy.load(straight.policy.dump())
    resumed.load_state(from_bytes(to_bytes(straight.state())))
    assert restore(capture(straight.generator), resumed.generator)
    ours, theirs = (algorithm.update(train_batch(make_batch(seed=9), GPU)).priority for algorithm in (straight, resumed))
    torch.testing.assert_close(ours, theirs, rtol=0, atol=0)
