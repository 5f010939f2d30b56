"""GAE and V-trace against the slow double sums of the papers, on irregular durations."""

import pytest
import torch

from sojourn.algorithms.advantages import gae, normalised, v_trace

T, B = 7, 5


@pytest.fixture
def steps():
    generator = torch.Generator().manual_seed(3)
    draw = lambda *shape: torch.rand(*shape, generator=generator, dtype=torch.float64)  # noqa: E731
    duration = 10 ** (3 * draw(T, B) - 2)  # 10 ms to 10 s
    terminated = draw(T, B) < 0.15
    ended = terminated | (draw(T, B) < 0.15)
    ended[-1] = True
    return {
        "reward": draw(T, B) - 0.5,
        "discount": 0.9**duration,
        "terminated": terminated,
        "ended": ended,
        "value": draw(T, B),
        "next_value": draw(T, B),
        "trace": 0.8**duration,
    }


def slow_sum(term, carried, k, b):
    """sum_j (prod_{i<j} carried_i) term_j from k on: O(T^2) over all k."""
    total, product = 0.0, 1.0
    for j in range(k, T):
        total += product * term[j, b].item()
        product *= carried[j, b].item()
    return total


def test_gae_equals_the_sum_of_discounted_errors(steps):
    found = gae(**steps)
    s = steps
    error = s["reward"] + s["discount"] * (~s["terminated"]) * s["next_value"] - s["value"]
    carried = s["discount"] * s["trace"] * (~s["ended"])
    for k in range(T):
        for b in range(B):
            assert found[k, b].item() == pytest.approx(slow_sum(error, carried, k, b), abs=1e-12)


def test_v_trace_equals_the_sum_of_the_paper(steps):
    ratio = 0.3 + 2 * torch.rand(T, B, generator=torch.Generator().manual_seed(4), dtype=torch.float64)
    found = v_trace(**steps, ratio=ratio, rho_clip=1.2, c_clip=0.9)
    s = steps
    rho, alive = ratio.clamp(max=1.2), s["discount"] * (~s["terminated"])
    error = rho * (s["reward"] + alive * s["next_value"] - s["value"])
    carried = alive * s["trace"] * ratio.clamp(max=0.9) * (~s["ended"])
    for k in range(T):
        for b in range(B):
            target = s["value"][k, b].item() + slow_sum(error, carried, k, b)
            assert found.target[k, b].item() == pytest.approx(target, abs=1e-12)
            behind = s["next_value"][k, b].item() if s["ended"][k, b] else None
            if behind is None:
                behind = s["next_value"][k, b].item() + slow_sum(error, carried, k + 1, b)
            advantage = rho[k, b] * (s["reward"][k, b] + alive[k, b] * behind - s["value"][k, b])
            assert found.advantage[k, b].item() == pytest.approx(advantage.item(), abs=1e-12)


def test_on_policy_v_trace_with_full_traces_is_the_n_step_return(steps):
    """Espeholt et al. 2018, remark 1: with ratios 1 the targets are the on-policy Bellman returns."""
    full = {**steps, "trace": torch.ones(T, B, dtype=torch.float64)}
    found = v_trace(**full, ratio=torch.ones(T, B, dtype=torch.float64))
    assert found.target == pytest.approx(full["value"] + gae(**full))
    assert found.advantage == pytest.approx(gae(**full))


def test_ratios_are_clipped_at_one_unless_told_otherwise(steps):
    found = v_trace(**steps, ratio=torch.full((T, B), 3.0, dtype=torch.float64))
    on_policy = v_trace(**steps, ratio=torch.ones(T, B, dtype=torch.float64))
    assert torch.equal(found.target, on_policy.target)
    assert torch.equal(found.advantage, on_policy.advantage)


def test_nothing_is_carried_from_behind_the_last_step():
    one, never = torch.ones(2, 1), torch.zeros(2, 1, dtype=torch.bool)
    found = gae(one, 0.5 * one, never, never, value=0 * one, next_value=10 * one, trace=one)
    assert found.tolist() == [[6.0 + 0.5 * 6.0], [6.0]]


def test_a_truncated_step_bootstraps_and_a_terminated_one_does_not():
    one = torch.ones(1, 2)
    flags = {"terminated": torch.tensor([[True, False]]), "ended": torch.tensor([[True, True]])}
    found = gae(reward=one, discount=0.5 * one, value=0 * one, next_value=10 * one, trace=one, **flags)
    assert found.tolist() == [[1.0, 6.0]]


def test_normalised_advantages_have_the_weighted_mean_zero_and_deviation_one():
    advantage, weight = torch.tensor([1.0, 5.0, 77.0]), torch.tensor([3.0, 1.0, 0.0])
    found = normalised(advantage, weight)  # mean 2, variance 3
    assert found[:2].tolist() == pytest.approx([-1 / 3**0.5, 3 / 3**0.5])
    assert normalised(advantage, 0.001 * weight).tolist() == pytest.approx(found.tolist())
