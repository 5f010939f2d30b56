"""Nothing that these tests import needs pydantic, Gymnasium, Redis or Ray (tests/setup/test_gpu_machine.py)."""

import pytest
import torch


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)
