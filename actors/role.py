"""What does an actor do from start to end? Steps environments with the latest policy and delivers what happened.

Threads: the rollout's own; the calling one, which watches it, reports once a tick and drains at the end; the clients' ones.
"""

import logging
import threading
import time
from collections.abc import Sequence
from contextlib import ExitStack, closing

import numpy as np
import torch

from actors.asynchronous import asynchronous
from actors.behaviour import BehaviourPolicy
from actors.board import LaneBoard
from actors.credits import StartGate
from actors.faults import Faults
from actors.first_look import first_look
from actors.lives import Seeds, home_of, life_of
from actors.lockstep import lockstep
from actors.measures import ActorMeasures
from actors.moving import LifeEnd
from actors.rollout import Rollout, RolloutParts
from actors.watchdog import Asked, Ending, Watch
from replay.client import ActorConnection, SpillSettings
from sojourn.algorithms import build_policy
from sojourn.columns import Schema
from sojourn.config import Config
from sojourn.config.schema import EnvironmentSettings, FleetSettings
from sojourn.environments import environment_version
from sojourn.errors import ConfigError, HungError, SojournError, UnavailableError
from sojourn.experience import Segment
from sojourn.metrics import Metrics
from sojourn.parameters.client import Watcher
from sojourn.roles import RoleContext

LOG = logging.getLogger("sojourn.actors")
ROLLOUTS: dict[str, Rollout] = {"lockstep": lockstep, "asynchronous": asynchronous}
DRAIN_S = 5.0  # of the ten seconds that SIGTERM leaves: GRACE_S, this, and the connection's own farewell


def run(context: RoleContext) -> None:
    """Collect experience until `context.stop` is set; then deliver what is there and return, within ten seconds.

    Raises EnvironmentFault when the environment is past hope, HungError when this process is of no more use, and what the
    connections raise when a service refuses this actor for good.
    """
    fleet, settings = fleet_of(context.config, context.fleet)
    torch.set_num_threads(fleet.threads)
    metrics = Metrics("actor")
    wanted = context.config.metrics
    context.announce(metrics=f"{wanted.host}:{metrics.serve(wanted.host, wanted.port)}")
    schema = first_look(settings, context.config, context.stop)
    if schema is None:
        return
    while _live(context, fleet, settings, schema, metrics):
        LOG.info("%s begins a new life on another shard", context.name)


def _live(context: RoleContext, fleet: FleetSettings, settings: EnvironmentSettings, schema: Schema, metrics: Metrics) -> bool:
    """One life on one shard. Returns whether another is to follow, since the actor belongs to another shard now."""
    with ExitStack() as stack:
        leaving, home = threading.Event(), home_of(context)
        connection = _connect(context, home, fleet, settings, schema, metrics, leaving)
        if connection is None:
            return False
        stack.callback(connection.close)
        assert context.parameters is not None
        watcher = Watcher(context.parameters, run_id=context.run_id, client_id=context.name)
        stack.callback(watcher.close)
        seeds = Seeds(context, life_of(context, context.replay_shards().addresses[home], connection.incarnation))
        actor = Actor(context, fleet, settings, schema, seeds, connection, watcher, metrics, leaving)
        end = LifeEnd(context, home, lambda: connection.pace().retired)
        actor.run(end)
        return end.moved and not context.stop.is_set()


def fleet_of(config: Config, name: str) -> tuple[FleetSettings, EnvironmentSettings]:
    """Settings of a fleet ("" is the default one) and of its environment. Raises ConfigError for an unknown fleet."""
    fleet = config.actors if not name else config.actors.fleets.get(name)
    if fleet is None:
        raise ConfigError(f"there is no fleet {name!r} in actors.fleets; known: {', '.join(config.actors.fleets) or 'none'}")
    return fleet, fleet.environment or config.environment


def _connect(
    context: RoleContext,
    home: int,
    fleet: FleetSettings,
    settings: EnvironmentSettings,
    schema: Schema,
    metrics: Metrics,
    leaving: threading.Event,
) -> ActorConnection | None:
    """Say hello to the shard of this life; None if the actor was told to stop before the shard answered."""
    shards = context.replay_shards()
    try:
        return ActorConnection(
            shards.addresses[home],
            run_id=context.run_id,
            client_id=context.name,
            schema=schema,
            fleet=fleet,
            buffer_bytes=context.config.actors.outage_buffer_bytes,
            spill=SpillSettings(context.run_folder / "spill", context.config.actors.outage_spill_bytes),
            environment_id=settings.id,
            environment_version=environment_version(settings.id),
            seed=context.config.run.seed,
            metrics=metrics,
            stop=leaving,
            give_up=context.stop,
            shards=shards.here,
        )
    except UnavailableError:
        if context.stop.is_set():
            return None
        raise


