"""The tanh-squashed Gaussian of soft actor-critic, in torch for the learner and in NumPy for actors. Pure functions, no I/O.

Actions are in units of [-1, 1] a dimension, and so are densities: a target entropy of minus the number of dimensions then means
the same whatever the bounds of the action space (Haarnoja et al. 2018, appendix C, with the change of variables of C.1).

Axes: B items, D action dimensions.
"""

import math

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

LOG_STD_RANGE = (-20.0, 2.0)  # Haarnoja et al.'s own code; the policy's spread stays representable
_LOG_2 = math.log(2.0)
_HALF_LOG_2_PI = 0.5 * math.log(2.0 * math.pi)


def squashed(mean: Tensor, log_std: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
    """The action tanh(mean + std noise) and the log of its density.

    mean, log_std, noise: float32[B, D], noise standard normal.  Returns action float32[B, D] and log_prob float32[B].
    log(1 - tanh(u)^2) is written 2 (log 2 - u - softplus(-2 u)), which stays exact where tanh rounds to 1.
    """
    before = torch.addcmul(mean, log_std.exp(), noise)  # u
    log_slope = 2.0 * (_LOG_2 - before - functional.softplus(-2.0 * before))
    log_prob = -0.5 * noise.square() - log_std - _HALF_LOG_2_PI - log_slope
    return before.tanh(), log_prob.sum(dim=1)


def squashed_numpy(mean: np.ndarray, log_std: np.ndarray, noise: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """`squashed` for arrays."""
    before = mean + np.exp(log_std) * noise
    log_slope = 2.0 * (_LOG_2 - before - np.logaddexp(0.0, -2.0 * before))
    log_prob = -0.5 * np.square(noise) - log_std - _HALF_LOG_2_PI - log_slope
    return np.tanh(before), log_prob.sum(axis=1, dtype=np.float32)
