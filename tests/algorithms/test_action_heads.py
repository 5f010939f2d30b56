"""Stochastic heads: probabilities of stored actions by hand, draws that follow them."""

import math
from statistics import NormalDist

import numpy as np
import pytest
import torch
from gymnasium import spaces

from sojourn.algorithms import build_policy
from sojourn.algorithms.action_heads import Branches, ClippedGaussian, build_head
from sojourn.environments.match import ACTIONS
from sojourn.errors import ConfigError

OBSERVATION = spaces.Box(-1.0, 1.0, (3,), np.float32)


def gaussian(mean: float, std: float) -> ClippedGaussian:
    return ClippedGaussian(torch.tensor([[mean]]), torch.tensor([[math.log(std)]]))


def test_a_clipped_gaussian_has_density_inside_and_the_mass_beyond_on_its_bounds():
    found = [gaussian(0.5, 0.4).log_prob(torch.tensor([[a]])).item() for a in (-1.0, 0.2, 1.0)]
    law = NormalDist(0.5, 0.4)
    assert found == pytest.approx([math.log(p) for p in (law.cdf(-1.0), law.pdf(0.2), 1 - law.cdf(1.0))], rel=1e-4)


def test_a_mean_far_outside_keeps_finite_probabilities_and_gradients():
    mean = torch.tensor([[30.0]], requires_grad=True)
    for action in (-1.0, 0.0, 1.0):
        log_prob = ClippedGaussian(mean, torch.tensor([[-2.0]])).log_prob(torch.tensor([[action]]))
        (gradient,) = torch.autograd.grad(log_prob.sum(), mean)
        assert torch.isfinite(torch.cat((log_prob, gradient[0]))).all()


def test_the_expected_score_of_a_clipped_gaussian_is_zero():
    """What a policy gradient needs of a probability; the unclipped density at clipped actions would give -0.46 here."""
    mean = torch.full((400_000, 1), 0.8, requires_grad=True)
    distribution = ClippedGaussian(mean, torch.full_like(mean, math.log(0.5)))
    action = distribution.sample(np.random.default_rng(0)).detach()
    (score,) = torch.autograd.grad(distribution.log_prob(action).sum(), mean)
    assert score.mean().item() == pytest.approx(0.0, abs=4.3 * score.std().item() / len(score) ** 0.5)


def test_branches_are_independent_and_draws_follow_their_probabilities():
    probability = torch.tensor([[[0.7, 0.2, 0.1], [0.4, 0.6, 1e-30]]])
    branches = Branches(probability.log())
    assert branches.log_prob(torch.tensor([[2, 1]])).item() == pytest.approx(math.log(0.1 * 0.6))
    entropy = -sum(p * math.log(p) for p in (0.7, 0.2, 0.1, 0.4, 0.6))
    assert branches.entropy().item() == pytest.approx(entropy, rel=1e-5)
    assert branches.mode().tolist() == [[0, 1]]
    drawn = Branches(probability.log().expand(40_000, 2, 3)).sample(np.random.default_rng(0))
    shares = torch.stack([torch.bincount(drawn[:, d], minlength=3) / 40_000 for d in range(2)])
    torch.testing.assert_close(shares, probability[0], atol=0.01, rtol=0)


def test_choices_that_a_branch_lacks_are_never_drawn_and_leave_the_entropy_finite(make_schema):
    head = build_head(4, make_schema(OBSERVATION, spaces.MultiDiscrete([3, 2])), "ppo", 0.5)
    distribution = head(torch.randn(2_000, 4))
    assert distribution.sample(np.random.default_rng(0))[:, 1].max().item() == 1
    assert distribution.entropy().mean().item() == pytest.approx(math.log(3) + math.log(2), abs=1e-2)
    gradients = torch.autograd.grad(distribution.entropy().sum(), list(head.parameters()))
    assert all(torch.isfinite(gradient).all() for gradient in gradients)


@pytest.mark.parametrize("action", [*ACTIONS, "far"])
@pytest.mark.parametrize("learner_step", [0, 1])
def test_actors_say_the_log_probability_that_learners_find(make_config, make_schema, action, learner_step):
    """From learner step 0 on: a policy of this kind has no warm-up by uniform actions."""
    space = spaces.Box(np.float32([-3.0, 10.0]), np.float32([5.0, 11.0])) if action == "far" else ACTIONS[action]
    policy = build_policy(make_config(algorithm="ppo"), make_schema(OBSERVATION, space))
    observation = np.random.default_rng(0).uniform(-1, 1, (512, 3)).astype(np.float32)
    arguments = {"deterministic": False, "learner_step": learner_step, "env_steps": 0, "rng": np.random.default_rng(1)}
    acted = policy.act({"observation": observation}, **arguments)
    with torch.no_grad():
        distribution = policy.distribution(policy.encoder({"observation": torch.from_numpy(observation)}))
        stored = policy.head.stored({name: torch.from_numpy(leaf) for name, leaf in acted.action.items()})
        found = distribution.log_prob(stored).numpy()
    np.testing.assert_allclose(acted.log_prob, found, atol=1e-5)
    assert len(set(acted.log_prob.tolist())) > 1


def test_mixed_actions_are_refused_by_the_leaf(make_config, make_schema):
    mixed = spaces.Dict({"turn": spaces.Box(-1, 1, (1,)), "gear": spaces.Discrete(3)})
    with pytest.raises(ConfigError, match=r"ppo needs continuous actions, but 'action\.gear'"):
        build_policy(make_config(algorithm="ppo"), make_schema(OBSERVATION, mixed))


def test_the_score_is_the_gradient_of_the_log_probability():
    mean = torch.tensor([[0.2, -0.9, 0.99]], requires_grad=True)
    log_std = torch.log(torch.tensor([[0.5, 0.3, 0.2]]))
    action = torch.tensor([[-0.4, -1.0, 1.0]])  # one inside, two on bounds
    distribution = ClippedGaussian(mean, log_std)
    (by_mean,) = torch.autograd.grad(distribution.log_prob(action).sum(), mean)
    torch.testing.assert_close(distribution.score(action).detach(), by_mean * log_std.exp())
    logits = torch.tensor([[[0.3, -1.0, 0.0], [2.0, 0.0, 1.0]]], requires_grad=True)
    choices = torch.tensor([[2, 0]])
    (by_logits,) = torch.autograd.grad(Branches(logits.log_softmax(dim=2)).log_prob(choices).sum(), logits)
    torch.testing.assert_close(Branches(logits.log_softmax(dim=2)).score(choices).detach(), by_logits.flatten(1))


def test_the_mean_score_of_a_policys_own_actions_is_zero():
    distribution = ClippedGaussian(torch.full((20_000, 1), 0.8), torch.full((20_000, 1), -0.5))
    action = distribution.sample(np.random.default_rng(3))
    assert (action == 1.0).float().mean() > 0.3  # most of what is beyond lies on the bound
    assert abs(float(distribution.score(action).mean())) < 4.3 / 20_000**0.5
