"""The tanh-squashed Gaussian of soft actor-critic, in torch for the learner and compiled for actors. Pure functions, no I/O.

Actions are in units of [-1, 1] a dimension, and so are densities: a target entropy of minus the number of dimensions then means
the same whatever the bounds of the action space (Haarnoja et al. 2018, appendix C, with the change of variables of C.1).

Axes: B items, D action dimensions.
"""

import math

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from sojourn.kernels import kernel

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


@kernel
def squashed_numpy(moments: np.ndarray, noise: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """`squashed` for an actor.

    moments: means, then log standard deviations yet to be cut to LOG_STD_RANGE, float32[B, 2 D].  noise: float32[B, D], standard normal.
    Returns action float32[B, D] and log_prob float32[B]. Compiled: as seventeen array operations it took as long as the network.
    """
    items, dimensions = noise.shape
    action, log_prob = np.empty((items, dimensions), np.float32), np.empty(items, np.float32)
    for item in range(items):
        total = 0.0
        for place in range(dimensions):
            log_std = moments[item, dimensions + place]
            if log_std < LOG_STD_RANGE[0]:  # not min and max, which would hide a NaN
                log_std = LOG_STD_RANGE[0]
            elif log_std > LOG_STD_RANGE[1]:
                log_std = LOG_STD_RANGE[1]
            before = moments[item, place] + math.exp(log_std) * noise[item, place]
            softplus = max(-2.0 * before, 0.0) + math.log1p(math.exp(-2.0 * abs(before)))
            log_slope = 2.0 * (_LOG_2 - before - softplus)
            total += -0.5 * noise[item, place] ** 2 - log_std - _HALF_LOG_2_PI - log_slope
            action[item, place] = math.tanh(before)
        log_prob[item] = total
    return action, log_prob
