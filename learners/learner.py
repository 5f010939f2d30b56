"""How does a learner spend its time? Batch, update, priorities back; now and then a publication and a checkpoint.

The loop is a generator: whoever runs it decides when to stop. It waits for batches, for the other ranks of its group, and for shards and
disk while a checkpoint is made, and for nothing else.
"""

import logging
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace

import numpy as np
import torch

from learners import random_state
from learners.batches import LatePriorities, copying_stream, train_batch
from learners.checkpoints import Checkpoint, Checkpoints
from learners.duration_measures import DurationMeasures
from learners.lineage import LearnerLineage
from learners.measures import LearnerMeasures
from learners.publication import Publication
from learners.ranks import Group, One
from learners.table_cuts import TableCuts
from replay.client import LearnerConnection
from sojourn.algorithms import Algorithm
from sojourn.algorithms.base import weighs_policy_only
from sojourn.algorithms.captured import updates_of
from sojourn.checkpoint_folders import folder_name
from sojourn.checkpoint_requests import CheckpointRequests, Made
from sojourn.chosen_cut import ShardCut
from sojourn.columns import Schema
from sojourn.config import Config
from sojourn.errors import CheckpointError, DeadlineError
from sojourn.experience import Batch
from sojourn.metrics import Metrics

SAMPLE_WAIT_S = 0.2  # then the loop turns without an update, so that whoever runs it can stop it
FIRST_CHECKPOINTS_S = (
    1.0  # from a life's first checkpoint, right after its first update, to its second; each wait is twice the last
)
PUBLISH_DEADLINE_S = 3.0  # at the end, of the ten seconds in which a role must be gone

LOG = logging.getLogger("sojourn.learners")


@dataclass(frozen=True)
class LearnerParts:
    """What a learner works with.

    trained: the policy is worth acting by although learner_step may be 0 (run.init_from).  lineage: None where none is kept.
    requests: for a checkpoint now; None: nobody can ask.  group: of the learners that make every update together.
    """

    config: Config
    run_id: str
    schema: Schema
    algorithm: Algorithm
    connection: LearnerConnection
    publication: Publication
    checkpoints: Checkpoints
    device: torch.device
    metrics: Metrics
    trained: bool = False
    lineage: LearnerLineage | None = None
    requests: CheckpointRequests | None = None
    group: Group = field(default_factory=One)


