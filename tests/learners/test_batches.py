"""Batches on their way to the device, and priorities on their way back."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from learners.batches import SMALLEST_PRIORITY, LatePriorities, train_batch
from sojourn.algorithms import TrainBatch

CPU = torch.device("cpu")


def test_every_column_arrives_with_its_values_and_floats_as_float32(make_batch):
    batch = make_batch()
    there = train_batch(batch, CPU)
    assert set(there.columns) == set(batch.columns)
    for name, column in batch.columns.items():
        np.testing.assert_allclose(there[name].numpy(), column, rtol=1e-6)
    np.testing.assert_array_equal(there.loss_weight.numpy(), batch.loss_weight)
    assert there["duration_s"].dtype == there["reward"].dtype == torch.float32
    assert there["mask"].dtype == torch.bool
    assert there["policy_version"].dtype == torch.int64


def test_the_tensors_are_a_copy_that_outlives_the_message(make_batch):
    batch = make_batch()
    there = train_batch(batch, CPU)
    expected = batch.columns["reward"].copy()
    batch.columns["reward"].setflags(write=True)
    batch.columns["reward"][:] = 0
    np.testing.assert_array_equal(there["reward"].numpy(), expected)


def test_a_duration_weight_for_the_policy_alone_is_left_out_for_values(make_batch):
    batch = make_batch()
    priority, duration = batch.loss_weight, np.array([1, 2, 3, 4], np.float32)
    weighed = replace(batch, loss_weight=priority * duration, factors={"duration": duration, "priority": priority})
    there = train_batch(weighed, CPU, policy_only=True)
    np.testing.assert_array_equal(there.loss_weight.numpy(), priority * duration)
    np.testing.assert_array_equal(there.weight_of_values.numpy(), priority)
    everywhere = train_batch(weighed, CPU)
    assert everywhere.weight_of_values is everywhere.loss_weight
    alone = replace(batch, loss_weight=duration, factors={"duration": duration})
    assert train_batch(alone, CPU, policy_only=True).weight_of_values.tolist() == [1, 1, 1, 1]


def test_images_stay_bytes_and_ragged_or_empty_columns_do_no_harm(make_batch):
    batch = make_batch()
    batch.columns["observation.camera"] = np.arange(4 * 6, dtype=np.uint8).reshape(4, 2, 3)
    batch.columns["nothing"] = np.zeros((4, 0), np.float32)
    there = train_batch(batch, CPU)
    assert there["observation.camera"].dtype == torch.uint8
    np.testing.assert_array_equal(there["observation.camera"].numpy(), batch.columns["observation.camera"])
    assert there["nothing"].shape == (4, 0)


def test_priorities_come_back_one_update_late(make_batch):
    late = LatePriorities(CPU)
    first, second = make_batch(seed=1), make_batch(seed=2)
    assert late.exchange(first, torch.tensor([1.0, 2.0, 3.0, 4.0])) is None
    update = late.exchange(second, torch.zeros(4))
    assert update.priority.tolist() == [1.0, 2.0, 3.0, 4.0]
    np.testing.assert_array_equal(update.key, first.info.key)
    last = late.take()
    np.testing.assert_array_equal(last.priority, np.full(4, SMALLEST_PRIORITY, np.float32))
    assert late.take() is None


def test_priorities_that_are_not_finite_are_left_out(make_batch):
    late = LatePriorities(CPU)
    late.exchange(make_batch(), torch.tensor([1.0, torch.nan, 3.0, torch.inf]))
    update = late.take()
    assert update.key.tolist() == [1, 3]
    assert update.priority.tolist() == [1.0, 3.0]
    assert update.shard.tolist() == [0, 0]
    late.exchange(make_batch(), torch.full((4,), torch.nan))
    assert late.take() is None


def test_a_batch_in_one_piece_is_the_same_in_another_one(make_batch):
    """As a captured update reads every batch from the same place."""
    first, second = (train_batch(make_batch(seed=seed), CPU, policy_only=True) for seed in (1, 2))
    place = first.in_one_piece.clone()
    there = first.in_place_of(place)
    place.copy_(second.in_one_piece)
    assert set(there.columns) == set(second.columns)
    for name, column in second.columns.items():
        assert torch.equal(there[name], column)
    assert torch.equal(there.loss_weight, second.loss_weight)
    assert torch.equal(there.weight_of_values, second.weight_of_values)


def test_a_batch_of_several_pieces_is_refused_where_one_is_needed():
    with pytest.raises(ValueError, match="several pieces"):
        _ = TrainBatch({}, torch.ones(4)).in_one_piece
