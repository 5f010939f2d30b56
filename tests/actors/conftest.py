"""Parts of an actor for tests: real policy, real environments; segments are taken from the rollout itself."""

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from actors.behaviour import BehaviourPolicy
from actors.board import LaneBoard
from actors.credits import StartGate
from actors.faults import Faults
from actors.lives import Seeds, count_life
from actors.measures import ActorMeasures
from actors.role import Actor
from actors.rollout import RolloutParts
from replay.client import LaneCounts, Pace, RunningAction
from sojourn.algorithms import build_algorithm, build_policy
from sojourn.config import Config
from sojourn.config.schema import EnvironmentSettings
from sojourn.environments import describe
from sojourn.experience import ParameterSnapshot, Segment
from sojourn.metrics import Metrics
from sojourn.parameters.client import Publisher
from sojourn.roles import RoleContext, parameters_address, replay_shards
from tests.waiting import DEADLINE_S, eventually

HERE = str(Path(__file__).parent)


@pytest.fixture(autouse=True)
def _importable_environments(monkeypatch: pytest.MonkeyPatch) -> None:
    """`acting_environments` can be imported here and in the processes of slots."""
    monkeypatch.syspath_prepend(HERE)


class HeldSnapshots:
    """Snapshots as a watcher hands them out; the test says which is newest."""

    def __init__(self, snapshot: ParameterSnapshot) -> None:
        self.newest = snapshot

    def latest(self) -> ParameterSnapshot:
        return self.newest

    def wait(self, after_version: int, timeout_s: float) -> ParameterSnapshot | None:
        return self.newest if self.newest.policy_version > after_version else None


@dataclass
class Acting:
    """A rollout's parts and what a test may change while it runs."""

    config: Config
    parts: RolloutParts
    snapshots: HeldSnapshots
    metrics: Metrics
    stop: threading.Event
    pace: Pace = field(default_factory=Pace)

    def counts(self, kind: str) -> int:
        return sum(getattr(lane.counts(), kind) for lane in self.parts.board.lanes)


def make_config(environment: dict[str, Any], **actors: Any) -> Config:
    """A configuration for the environment, with a small network."""
    kwargs = {key: environment.pop(key) for key in list(environment) if key not in EnvironmentSettings.model_fields}
    return Config.model_validate(
        {
            "environment": {"id": "acting_environments:make", "kwargs": kwargs, **environment},
            "actors": {"environments": 1, "segment_steps": 64, **actors},
            "network": {"hidden": [8]},
            "algorithm": "sac",
        }
    )


def make_acting(config: Config, *, learner_step: int = 1) -> Acting:
    """Parts of a default fleet's rollout with a freshly initialised policy of version 1."""
    schema = describe(config.environment, config)
    fleet = config.actors
    tensors = build_algorithm(config, schema, "cpu", 1).policy.dump()
    snapshots = HeldSnapshots(ParameterSnapshot(1, learner_step, 0, config.algorithm.name, tensors))
    metrics, stop = Metrics("actor"), threading.Event()
    measures = ActorMeasures(metrics)
    simulated = config.duration.clock == "env"
    board = LaneBoard(
        schema,
        config.environment,
        slots=fleet.environments,
        segment_steps=fleet.segment_steps,
        simulated_clock=simulated,
    )
    behaviour = BehaviourPolicy(build_policy(config, schema), snapshots, np.random.default_rng(1), measures)
    assert behaviour.wait(stop)
    seeds = iter(range(1, 10_000))
    parts = RolloutParts(
        schema=schema,
        environment=config.environment,
        fleet=fleet,
        board=board,
        behaviour=behaviour,
        gate=StartGate(lambda: made.pace, lambda: board.started),
        faults=Faults(config.environment.id, config.environment.faults_in_a_row),
        measures=measures,
        next_seed=lambda slot: next(seeds),
        stop=stop,
        simulated_clock=simulated,
    )
    made = Acting(config, parts, snapshots, metrics, stop)
    return made


def make_until(
    rollout: Iterator[Segment], enough: Callable[[list[Segment]], bool], deadline_s: float = DEADLINE_S
) -> list[Segment]:
    """Take segments until there are enough of them; fail at the deadline."""
    until_s = time.monotonic() + deadline_s
    segments: list[Segment] = []
    for segment in rollout:
        segments.append(segment)
        if enough(segments):
            return segments
        assert time.monotonic() < until_s, f"{len(segments)} segments and it is still not so"
    raise AssertionError("the rollout ended")


