"""What does a learner do from start to end? Waits for a schema, goes on from a checkpoint if there is one, learns, leaves."""

import logging
from contextlib import ExitStack

import torch

from learners.checkpoints import Checkpoints
from learners.learner import Learner, LearnerParts
from learners.lineage import open_lineage
from learners.publication import Publication
from learners.ranks import Group, learn_together, open_group
from learners.resuming import resume, start_from
from replay.client import LearnerConnection
from sojourn.algorithms import build_algorithm
from sojourn.algorithms.processor import set_up
from sojourn.checkpoint_requests import CheckpointRequests
from sojourn.columns import Schema
from sojourn.config import Config
from sojourn.errors import ConfigError, DeadlineError
from sojourn.metrics import Metrics
from sojourn.parameters.client import Publisher
from sojourn.roles import RoleContext
from sojourn.seeds import lane_seed

SCHEMA_WAIT_S = 0.2  # then it is looked whether to stop

LOG = logging.getLogger("sojourn.learners")


def run(context: RoleContext) -> None:
    """Learn until `context.stop` is set or `learners.steps` is reached; then publish, write a checkpoint and return.

    Raises ConfigError (the algorithm does not fit, there is no such device, learning has broken down), CheckpointError (a
    checkpoint is foreign, or the last one cannot be written), and what a service refuses for good.
    """
    config = context.config
    device = chosen_device(config, context.index)
    set_up(config.learners.threads)
    metrics = Metrics("learner")
    wanted = config.metrics
    metrics_address = f"{wanted.host}:{metrics.serve(wanted.host, wanted.port)}"
    with ExitStack() as stack:
        group = open_group(context, device, metrics_address, stack)
        if group is None:
            return
        connection = _connect(context, metrics)
        stack.callback(connection.close)
        schema = _schema(connection, context)
        if schema is None:
            return
        assert context.parameters is not None
        publisher = Publisher(context.parameters, run_id=context.run_id, client_id=context.name)
        stack.callback(publisher.close)
        learner = _make(context, schema, connection, publisher, device, metrics, stack, group)
        _learn(learner, context)


def chosen_device(config: Config, rank: int = 0) -> torch.device:
    """`learners.device`; auto is a GPU if there is one, and ranks that see the same GPUs take one each.

    Raises ConfigError for a GPU that is not there.
    """
    settings = config.learners
    name = ("cuda" if torch.cuda.is_available() else "cpu") if settings.device == "auto" else settings.device
    device = torch.device(name)
    if settings.replicas > 1 and device.type == "cuda" and device.index is None and torch.cuda.is_available():
        return torch.device("cuda", rank % torch.cuda.device_count())
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise ConfigError(f"learners.device: {name} is not there, torch sees {torch.cuda.device_count()} GPUs; write auto or cpu")
    return device


def _connect(context: RoleContext, metrics: Metrics) -> LearnerConnection:
    config = context.config
    return LearnerConnection(
        context.replay_shards().addresses,
        run_id=context.run_id,
        client_id=context.name,
        table=config.learners.table,
        table_settings=config.tables[config.learners.table],
        learner=config.learners,
        total_env_steps=config.run.env_steps,
        metrics=metrics,
        seed=lane_seed(config.run.seed, "learner draws", context.index, 0, 0),
        rank=context.index,
        world=config.learners.replicas,
        shards_now=context.shards,
    )


def _schema(connection: LearnerConnection, context: RoleContext) -> Schema | None:
    """What experience looks like, as soon as the first actor has said so; None if told to stop before."""
    while not context.stop.is_set():
        try:
            return connection.schema(SCHEMA_WAIT_S)
        except DeadlineError:
            continue
    return None


def _make(
    context: RoleContext,
    schema: Schema,
    connection: LearnerConnection,
    publisher: Publisher,
    device: torch.device,
    metrics: Metrics,
    stack: ExitStack,
    group: Group,
) -> Learner:
    """The learner, in the state of the newest checkpoint if there is one. stack: closes what it opens.

    Only the leading rank reads checkpoints and writes lineage: the others may be on machines that have neither.
    """
    config = context.config
    name = config.algorithm.name
    algorithm = build_algorithm(config, schema, str(device), lane_seed(config.run.seed, "learner", context.index, 0, 0))
    checkpoints = Checkpoints(context.run_folder / "checkpoints", config.learners.keep_checkpoints)
    checkpoint = checkpoints.newest() if group.leads else None
    if checkpoint is not None:
        resume(algorithm, checkpoint, run_id=context.run_id, name=name, schema=schema)
        LOG.info("goes on at learner step %d", algorithm.learner_step)
    elif config.run.init_from and group.leads:
        start_from(algorithm, config.run.init_from, config)
    learn_together(algorithm, group)
    if not group.leads:  # noise of its own, also behind a restart
        algorithm.generator.manual_seed(lane_seed(config.run.seed, "learner", context.index, 0, algorithm.learner_step))
    version = checkpoint.policy_version if checkpoint else 0
    every_s = config.learners.publish_every_s
    lineage = open_lineage(config, context.run_folder, context.run_id, algorithm, device, metrics) if group.leads else None
    if lineage is not None:
        stack.callback(lineage.close)
    published = lineage.published if lineage is not None else None
    publication = Publication(publisher, name, every_s=every_s, metrics=metrics, version=version, on_version=published)
    trained = bool(config.run.init_from)
    return Learner(
        LearnerParts(
            config,
            context.run_id,
            schema,
            algorithm,
            connection,
            publication,
            checkpoints,
            device,
            metrics,
            trained,
            lineage,
            CheckpointRequests(context.run_folder),
            group,
        )
    )


def _learn(learner: Learner, context: RoleContext) -> None:
    limit = context.config.learners.steps
    for learner_step in learner.steps(context.stop.is_set):
        if limit is not None and learner_step >= limit:
            break
    learner.finish()
