"""The same on a GPU: an update gives what the CPU gives, captured or not; batches and priorities cross over; a checkpoint goes on there."""

import pytest
import torch

from benchmarks.gpu.batches import random_batch
from benchmarks.gpu.plain import plain_config, plain_schema
from learners.batches import LatePriorities, copying_stream, train_batch
from learners.random_state import capture, restore
from sojourn.algorithms import Algorithm, build_algorithm
from sojourn.algorithms.captured import CapturedUpdates
from sojourn.algorithms.tensors import from_bytes, to_bytes

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")]
CPU, GPU = torch.device("cpu"), torch.device("cuda")


def built(device: torch.device, seed: int = 1, **settings: object) -> Algorithm:
    return build_algorithm(plain_config(hidden=(32, 32), **settings), plain_schema(), str(device), seed)


def assert_same_state(one: Algorithm, other: Algorithm, error: float) -> None:
    there, expected = ({**a.policy.state_dict(), **a.state()} for a in (one, other))
    for name, tensor in expected.items():
        torch.testing.assert_close(
            there[name].cpu(), tensor.cpu(), rtol=error, atol=error, msg=lambda text, name=name: f"{name}: {text}"
        )


def test_critics_move_on_a_gpu_as_on_the_cpu():
    """Without bootstrapping the critics' targets hold no random numbers, so both devices must agree."""
    priorities = []
    for device in (CPU, GPU):
        algorithm = built(device, discount=0.0)
        for seed in range(5):
            update = algorithm.update(train_batch(random_batch(seed), device))
        priorities.append(update.priority.cpu())
    torch.testing.assert_close(*priorities, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_captured_updates_are_those_that_are_made_call_by_call(precision):
    """Random numbers included; every replay has new ones."""
    plain, replayed = built(GPU, precision=precision), built(GPU, precision=precision)
    captured = CapturedUpdates(replayed)
    for seed in range(12):
        batch = train_batch(random_batch(seed), GPU)
        expected, found = plain.update(batch), captured.update(batch)
        torch.testing.assert_close(found.priority, expected.priority, rtol=1e-3, atol=1e-4)
        for name, value in expected.metrics.items():
            torch.testing.assert_close(found.metrics[name], value, rtol=1e-2, atol=1e-3)
    assert replayed.learner_step == plain.learner_step == 12
    assert_same_state(replayed, plain, 1e-3)


def test_what_a_captured_update_returned_is_not_overwritten_by_the_next():
    captured = CapturedUpdates(built(GPU))
    updates = [captured.update(train_batch(random_batch(seed), GPU)) for seed in range(8)]
    kept = [(update.priority.clone(), update.metrics["critic_loss"].clone()) for update in updates[-3:-1]]
    captured.update(train_batch(random_batch(9), GPU))
    for update, (priority, loss) in zip(updates[-3:-1], kept, strict=True):
        assert torch.equal(update.priority, priority)
        assert torch.equal(update.metrics["critic_loss"], loss)
    assert not torch.equal(kept[0][0], kept[1][0])


def test_bfloat16_is_near_float32_on_a_gpu():
    exact, rounded = (built(GPU, precision=precision, discount=0.0) for precision in ("float32", "bfloat16"))
    for seed in range(5):
        batch = train_batch(random_batch(seed), GPU)
        priorities = [algorithm.update(batch).priority for algorithm in (exact, rounded)]
    torch.testing.assert_close(*priorities, rtol=0.05, atol=0.05)


def test_a_batch_is_whole_when_it_is_read_though_it_was_copied_beside_the_update_before():
    copying = copying_stream(GPU)
    sums = []
    for seed in range(50):
        batch = random_batch(seed)
        torch.randn(2_000, 2_000, device=GPU) @ torch.randn(2_000, 2_000, device=GPU)
        there = train_batch(batch, GPU, stream=copying)
        sums.append((float(batch.columns["observation"].sum(dtype="float64")), there["observation"].sum(dtype=torch.float64)))
    for expected, found in sums:
        assert float(found) == pytest.approx(expected, abs=1e-3)


def test_priorities_cross_over_one_update_late():
    late = LatePriorities(GPU)
    assert late.exchange(random_batch(0, items=4), torch.tensor([1.0, 2.0, torch.nan, 4.0], device=GPU)) is None
    assert late.take().priority.tolist() == [1.0, 2.0, 4.0]


@pytest.mark.parametrize("captured", [False, True])
def test_a_checkpoint_goes_on_bit_by_bit_on_the_gpu(captured):
    straight, resumed = (built(GPU, seed) for seed in (1, 2))
    update = CapturedUpdates(straight).update if captured else straight.update
    for seed in range(6):
        update(train_batch(random_batch(seed), GPU))
    resumed.policy.load(straight.policy.dump())
    resumed.load_state(from_bytes(to_bytes(straight.state())))
    assert restore(capture(straight.generator), resumed.generator)
    ours, theirs = (algorithm.update(train_batch(random_batch(9), GPU)).priority for algorithm in (straight, resumed))
    torch.testing.assert_close(ours, theirs, rtol=0, atol=0)