class Learner:
    """One life of a learner.

    Invariant: a batch of a consuming table is reported consumed only once a checkpoint holds its update, so that one that is lost
    with this life is delivered again.
    """

    def __init__(self, parts: LearnerParts, clock: Callable[[], float] = time.monotonic) -> None:
        self._parts = parts
        self._clock = clock
        self._settings, self._group = parts.config.learners, parts.group
        table = parts.config.tables[self._settings.table]
        self._consumes, self._policy_only = table.consume, weighs_policy_only(table)
        self._measures = LearnerMeasures(parts.metrics)
        self._durations = DurationMeasures(parts.metrics, table, parts.schema.task_column)
        self._update = updates_of(parts.algorithm, parts.device, capture=self._settings.cuda_graphs)
        self._copying = copying_stream(parts.device)
        self._priorities = LatePriorities(parts.device)
        self._drawn: list[Batch] = []
        self._versions: list[tuple[int, int]] = []
        self._newest_version = parts.publication.version
        self._checkpoint_due_s = clock()
        self._checkpoint_wait_s = min(FIRST_CHECKPOINTS_S, self._settings.checkpoint_every_s)
        self._checkpointed_step = parts.algorithm.learner_step
        self._cuts: tuple[ShardCut, ...] = ()  # of the newest checkpoint of this life
        self._tables = TableCuts(parts.connection, parts.algorithm.learner_step)

    def steps(self, stopping: Callable[[], bool] = lambda: False) -> Iterator[int]:
        """Publish what is there, then learn until any rank is `stopping`.

        Yields the learner step after every update, which all ranks make together, and after a wait without one.
        Raises what the replay or parameter service refuses for good, UnavailableError when another rank has gone, and ConfigError when
        learning has broken down.
        """
        self._publish_if_due()
        batch: Batch | None = None
        while True:
            batch = self._next_batch() if batch is None else batch
            waiting, stop = self._group.agree(batch is None, stopping())
            if stop:
                return
            if batch is not None and not waiting:
                self._learn(batch)
                batch = None
            self._publish_if_due()
            self._checkpoint_if_due()
            if self._measures.due(self._clock()):
                self._look()
            yield self._parts.algorithm.learner_step

    def _next_batch(self) -> Batch | None:
        try:
            return self._parts.connection.sample(SAMPLE_WAIT_S)
        except DeadlineError:
            LOG.debug("no batch within %g s", SAMPLE_WAIT_S)
            return None

    def finish(self) -> None:
        """The end of this life: last priorities, last policy, last checkpoint. Raises CheckpointError if that cannot be written."""
        if update := self._priorities.take():
            self._parts.connection.update_priorities(update)
        if self._group.leads:
            if self._parts.publication.published_step != self._parts.algorithm.learner_step:
                self._publish()
            self._parts.publication.flush(PUBLISH_DEADLINE_S)
        if self._learned_since:
            self._checkpoint()
        self._look()

    @property
    def _learned_since(self) -> bool:
        """Whether there is something that no checkpoint holds."""
        return self._parts.algorithm.learner_step != self._checkpointed_step

    @property
    def _env_steps(self) -> int:
        return self._parts.connection.facts().env_steps

    def _learn(self, batch: Batch) -> None:
        started_s = self._clock()
        there = train_batch(batch, self._parts.device, policy_only=self._policy_only, stream=self._copying)
        update = self._update(there)
        if ready := self._priorities.exchange(batch, update.priority):
            self._parts.connection.update_priorities(ready)
        self._write_down(batch)
        if self._consumes:
            self._drawn.append(replace(batch, columns={}))
        self._parts.connection.report(self._parts.algorithm.learner_step, self._parts.publication.version)
        self._newest_version = max(self._parts.publication.version, int(batch.columns["policy_version"].max()))
        self._measures.updated(update, batch, self._clock() - started_s, self._newest_version)
        self._durations.updated(update, batch, self._newest_version)

    def _write_down(self, batch: Batch) -> None:
        """Of which items the update was made, those of the other ranks behind one's own."""
        if self._parts.config.lineage == "off":
            return
        keys, shards = self._group.gather(batch.info.key), self._group.gather(batch.info.shard)
        if self._parts.lineage is not None:
            self._parts.lineage.trained(self._parts.algorithm.learner_step, batch, np.concatenate(keys), np.concatenate(shards))

    def _publish_if_due(self) -> None:
        if self._group.leads and self._parts.publication.due(self._parts.algorithm.learner_step):
            self._publish()

    def _publish(self) -> None:
        algorithm = self._parts.algorithm
        trained = self._parts.trained or algorithm.learner_step > 0
        self._parts.publication.publish(algorithm.policy, algorithm.learner_step, self._env_steps, trained=trained)

    def _look(self) -> None:
        self._durations.look()
        self._measures.look(
            self._clock(),
            learner_step=self._parts.algorithm.learner_step,
            env_steps=self._env_steps,
            policy_version=max(self._newest_version, self._parts.publication.version),
        )

    def _checkpoint_if_due(self) -> None:
        """Where the leading rank finds it due, or somebody asks for one, all ranks make one together, and whoever asked is told."""
        requests, now_s = self._parts.requests, self._clock()
        names = requests.waiting(now_s) if requests is not None and self._group.leads else []
        due = self._group.leads and (bool(names) or now_s >= self._checkpoint_due_s)
        refused = "" if self._parts.algorithm.learner_step else "the learner has made no update yet"
        if any(self._group.agree(due)) and self._learned_since:
            try:
                self._checkpoint()
            except CheckpointError as error:
                refused = str(error)
                LOG.warning("no checkpoint at learner step %d, training goes on: %s", self._parts.algorithm.learner_step, error)
        if requests is not None and names:
            requests.answer(names, Made(folder_name(self._checkpointed_step), self._checkpointed_step, refused, self._cuts))

    def _checkpoint(self) -> None:
        """Have one written, then let go of the batches that it covers. Raises CheckpointError; the next one covers them then.

        A life's first checkpoints come early and ever further apart: a killed learner loses about half of a young life at most.
        """
        started_s = self._clock()
        self._checkpoint_due_s = started_s + self._checkpoint_wait_s
        self._checkpoint_wait_s = min(2.0 * self._checkpoint_wait_s, self._settings.checkpoint_every_s)
        if update := self._priorities.take():
            self._parts.connection.update_priorities(update)
        self._group.check(self._parts.algorithm)
        failure = self._write() if self._group.leads else None
        if any(self._group.agree(failure is not None)):
            self._parts.metrics.counter("sojourn_learner_checkpoint_failures").inc()
            raise failure or CheckpointError("rank 0 could not write it")
        self._checkpointed_step = self._parts.algorithm.learner_step
        for batch in self._drawn:
            self._parts.connection.consumed(batch)
        self._drawn.clear()
        metrics = self._parts.metrics
        metrics.counter("sojourn_learner_checkpoints").inc()
        metrics.gauge("sojourn_learner_checkpoint_step").set(self._checkpointed_step)
        metrics.histogram("sojourn_learner_checkpoint_seconds").observe(self._clock() - started_s)

    def _write(self) -> CheckpointError | None:
        """The leading rank's part: cut the tables and write. Returns why it could not."""
        learner_step = self._parts.algorithm.learner_step
        self._versions += self._parts.publication.take_versions()
        if self._parts.lineage is not None:
            self._parts.lineage.sync()
        cuts = self._tables.cut(learner_step, self._drawn)
        try:
            self._parts.checkpoints.save(self._state(cuts))
        except CheckpointError as error:
            return error
        self._cuts = cuts
        self._tables.written(learner_step)
        self._versions.clear()
        return None

    def _state(self, cuts: tuple[ShardCut, ...]) -> Checkpoint:
        """Of this moment; environment steps are those of the cuts, if all shards have one."""
        algorithm = self._parts.algorithm
        whole = not any(cut.reason for cut in cuts)
        return Checkpoint(
            run_id=self._parts.run_id,
            algorithm=self._parts.config.algorithm.name,
            learner_step=algorithm.learner_step,
            env_steps=sum(cut.env_steps for cut in cuts) if whole else self._env_steps,
            policy_version=self._parts.publication.version,
            publications=tuple(self._versions),
            schema=self._parts.schema,
            policy=algorithm.policy.dump(),
            state=algorithm.state(),
            random=random_state.capture(algorithm.generator),
            cuts=cuts,
        )
