"""Watchers of a parameter service that act under each version as soon as they have it, in processes of their own.

They do what an actor does between two inferences: take the newest snapshot, load it, choose actions. Each tells when it had chosen.
"""

import multiprocessing
import multiprocessing.connection
import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from multiprocessing.connection import Connection

import numpy as np
import torch

from sojourn.algorithms import build_policy
from sojourn.bench.load.shards import RUN_ID
from sojourn.bench.speed.steps import W1
from sojourn.config import Config
from sojourn.errors import DeadlineError
from sojourn.parameters.client import Watcher
from sojourn.roles import fixed_address

SLOTS = 8  # observations that a watcher acts on
EACH = 16  # watchers of a process
LOOK_S = 0.2
READY_S = 120.0
ACTED_S = 60.0
END_S = 10.0


class Watching:
    """So many watchers. `acted` hears of each version from all of them."""

    def __init__(self, watchers: int, pipes: list[Connection]) -> None:
        self._watchers = watchers
        self._pipes = pipes

    def acted(self, version: int) -> list[float]:
        """When each watcher chose its first action under the version, on the monotonic clock. Raises DeadlineError if one does not."""
        at_s: list[float] = []
        until_s = time.monotonic() + ACTED_S
        while len(at_s) < self._watchers:
            ready = multiprocessing.connection.wait(self._pipes, until_s - time.monotonic())
            if not ready:
                raise DeadlineError(
                    f"{self._watchers - len(at_s)} watchers have not acted under version {version} in {ACTED_S:g} s"
                )
            told = [pipe.recv() for pipe in ready if isinstance(pipe, Connection)]
            at_s += [acted_at_s for acted, acted_at_s in told if acted == version]
        return at_s


@contextmanager
def watching(target: str, config: Config, watchers: int) -> Iterator[Watching]:
    """Start them; each has acted under the newest version there is when it begins."""
    with ExitStack() as ends:
        shares = [min(EACH, watchers - first) for first in range(0, watchers, EACH)]
        pipes = [ends.enter_context(_process(target, config, share, number))[0] for number, share in enumerate(shares)]
        for pipe, share in zip(pipes, shares, strict=True):
            for _ in range(share):
                _first(pipe)
        yield Watching(watchers, pipes)


@contextmanager
def silent(target: str, config: Config) -> Iterator[None]:
    """A watcher that has its stream and reads nothing more: its process is stopped."""
    with _process(target, config, 1, -1) as (pipe, pid):
        _first(pipe)
        os.kill(pid, signal.SIGSTOP)
        try:
            yield
        finally:
            os.kill(pid, signal.SIGCONT)


def _first(pipe: Connection) -> None:
    if not pipe.poll(READY_S):
        raise DeadlineError(f"a watcher has not acted within {READY_S:g} s")
    pipe.recv()


@contextmanager
def _process(target: str, config: Config, watchers: int, number: int) -> Iterator[tuple[Connection, int]]:
    """A process with so many watchers, and its pid."""
    spawn = multiprocessing.get_context("spawn")
    ours, theirs = spawn.Pipe()
    process = spawn.Process(target=_serve, args=(target, config, watchers, number, theirs), daemon=True)
    process.start()
    theirs.close()
    try:
        yield ours, process.pid or 0
    finally:
        with suppress(BrokenPipeError):  # it has ended early, and has said why
            ours.send("end")
        process.join(END_S)
        ours.close()


def _serve(target: str, config: Config, watchers: int, number: int, pipe: Connection) -> None:
    """Watch and act until told to end. Runs in a process of its own."""
    torch.set_num_threads(1)
    ended, telling = threading.Event(), threading.Lock()
    names = [f"watcher-{number}-{place}" for place in range(watchers)]
    threads = [threading.Thread(target=_act, args=(target, config, name, pipe, telling, ended)) for name in names]
    for thread in threads:
        thread.start()
    with suppress(EOFError):
        pipe.recv()
    ended.set()
    for thread in threads:
        thread.join()


def _act(target: str, config: Config, name: str, pipe: Connection, telling: threading.Lock, ended: threading.Event) -> None:
    policy, rng, version = build_policy(config, W1.schema), np.random.default_rng(0), 0
    observation = {"observation": W1.observation(rng, SLOTS)}
    watcher = Watcher(fixed_address(target), run_id=RUN_ID, client_id=name)
    while not ended.is_set():
        snapshot = watcher.wait(version, LOOK_S)
        if snapshot is None:
            continue
        policy.load(snapshot.tensors)
        policy.act(observation, deterministic=False, learner_step=1, env_steps=0, rng=rng)
        acted_at_s, version = time.monotonic(), snapshot.policy_version
        with telling:
            pipe.send((version, acted_at_s))
    watcher.close()
