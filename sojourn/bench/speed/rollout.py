"""The rows of `sojourn bench rollout`: which part of what its environments can give does an actor bring to the replay service?

A real actor on one core, and on another a real replay service with its Redis, and a parameter service that learners publish to twice a second.
Rates are what the replay service has accepted. Blocks for minutes; starts and ends what it needs.
"""

import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path
from typing import Any

import psutil

from sojourn.algorithms import build_policy
from sojourn.bench.load.shards import RUN_ID, Shards, eventually
from sojourn.bench.row import Size
from sojourn.bench.speed.figure import APPEND_ONLY, INCLUSION, PRIORITISED, Row
from sojourn.bench.speed.run import Scene, Work
from sojourn.config import Config
from sojourn.environments import describe, make_environment
from sojourn.experience import ParameterSnapshot
from sojourn.parameters.client import Publisher
from sojourn.roles import parameters_address

SECONDS = 4.0  # of a turn of the actor; the bare simulator has half
SETTLE_S = 0.5  # until an actor that was held goes on as before
BARE_STEPS = 500  # between two looks at the clock
PUBLISH_EVERY_S = 0.5  # `learners.publish_every_s`
LOCKSTEP_SLOTS, SLOW_SLOTS, SLOW_MEAN_S = 8, 64, 0.05
SLOW_SECONDS = 15.0  # 19,000 lognormal actions: their mean is known to 1 %
END_S = 15.0  # an actor needs up to ten
STARTED_S = 300.0  # 64 processes import a simulator each
LOCKSTEP_SHARE, SLOW_SHARE = 0.65, 0.95
ON = (APPEND_ONLY, PRIORITISED, INCLUSION)


class Stage:
    """An actor that is collecting."""

    def __init__(self, config: Config, shards: Shards, pid: int, core: int, quicker: float) -> None:
        self._config, self._shards, self._pid, self._core = config, shards, pid, core
        self._quicker = quicker

    def lockstep(self) -> tuple[float, float, float]:
        """The actor's share of the bare simulator's rate on the same core, then both rates. Held between turns: others may want it."""
        os.kill(self._pid, signal.SIGSTOP)
        with on_cores({self._core}):
            bare = bare_rate(self._config, SECONDS / 2 / self._quicker)
        os.kill(self._pid, signal.SIGCONT)
        time.sleep(SETTLE_S)
        collected = self.rate(SECONDS)
        os.kill(self._pid, signal.SIGSTOP)
        return collected / bare, collected, bare

    def asynchronous(self) -> tuple[float, float]:
        """The share of what environments that never wait would give, and the rate."""
        collected = self.rate(SLOW_SECONDS)
        return collected * SLOW_MEAN_S / self._config.actors.environments, collected

    def rate(self, seconds: float) -> float:
        """Steps a second that the replay service accepts; it is waited for the first of them."""
        began_s, before = time.monotonic(), self._shards.env_steps()
        time.sleep(seconds / self._quicker)
        eventually(lambda: self._shards.env_steps() > before, "the actor's steps")
        return (self._shards.env_steps() - before) / (time.monotonic() - began_s)


def bare_rate(config: Config, seconds: float) -> float:
    """Steps a second of the environment alone, with random actions that were drawn before."""
    environment = make_environment(config.environment)
    environment.action_space.seed(0)
    actions = [environment.action_space.sample() for _ in range(BARE_STEPS)]
    environment.reset(seed=0)
    steps, began_s = 0, time.monotonic()
    while (elapsed_s := time.monotonic() - began_s) < seconds:
        for action in actions:
            _, _, terminated, truncated, _ = environment.step(action)
            if terminated or truncated:
                environment.reset()
        steps += BARE_STEPS
    environment.close()
    return steps / elapsed_s


