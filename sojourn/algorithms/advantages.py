"""Advantages and value targets of on-policy and V-trace learning, with the realised discount of every step. Pure torch, no I/O.

Time runs along the first axis: T steps, B sequences. `discount` is g_k, which already knows how long step k lasted
(sojourn/algorithms/targets.py); `reward` is c_k r_k. Three ends are kept apart: `terminated` stops the value behind a step;
`ended` (termination, truncation or the cut of a segment) stops the trace; behind a truncation or a cut stands `next_value`, the
value of the *final* observation. Source of all formulas: docs/duration.md, section "Objectives".
"""

from dataclasses import dataclass

import torch
from torch import Tensor


def gae(
    reward: Tensor, discount: Tensor, terminated: Tensor, ended: Tensor, value: Tensor, next_value: Tensor, trace: Tensor
) -> Tensor:
    """Generalised advantage estimates (Schulman et al. 2016, arXiv 1506.02438) on irregular durations.

        del_k = c_k r_k + g_k e_k V_{k+1} - V_k;    A_k = del_k + g_k lam_k (1 - end_k) A_{k+1}

    reward, discount, value, next_value, trace (lam_k): float32[T, B].  terminated, ended: bool[T, B], ended where terminated.
    Returns float32[T, B].
    """
    error = reward + torch.where(terminated, 0.0, discount * next_value) - value
    carried = torch.where(ended, 0.0, discount * trace)
    return _from_the_end(error, carried)


@dataclass(frozen=True)
class VTrace:
    """target: v_k for the value's regression.  advantage: of the policy gradient, rho_k included.  float32[T, B] each."""

    target: Tensor
    advantage: Tensor


def v_trace(
    reward: Tensor,
    discount: Tensor,
    terminated: Tensor,
    ended: Tensor,
    value: Tensor,
    next_value: Tensor,
    ratio: Tensor,
    trace: Tensor,
    rho_clip: float = 1.0,
    c_clip: float = 1.0,
) -> VTrace:
    """V-trace (Espeholt et al. 2018, arXiv 1802.01561, equation 1) on irregular durations.

        del_k = rho_k (c_k r_k + g_k e_k V_{k+1} - V_k)
        v_k   = V_k + del_k + g_k e_k lam_k min(cbar, ratio_k) (v_{k+1} - V_{k+1}),   v_{k+1} := V_{k+1} where the trace ended
        adv_k = rho_k (c_k r_k + g_k e_k v_{k+1} - V_k)

    ratio: pi(a|s) / behaviour probability, float32[T, B], > 0; rho_k = min(rho_clip, ratio_k).  Others as in `gae`.
    """
    rho = ratio.clamp(max=rho_clip)
    alive = torch.where(terminated, 0.0, discount)
    error = rho * (reward + alive * next_value - value)
    carried = torch.where(ended, 0.0, alive * trace * ratio.clamp(max=c_clip))
    correction = _from_the_end(error, carried)  # v_k - V_k
    behind = torch.cat((correction[1:], torch.zeros_like(correction[:1])))
    next_target = next_value + torch.where(ended, 0.0, behind)
    return VTrace(value + correction, rho * (reward + alive * next_target - value))


def _from_the_end(term: Tensor, carried: Tensor) -> Tensor:
    """x_k = term_k + carried_k x_{k+1}, nothing behind the last step.  float32[T, B] each."""
    found = torch.empty_like(term)
    behind = torch.zeros_like(term[0])
    for k in range(len(term) - 1, -1, -1):
        behind = term[k] + carried[k] * behind
        found[k] = behind
    return found


def normalised(advantage: Tensor, weight: Tensor) -> Tensor:
    """Advantages with weighted mean 0 and weighted deviation 1.

    The mean is weighted as the loss is: a plain one would be that of the collected steps, and the difference of the two would act
    as a reward for being collected.  advantage, weight (>= 0, 0 for steps that do not count): float32[N].  Returns float32[N].
    """
    total = weight.sum().clamp_min(1e-8)
    centred = advantage - (weight * advantage).sum() / total
    variance = (weight * centred.square()).sum() / total
    return centred / (variance.sqrt() + 1e-8)
