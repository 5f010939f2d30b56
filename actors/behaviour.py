"""Which policy acts now: the latest published parameters, loaded between two inferences.

Uses torch through the policy; draws random numbers from its own generator; waits for the network only in `wait`.
"""

import math
import threading
import time
from typing import Protocol

import numpy as np

from actors.measures import ActorMeasures
from sojourn.algorithms import Acted, Policy
from sojourn.errors import ValidationError
from sojourn.experience import Columns, ParameterSnapshot

LOOK_S = 0.2  # how often a wait for the first version looks whether it should stop


class Snapshots(Protocol):
    """Where snapshots come from (`sojourn.parameters.client.Watcher`)."""

    def latest(self) -> ParameterSnapshot | None: ...

    def wait(self, after_version: int, timeout_s: float) -> ParameterSnapshot | None: ...


class BehaviourPolicy:
    """The policy that chooses actions, and which version of it.

    Invariant: `policy_version` is the version whose parameters are loaded, 0 before the first; it never goes back.
    """

    def __init__(self, policy: Policy, snapshots: Snapshots, rng: np.random.Generator, measures: ActorMeasures) -> None:
        self._policy = policy
        self._snapshots = snapshots
        self._rng = rng
        self._measures = measures
        self._loaded: ParameterSnapshot | None = None
        self.policy_version = 0

    @property
    def published_at_s(self) -> float | None:
        """Monotonic clock at which the parameters in use were published, None before the first."""
        return self._loaded.published_at_s if self._loaded else None

    def wait(self, stop: threading.Event) -> bool:
        """Block until a first version is loaded; False if `stop` was set before."""
        while self._loaded is None and not stop.is_set():
            snapshot = self._snapshots.wait(0, LOOK_S)
            if snapshot is not None:
                self._load(snapshot)
        return self._loaded is not None

    def act(self, observation: Columns) -> Acted:
        """Choose actions for B observations, leaves [B, ...], with the newest parameters there are.

        Raises ValidationError for actions that nobody may store: a policy that has broken down must not cost the rows of others.
        """
        started_s = time.monotonic()
        newest = self._snapshots.latest()
        if newest is not None and newest is not self._loaded:
            self._load(newest)
        assert self._loaded is not None
        acted = self._policy.act(
            observation,
            deterministic=False,
            learner_step=self._loaded.learner_step,
            env_steps=self._loaded.env_steps,
            rng=self._rng,
        )
        self._check_finite(acted)
        self._measures.inference(time.monotonic() - started_s)
        return acted

    def _check_finite(self, acted: Acted) -> None:
        for name, values in (("log_prob", acted.log_prob), *acted.action.items()):
            if values.dtype.kind != "f":
                continue
            flat = values.ravel()
            if not math.isfinite(flat.dot(flat)) and not np.isfinite(flat).all():  # the first alone may have overflowed
                raise ValidationError(
                    f"the policy of version {self.policy_version} chose {name} {flat[~np.isfinite(flat)][0]}: its parameters "
                    "have broken down. Go on from an earlier checkpoint with a lower learning rate"
                )

    def _load(self, snapshot: ParameterSnapshot) -> None:
        self._policy.load(snapshot.tensors)
        self._loaded = snapshot
        self.policy_version = snapshot.policy_version