@contextmanager
def on_cores(cores: Collection[int]) -> Iterator[None]:
    """Run the calling thread, and threads that it starts, on these cores alone."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cores)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def keep_on(cores: Collection[int], *pids: int) -> None:
    """Keep running processes, with all their threads and children, on these cores; before, they start on all that there are."""
    for pid in pids:
        process = psutil.Process(pid)
        for one in (process, *process.children(recursive=True)):
            for thread in one.threads():
                os.sched_setaffinity(thread.id, cores)


def stage(
    environment: dict[str, Any], slots: int, *, pinned: bool, rollout: str = "lockstep"
) -> Callable[[Size], AbstractContextManager[Stage]]:
    """An actor of so many environments. pinned: to one core, and the services to another; else all share what there is."""

    @contextmanager
    def opened(size: Size) -> Iterator[Stage]:
        limiter = {"samples_per_insert": None, "min_size": 1}
        table = {"capacity_steps": 200_000, "limiter": limiter}
        settings = {"environments": size.of(slots, 2), "rollout": rollout}
        config = Config.model_validate({"environment": environment, "actors": settings, "tables": {"replay": table}})
        cores = sorted(os.sched_getaffinity(0))
        ours, theirs = ({cores[-1]}, {cores[0]}) if pinned else (set(cores), set(cores))
        with tempfile.TemporaryDirectory(prefix="sojourn-bench-") as name, ExitStack() as ends:
            folder = Path(name)
            shards = ends.enter_context(Shards(folder, config))
            parameters = ends.enter_context(role("sojourn.parameters", folder))
            with on_cores(theirs):
                ends.enter_context(published(config, folder))
            pid = ends.enter_context(role("actors", folder))
            ends.callback(os.kill, pid, signal.SIGCONT)
            eventually(lambda: shards.env_steps() > 100 * config.actors.environments, "the actor", STARTED_S)
            keep_on(ours, pid)
            keep_on(theirs, shards.each[0].pid, parameters)
            with on_cores(theirs):
                yield Stage(config, shards, pid, max(ours), size.of(1, 20))

    return opened


@contextmanager
def role(module: str, folder: Path) -> Iterator[int]:
    """A role of the run, ended with SIGTERM; gives its pid."""
    with (folder / "logs" / f"{module}.log").open("wb") as log:
        arguments = ["--run-folder", str(folder), "--run-id", RUN_ID]
        process = subprocess.Popen([sys.executable, "-m", module, *arguments], stdout=log, stderr=log)
    try:
        yield process.pid
    finally:
        process.terminate()
        try:
            process.wait(END_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@contextmanager
def published(config: Config, folder: Path) -> Iterator[None]:
    """A policy is published again and again, as a learner does."""
    policy = build_policy(config, describe(config.environment, config))
    ended = threading.Event()

    def publish() -> None:
        step = 0
        while not ended.wait(PUBLISH_EVERY_S):
            step += 1
            publisher.publish(ParameterSnapshot(0, step, 0, "sac", policy.dump(), published_at_s=time.monotonic()))

    publisher = Publisher(parameters_address(config, folder), run_id=RUN_ID, client_id="learner-0")
    thread = threading.Thread(target=publish)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
        publisher.close()


LOCKSTEP = Work(
    (
        Row(
            name="lockstep-share",
            what=f"a lockstep actor of {LOCKSTEP_SLOTS} HalfCheetah-v5, 256 x 256 policy, of the bare simulator's rate on that core",
            unit="x",
            target=LOCKSTEP_SHARE,
            on=ON,
        ),
        Row(name="lockstep", what="its steps a second, accepted by the replay service", unit="steps/s", on=ON),
        Row(name="bare", what="the bare simulator, random actions, the same core", unit="steps/s", on=()),
    ),
    Stage.lockstep,
)
ASYNCHRONOUS = Work(
    (
        Row(
            name="asynchronous-share",
            what=f"an asynchronous actor of {SLOW_SLOTS} SlowSteps, lognormal around 50 ms, of what they could give",
            unit="x",
            target=SLOW_SHARE,
            on=ON,
        ),
        Row(name="asynchronous", what="its steps a second, accepted by the replay service", unit="steps/s", on=ON),
    ),
    Stage.asynchronous,
)
SLOW_STEPS = {"id": "sojourn/SlowSteps-v0", "kwargs": {"mean_s": SLOW_MEAN_S}}
SCENES = (
    Scene(stage({"id": "HalfCheetah-v5"}, LOCKSTEP_SLOTS, pinned=True), (LOCKSTEP,)),
    Scene(stage(SLOW_STEPS, SLOW_SLOTS, pinned=False, rollout="asynchronous"), (ASYNCHRONOUS,)),
)