class Actor:
    """One life of an actor: its rollout, who watches it, and how it ends.

    Invariant: every action that was started is ended before `run` returns, and what has a row is delivered or reported lost.
    """

    def __init__(
        self,
        context: RoleContext,
        fleet: FleetSettings,
        settings: EnvironmentSettings,
        schema: Schema,
        seeds: Seeds,
        connection: ActorConnection,
        watcher: Watcher,
        metrics: Metrics,
        leaving: threading.Event,
    ) -> None:
        """leaving: set when this life ends; from then on nothing blocks."""
        self._name = context.name
        self._fleet = fleet
        self._settings = settings
        self._connection = connection
        self._leaving = leaving
        self._failure: BaseException | None = None
        self._measures = ActorMeasures(metrics)
        simulated_clock = context.config.duration.clock == "env"
        self._board = LaneBoard(
            schema, settings, slots=fleet.environments, segment_steps=fleet.segment_steps, simulated_clock=simulated_clock
        )
        self._behaviour = BehaviourPolicy(
            build_policy(context.config, schema), watcher, np.random.default_rng(seeds.of_policy()), self._measures
        )
        self._parts = RolloutParts(
            schema=schema,
            environment=settings,
            fleet=fleet,
            board=self._board,
            behaviour=self._behaviour,
            gate=StartGate(connection.pace, lambda: self._board.started),
            faults=Faults(settings.id, settings.faults_in_a_row),
            measures=self._measures,
            next_seed=seeds.next,
            stop=leaving,
            simulated_clock=simulated_clock,
        )

    def run(self, stop: Asked) -> None:
        """Collect until told to stop; raises what ended the rollout otherwise."""
        rollout = threading.Thread(target=self._collect, name=f"{self._name} rollout", daemon=True)
        rollout.start()
        watch = Watch(
            self._board,
            step_timeout_s=self._settings.step_timeout_s,
            own_process=self._fleet.rollout == "lockstep",
            report=self._report,
        )
        ending = watch.run(rollout, stop, self._leaving)
        overdue = self._board.overdue(self._settings.step_timeout_s, time.monotonic()) if ending is Ending.HUNG else []
        self._deliver_last(overdue)
        if ending is Ending.HUNG:
            where = f"step in slot {overdue[0]}" if overdue else "reset or close"
            raise HungError(
                f"environment {self._settings.id} has not returned from {where} within {self._settings.step_timeout_s:g} s; "
                "this process ends. If such steps are to be expected, set actors.rollout: asynchronous, which ends only the slot"
            )
        if self._failure is not None:
            raise self._failure

    def _collect(self) -> None:
        """The rollout's thread: every segment is handed to the connection."""
        try:
            if not self._behaviour.wait(self._leaving):
                return
            with closing(ROLLOUTS[self._fleet.rollout](self._parts)) as rollout:
                for segment in rollout:
                    self._insert(segment)
        except BaseException as error:  # noqa: BLE001  raised again by `run`, on the calling thread
            self._failure = error

    def _insert(self, segment: Segment) -> None:
        started_s = time.monotonic()
        self._connection.insert(segment)
        if len(segment) and started_s - segment.started_at_s[-1] >= self._fleet.flush_age_s:
            self._connection.flush()  # the row is old already
        self._measures.inserted(segment, time.monotonic() - started_s)

    def _report(self, now_s: float) -> None:
        """Tell the service and Prometheus where the lanes stand."""
        self._connection.report(*self._board.report(now_s))
        published_at_s = self._behaviour.published_at_s
        age_s = 0.0 if published_at_s is None else now_s - published_at_s
        self._measures.refresh(self._board, self._behaviour.policy_version, age_s, now_s)

    def _deliver_last(self, overdue: Sequence[int]) -> None:
        """End every lane, hand over what has a row, and wait until it is acknowledged."""
        now_s = time.monotonic()
        segments = self._board.take_over(now_s, limit_s=self._settings.step_timeout_s, overdue=overdue)
        try:
            for segment in segments:
                self._insert(segment)
        except SojournError as error:  # the service refuses this actor for good: the rest has nowhere to go
            self._failure = self._failure or error
        self._report(now_s)
        if not self._connection.drain(DRAIN_S):
            LOG.info("%s: the replay service did not acknowledge the last segments within %g s", self._name, DRAIN_S)
