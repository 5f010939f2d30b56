"""The squashed Gaussian's density against torch.distributions, against an integral, and where tanh saturates."""

import math

import numpy as np
import torch
from torch.distributions import Normal, TransformedDistribution
from torch.distributions.transforms import TanhTransform

from sojourn.algorithms.gaussian import LOG_STD_RANGE, squashed, squashed_numpy


def drawn(size: int, dimensions: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(5)
    mean, log_std, noise = torch.randn(3, size, dimensions, generator=generator, dtype=torch.float64)
    return mean, 0.5 * log_std, noise


def test_density_equals_that_of_the_transformed_distribution():
    mean, log_std, noise = drawn(64, 3)
    action, log_prob = squashed(mean, log_std, noise)
    reference = TransformedDistribution(Normal(mean, log_std.exp()), TanhTransform(cache_size=1))
    before = mean + log_std.exp() * noise
    torch.testing.assert_close(action, before.tanh())
    torch.testing.assert_close(log_prob, reference.log_prob(reference.transforms[0](before)).sum(1))


def test_density_integrates_to_one_over_the_actions():
    before = torch.linspace(-12, 12, 200_001, dtype=torch.float64)[:, None]
    mean, log_std = torch.tensor(0.4, dtype=torch.float64), torch.tensor(-0.3, dtype=torch.float64)
    noise = (before - mean) / log_std.exp()
    action, log_prob = squashed(mean.expand_as(noise), log_std.expand_as(noise), noise)
    assert abs(torch.trapezoid(log_prob.exp(), action[:, 0]).item() - 1.0) < 1e-6


def test_density_is_exact_where_tanh_rounds_to_one():
    mean, std, noise = 20.0, 1.0, 0.5
    _, log_prob = squashed(torch.tensor([[mean]]), torch.tensor([[math.log(std)]]), torch.tensor([[noise]]))
    slope = math.log(4.0) - 2.0 * (mean + std * noise)  # log(1 - tanh(u)^2) for large u
    expected = -0.5 * noise**2 - 0.5 * math.log(2 * math.pi) - slope
    assert abs(log_prob.item() - expected) < 1e-4


def test_an_actor_computes_what_a_learner_does():
    mean, log_std, noise = (tensor.to(torch.float32) for tensor in drawn(16, 4))
    mean[0], log_std[1], log_std[2] = 12.0, 5.0, -30.0  # far out, and beyond the range of spreads on either side
    action, log_prob = squashed(mean, log_std.clamp(*LOG_STD_RANGE), noise)
    action_np, log_prob_np = squashed_numpy(torch.cat((mean, log_std), dim=1).numpy(), noise.numpy())
    np.testing.assert_allclose(action_np, action.numpy(), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(log_prob_np, log_prob.numpy(), rtol=1e-4, atol=1e-5)
    assert action_np.dtype == log_prob_np.dtype == np.float32


def test_parameters_that_have_broken_down_are_not_hidden():
    for place in range(2):
        moments = np.zeros((1, 2), np.float32)
        moments[0, place] = np.nan
        action, log_prob = squashed_numpy(moments, np.ones((1, 1), np.float32))
        assert np.isnan(action).all()
        assert np.isnan(log_prob).all()