@pytest.fixture
def configured() -> Callable[..., Config]:
    return make_config


@pytest.fixture
def acting() -> Callable[..., Acting]:
    return make_acting


@pytest.fixture
def until() -> Callable[..., list[Segment]]:
    return make_until


class Sink:
    """Takes what an actor sends in place of the replay service. insert never blocks."""

    incarnation = 1

    def __init__(self) -> None:
        self.segments: list[Segment] = []
        self.lanes: list[LaneCounts] = []
        self.running: list[RunningAction] = []
        self.inserted = threading.Event()

    def insert(self, segment: Segment) -> None:
        self.segments.append(segment)
        self.inserted.set()

    def flush(self) -> None: ...

    def report(self, lanes: Sequence[LaneCounts], running: Sequence[RunningAction]) -> None:
        self.lanes = list(lanes)
        self.running += running

    def pace(self) -> Pace:
        return Pace()

    def drain(self, deadline_s: float) -> bool:
        return True

    def total(self, kind: str) -> float:
        return sum(getattr(lane, kind) for lane in self.lanes)


@dataclass
class RunningActor:
    """An actor on a thread of its own, with a sink in place of the service."""

    sink: Sink
    stop: threading.Event
    thread: Future[None]

    def end(self) -> None:
        """Wait for its end; raises what it raised."""
        self.thread.result(DEADLINE_S)


@pytest.fixture
def run_actor(tmp_path: Path) -> Iterator[Callable[[Config], RunningActor]]:
    """Start actors of a configuration, each with a policy of version 1; they are stopped at the end of the test."""
    started: list[RunningActor] = []
    pool = ThreadPoolExecutor()

    def start(config: Config) -> RunningActor:
        schema = describe(config.environment, config)
        tensors = build_algorithm(config, schema, "cpu", 1).policy.dump()
        snapshots = HeldSnapshots(ParameterSnapshot(1, 1, 0, config.algorithm.name, tensors))
        context = RoleContext(config, tmp_path, "run", "actor")
        sink = Sink()
        seeds = Seeds(context, count_life(tmp_path / "lives" / context.name))
        leaving = threading.Event()
        actor = Actor(context, config.actors, config.environment, schema, seeds, sink, snapshots, Metrics("actor"), leaving)
        running = RunningActor(sink, context.stop, pool.submit(actor.run, context.stop))
        started.append(running)
        return running

    yield start
    for running in started:
        running.stop.set()
    pool.shutdown()


class Roles:
    """Real roles of one run on threads of this process; addresses are found through the run folder."""

    def __init__(self, run_folder: Path) -> None:
        self.run_folder = run_folder
        self._pool = ThreadPoolExecutor()
        self._running: list[tuple[threading.Event, Future[None]]] = []

    def context(self, config: Config, role: str) -> RoleContext:
        return RoleContext(
            config,
            self.run_folder,
            "run",
            role,
            replay=replay_shards(config, self.run_folder).addresses,
            parameters=parameters_address(config, self.run_folder),
        )

    def start(
        self, run: Callable[[RoleContext], None], config: Config, role: str, **changed: Any
    ) -> tuple[threading.Event, Future[None]]:
        """Start a role and wait until it has announced itself. changed: fields of its context."""
        context = replace(self.context(config, role), **changed)
        running = context.stop, self._pool.submit(run, context)
        self._running.append(running)
        announcement = self.run_folder / "roles" / f"{context.name}.json"
        eventually(lambda: announcement.exists() or running[1].done())
        if running[1].done():
            running[1].result()
        return running

    def publish(self, config: Config, *, learner_step: int = 1, env_steps: int = 0, seed: int = 1) -> bytes:
        """Publish a freshly initialised policy; returns its tensors once the version is durable."""
        schema = describe(config.environment, config)
        tensors = build_algorithm(config, schema, "cpu", seed).policy.dump()
        publisher = Publisher(parameters_address(config, self.run_folder), run_id="run", client_id="learner-0")
        publisher.publish(ParameterSnapshot(0, learner_step, env_steps, config.algorithm.name, tensors))
        publisher.flush(DEADLINE_S)
        publisher.close()
        return tensors

    def end(self) -> None:
        """Stop roles in the reverse order of their starts; raises what one of them raised."""
        for stop, running in reversed(self._running):
            stop.set()
            running.exception(DEADLINE_S)
        self._pool.shutdown()


@pytest.fixture
def roles(tmp_path: Path) -> Iterator[Roles]:
    running = Roles(tmp_path)
    yield running
    running.end()
