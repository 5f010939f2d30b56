"""Adam against torch's own class, and what a gradient that is not finite leaves behind."""

import pytest
import torch
from torch import nn

from sojourn.algorithms.optimiser import Optimiser
from sojourn.errors import ContractError


def parameters() -> list[nn.Parameter]:
    generator = torch.Generator().manual_seed(0)
    return [nn.Parameter(torch.randn(4, 3, generator=generator)), nn.Parameter(torch.randn(3, generator=generator))]


def loss_of(ps: list[nn.Parameter], scale: float) -> torch.Tensor:
    return scale * ((ps[0] ** 2).sum() + (ps[1] ** 3).sum())


@pytest.mark.parametrize("max_norm", [None, 0.5])
def test_steps_equal_those_of_torchs_adam(max_norm):
    ours, theirs = parameters(), parameters()
    optimiser, reference = Optimiser(ours, 0.01, max_norm), torch.optim.Adam(theirs, lr=0.01, foreach=False, fused=False)
    for step in range(20):
        norm, skipped = optimiser.minimise(loss_of(ours, 1.0 + step))
        reference.zero_grad()
        loss_of(theirs, 1.0 + step).backward()
        expected_norm = nn.utils.clip_grad_norm_(theirs, max_norm or torch.inf)
        reference.step()
        torch.testing.assert_close(norm, expected_norm)
        assert skipped.item() == 0
    for mine, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(mine, other)


def test_weight_decay_is_that_of_torchs_adamw():
    ours, theirs = parameters(), parameters()
    optimiser, reference = Optimiser(ours, 0.01, None, 0.3), torch.optim.AdamW(theirs, lr=0.01, weight_decay=0.3, foreach=False)
    for _ in range(20):
        optimiser.minimise(loss_of(ours, 1.0))
        reference.zero_grad()
        loss_of(theirs, 1.0).backward()
        reference.step()
    for mine, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(mine, other)


@pytest.mark.parametrize("scale", [torch.nan, torch.inf])
def test_a_gradient_that_is_not_finite_changes_nothing_and_is_told(scale):
    ps = parameters()
    optimiser = Optimiser(ps, 0.01, 1.0)
    optimiser.minimise(loss_of(ps, 1.0))
    before = [tensor.clone() for tensor in (*ps, *optimiser.state_dict().values())]
    _, skipped = optimiser.minimise(loss_of(ps, scale))
    assert skipped.item() == 1
    for old, new in zip(before, (*ps, *optimiser.state_dict().values()), strict=True):
        assert torch.equal(old, new)


def test_a_restored_optimiser_goes_on_bit_by_bit():
    straight, resumed = parameters(), parameters()
    one = Optimiser(straight, 0.01, None)
    for _ in range(3):
        one.minimise(loss_of(straight, 1.0))
    with torch.no_grad():
        for mine, other in zip(resumed, straight, strict=True):
            mine.copy_(other)
    two = Optimiser(resumed, 0.01, None)
    two.load_state_dict({name: tensor.clone() for name, tensor in one.state_dict().items()})
    one.minimise(loss_of(straight, 1.0))
    two.minimise(loss_of(resumed, 1.0))
    assert all(torch.equal(mine, other) for mine, other in zip(resumed, straight, strict=True))


def test_the_state_of_other_parameters_is_refused():
    with pytest.raises(ContractError, match=r"moment.0 is \[4, 3\] there and \[2\] here"):
        Optimiser([nn.Parameter(torch.zeros(2))], 0.1, None).load_state_dict(Optimiser(parameters(), 0.1, None).state_dict())
