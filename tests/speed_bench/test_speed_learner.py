"""The learner's rows: every precision is measured, and the share of the peak is of operations that an update really makes."""

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from sojourn.algorithms import build_algorithm
from sojourn.bench.speed.learner import SCENES, operations, random_batch
from sojourn.bench.speed.run import measure
from sojourn.bench.speed.steps import W1
from sojourn.config import Config


def test_each_precision_is_measured_beside_products_of_its_own():
    figures = {figure.name: figure for figure in measure("learner", SCENES, "test", quick=True)}
    assert list(figures) == ["sac-float32", "sac-float32-peak", "sac-bfloat16", "sac-bfloat16-peak"]
    assert all(0.0 < figures[f"sac-{precision}-peak"].median < 1.0 for precision in ("float32", "bfloat16"))


def test_operations_are_those_that_torch_counts():
    algorithm = build_algorithm(Config(), W1.schema, "cpu", 0)
    with FlopCounterMode(display=False) as counted:
        algorithm.update(random_batch(torch.Generator().manual_seed(0)))
    assert counted.get_total_flops() == pytest.approx(operations(), rel=0.01)
