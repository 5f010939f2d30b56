"""Algorithms by name, and how a role makes one.

    build_policy(config, schema)                       what actors and evaluators need
    build_algorithm(config, schema, device, seed)      what a learner needs

One outside the repository is named `package.module:attr` and is a subclass of `sojourn.algorithms.base.Algorithm`. No I/O.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import nn

from sojourn.algorithms.base import Acted, Algorithm, Policy, TrainBatch, Update
from sojourn.algorithms.dqn import Dqn
from sojourn.algorithms.ppo import Ppo
from sojourn.algorithms.sac import Sac
from sojourn.algorithms.vtrace import VTraceActorCritic
from sojourn.errors import ConfigError
from sojourn.networks.bodies import set_precision
from sojourn.plugins import resolve

if TYPE_CHECKING:
    from sojourn.columns import Schema
    from sojourn.config import Config

__all__ = ["ALGORITHMS", "Acted", "Algorithm", "Policy", "TrainBatch", "Update", "build_algorithm", "build_policy"]

ALGORITHMS: dict[str, type[Algorithm]] = {"sac": Sac, "dqn": Dqn, "vtrace": VTraceActorCritic, "ppo": Ppo}


def build_policy(config: Config, schema: Schema) -> Policy:
    """A policy with parameters yet to be loaded, on the CPU. Raises ConfigError where the algorithm does not fit the spaces."""
    policy = _chosen(config).make_policy(config, schema)
    return policy.eval()


def build_algorithm(config: Config, schema: Schema, device: str, seed: int) -> Algorithm:
    """An algorithm at learner step 0; equal seeds give equal parameters. Raises ConfigError as `build_policy` does.

    The global random state of torch is left as it was.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        algorithm = _chosen(config)(config, schema, device, seed)
    for module in (algorithm.policy, *algorithm.parts.values()):
        if isinstance(module, nn.Module):
            set_precision(module, getattr(torch, config.learners.precision))
    return algorithm


def _chosen(config: Config) -> type[Algorithm]:
    algorithm = resolve(config.algorithm.name, ALGORITHMS, "algorithm")
    if not (isinstance(algorithm, type) and issubclass(algorithm, Algorithm)):
        raise ConfigError(f"algorithm {config.algorithm.name!r} must be a subclass of sojourn.algorithms.base.Algorithm")
    return algorithm
