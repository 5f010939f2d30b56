"""What a learner measures, and when it looks: once a second, so that no update waits for the device to be read."""

import logging
import math
from collections import defaultdict
from collections.abc import Mapping

import torch
from torch import Tensor

from sojourn.algorithms import Update
from sojourn.errors import ConfigError
from sojourn.experience import Batch
from sojourn.metrics import Metrics, names_of

LOOK_EVERY_S = 1.0
BROKEN_DOWN_S = 30.0  # updates that were all skipped for so long will not be applied any more
_PREFIX = "sojourn_learner_"
_KNOWN = ("critic_loss", "actor_loss", "temperature_loss", "temperature", "entropy", "q_mean", "td_error")
SCALARS = (*_KNOWN, "critic_gradient_norm", "actor_gradient_norm", "clipped_ratio", "skipped")
"""Scalars of updates that have a gauge of their own; any other goes to `sojourn_learner_scalar`."""

LOG = logging.getLogger("sojourn.learners")


class LearnerMeasures:
    """The learner's series but for those of its connections. Clocks are handed in.

    Invariant: scalars wait on the device, unread, for at most a second of updates.
    """

    def __init__(self, metrics: Metrics) -> None:
        assert {_PREFIX + name for name in SCALARS} <= set(names_of("learner"))
        self._metrics = metrics
        self._waiting: dict[str, list[Tensor | float]] = defaultdict(list)
        self._looked_at_s = -math.inf
        self._applied_at_s = math.inf  # unknown before the first look at updates
        self._warned = False
        self._update_seconds = metrics.histogram("sojourn_learner_update_seconds")
        self._updates = metrics.counter("sojourn_learner_updates")
        self._lag = metrics.histogram("sojourn_learner_policy_lag_versions")
        for name in SCALARS:
            metrics.gauge(_PREFIX + name).set(math.nan)  # not 0: that would be a value

    def updated(self, update: Update, batch: Batch, seconds: float, newest_version: int) -> None:
        """Note one update. newest_version: policy version known when the batch was learned from."""
        for name, value in update.metrics.items():
            self._waiting[name].append(value)
        self._updates.inc()
        self._update_seconds.observe(seconds)
        acted = int(batch.columns["policy_version"].flat[0])  # one item a batch: a sample of what is learned from
        self._lag.observe(max(newest_version - acted, 0))  # a publication's answer may be behind the actors' news of it

    def due(self, now_s: float) -> bool:
        """Whether to look again."""
        return now_s - self._looked_at_s >= LOOK_EVERY_S

    def look(self, now_s: float, *, learner_step: int, env_steps: int, policy_version: int) -> None:
        """Set the gauges. Raises ConfigError when no update was applied for BROKEN_DOWN_S."""
        self._looked_at_s = now_s
        self._metrics.gauge("sojourn_learner_step").set(learner_step)
        self._metrics.gauge("sojourn_learner_env_steps").set(env_steps)
        self._metrics.gauge("sojourn_learner_policy_version").set(policy_version)
        updates = len(self._waiting.get("skipped", ()))
        means = read_means(self._waiting)
        self._waiting.clear()
        for name, mean in means.items():
            self._set(name, mean)
        if updates:
            self._judge(means, updates, now_s, learner_step)

    def _set(self, name: str, value: float) -> None:
        if name in SCALARS:
            self._metrics.gauge(_PREFIX + name).set(value)
        else:
            self._metrics.gauge("sojourn_learner_scalar").labels(name=name).set(value)

    def _judge(self, means: Mapping[str, float], updates: int, now_s: float, learner_step: int) -> None:
        """Tell of skipped updates once, and give up when there are no others."""
        skipped = round(means["skipped"] * updates)
        if skipped < updates or math.isinf(self._applied_at_s):
            self._applied_at_s = now_s
        if not skipped:
            return
        self._metrics.counter("sojourn_learner_skipped_updates").inc(skipped)
        if not self._warned:
            self._warned = True
            LOG.warning(
                "%d of %d updates before learner step %d were not applied: their gradients were not finite; further ones are counted",
                skipped,
                updates,
                learner_step,
            )
        if now_s - self._applied_at_s > BROKEN_DOWN_S:
            raise ConfigError(
                f"learning has broken down: all gradients before learner step {learner_step:,} were not finite for "
                f"{now_s - self._applied_at_s:.0f} s; lower algorithm.learning_rate, set algorithm.max_gradient_norm, or "
                "environment.normalise_reward: true"
            )


def read_means(waiting: Mapping[str, list[Tensor | float]]) -> dict[str, float]:
    """Mean of each name's scalars, read from the device in one go."""
    names = [name for name, values in waiting.items() if values]
    if not names:
        return {}
    means = [torch.stack([torch.as_tensor(value, dtype=torch.float32) for value in waiting[name]]).mean() for name in names]
    device = next((mean.device for mean in means if mean.device.type != "cpu"), torch.device("cpu"))
    return dict(zip(names, torch.stack([mean.to(device) for mean in means]).tolist(), strict=True))
