"""Segments as steps: what stands behind an early end, which weights count, where traces stop."""

import pytest
import torch

from sojourn.algorithms import TrainBatch
from sojourn.algorithms.segments import Segments


@pytest.fixture
def segments() -> Segments:
    """Two segments of up to 3 steps; the second has one step. Places behind its end hold zeros, as gathered."""
    columns = {
        "observation": torch.tensor([[1, 2, 3, 4], [5, 6, 0, 0]]),
        "action": torch.tensor([[1, 2, 3], [4, 0, 0]]),
        "reward": torch.tensor([[1.0, 2.0, 3.0], [4.0, torch.nan, torch.nan]]),
        "duration_s": torch.ones(2, 3),
        "log_prob": torch.zeros(2, 3),
        "mask": torch.tensor([[True, True, True], [True, False, False]]),
        "terminated": torch.tensor([[False, False, False], [True, False, False]]),
        "truncated": torch.tensor([[False, True, False], [False, False, False]]),
    }
    return Segments.of(TrainBatch(columns, torch.tensor([2.0, 5.0]), torch.tensor([1.0, 7.0])))


def test_behind_its_end_a_segment_is_filled_with_its_last_step_and_final_observation(segments):
    assert segments.observations()["observation"].tolist() == [1, 2, 3, 4, 5, 6, 6, 6]
    steps = segments.steps()
    assert steps["observation"].tolist() == [1, 2, 3, 5, 5, 5]
    assert steps["action"].tolist() == [1, 2, 3, 4, 4, 4]


def test_a_segments_weights_apply_to_its_steps_and_to_nothing_behind_them(segments):
    steps = segments.steps()
    assert steps.loss_weight.tolist() == [2.0, 2.0, 2.0, 5.0, 0.0, 0.0]
    assert steps.weight_of_values.tolist() == [1.0, 1.0, 1.0, 7.0, 0.0, 0.0]
    assert steps["reward"][:, 0].tolist() == [1.0, 2.0, 3.0, 4.0, 0.0, 0.0]
    assert segments.count.item() == 4.0


def test_traces_stop_at_ends_and_at_the_segments_last_step(segments):
    assert segments.ended.tolist() == [[False, True, True], [True, True, True]]
    assert segments.terminated.tolist() == [[False, False, False], [True, False, False]]


def test_a_segments_priority_is_the_mean_error_of_its_steps(segments):
    error = torch.tensor([[1.0, -2.0, 3.0], [-4.0, 9.0, 9.0]])
    assert segments.priority(error).tolist() == [2.0, 4.0]
