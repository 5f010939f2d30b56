"""When does the policy go out, and under which version? Hands snapshots to the publisher; never waits for the network."""

import logging
import time
from collections.abc import Callable

from sojourn.algorithms import Policy
from sojourn.errors import DeadlineError
from sojourn.experience import ParameterSnapshot
from sojourn.metrics import Metrics
from sojourn.parameters.client import Publisher

LOG = logging.getLogger("sojourn.learners")

OnVersion = Callable[[int, int, bytes], None]
"""(learner step, policy version, safetensors bytes)"""


class Publication:
    """Publishes a policy every `every_s` seconds at most.

    The next snapshot is made when the one before has its version: so each version is known to be of one learner step, and what is
    sent is always fresh. While the service is away, one snapshot waits and the newest follows it.

    version: the newest policy version known, 0 for none.  published_step: learner step handed over last, -1 before the first.
    Not thread-safe.
    """

    def __init__(
        self,
        publisher: Publisher,
        algorithm: str,
        *,
        every_s: float,
        metrics: Metrics,
        version: int = 0,
        on_version: OnVersion | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """version: the newest that a checkpoint knew.  on_version: told of each publication that got its version."""
        self._publisher = publisher
        self._algorithm = algorithm
        self._every_s = every_s
        self._clock = clock
        self._known_version = version
        self._on_version = on_version
        self._under_way: tuple[int, int, bytes] | None = None  # learner step handed over, last version before that, tensors
        self.published_step = -1
        self._published_at_s = -float("inf")
        self._versions: list[tuple[int, int]] = []
        self._seconds = metrics.histogram("sojourn_learner_publish_seconds")
        self._count = metrics.counter("sojourn_learner_publications")

    @property
    def version(self) -> int:
        return max(self._known_version, self._publisher.last_version)

    def due(self, learner_step: int) -> bool:
        """Whether it is time, there is something new, and the last one has its version."""
        self._settle()
        waited = self._clock() - self._published_at_s >= self._every_s
        return waited and self._under_way is None and learner_step != self.published_step

    def publish(self, policy: Policy, learner_step: int, env_steps: int, *, trained: bool) -> None:
        """Hand a snapshot over.

        trained: False tells actors to draw uniform actions.  Raises what the service refuses for good.
        """
        started_s, before = self._clock(), self._publisher.last_version
        said_step = max(learner_step, 1) if trained else 0
        snapshot = ParameterSnapshot(0, said_step, env_steps, self._algorithm, policy.dump(), published_at_s=time.monotonic())
        self._publisher.publish(snapshot)
        self._under_way = (learner_step, before, snapshot.tensors)
        self.published_step, self._published_at_s = learner_step, started_s
        self._seconds.observe(self._clock() - started_s)
        self._count.inc()

    def flush(self, deadline_s: float) -> None:
        """Wait until the last one has its version, but not longer than `deadline_s`."""
        try:
            self._publisher.flush(deadline_s)
        except DeadlineError as error:
            LOG.warning("the last policy may not be published: %s", error)
        self._settle()

    def take_versions(self) -> tuple[tuple[int, int], ...]:
        """(learner step, policy version) of what was published since the last call."""
        self._settle()
        taken, self._versions = tuple(self._versions), []
        return taken

    def _settle(self) -> None:
        """Note the version of what was under way, if the service has answered."""
        if self._under_way is None:
            return
        learner_step, before, tensors = self._under_way
        version = self._publisher.last_version
        if version > before:
            self._versions.append((learner_step, version))
            if self._on_version is not None:
                self._on_version(learner_step, version, tensors)
            self._under_way = None
