"""How many steps and batches go through one replay shard in a second?

Real service, real clients, real durable tier, each in its own process; experience has HalfCheetah's shapes. Starts and ends what
it needs and leaves nothing behind. `python benchmarks/replay_throughput.py --help` lists what can be varied.
"""

import argparse
import multiprocessing
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing.synchronize import Event
from pathlib import Path

import gymnasium as gym
import numpy as np

from replay.client import ActorConnection, LearnerConnection, ServiceInfo, service_info
from sojourn.columns import Schema, space_to_json
from sojourn.config import Config
from sojourn.config.load import dump_config
from sojourn.config.schema import FleetSettings, LimiterSettings, ReplaySettings, TableDurationSettings, TableSettings
from sojourn.errors import UnavailableError
from sojourn.experience import EndKind, PriorityUpdate, Segment
from sojourn.launcher.leftovers import end_embedded_servers
from sojourn.roles import Address, announced_address

OBSERVATIONS, ACTIONS = 17, 6  # HalfCheetah-v5
RUN_ID = "benchmark"
SCHEMA = Schema(
    observation=space_to_json(gym.spaces.Box(-np.inf, np.inf, (OBSERVATIONS,), np.float64)),
    action=space_to_json(gym.spaces.Box(-1.0, 1.0, (ACTIONS,), np.float32)),
)


def main() -> None:
    """Fill a table, then measure inserts alone, samples alone, and both together."""
    given = arguments().parse_args()
    config = configuration(given)
    with tempfile.TemporaryDirectory(prefix="sojourn-bench-") as folder, served(config, Path(folder)) as address:
        print(f"{given.writers} writers, batches of {given.batch_size}, durability {given.durability}, {os.cpu_count()} cores")
        with writers(address, config, given.writers):
            wait_for_items(address, config.tables["replay"].limiter.min_size)
            report("inserts alone", *measured(address, given.seconds, None))
        with learner(address, config) as sampling:
            report("samples alone", *measured(address, given.seconds, sampling))
            with writers(address, config, given.writers):
                report("both", *measured(address, given.seconds, sampling))


def arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=8.0, help="of each measurement")
    parser.add_argument("--writers", type=int, default=2, help="actor connections, one process each")
    parser.add_argument("--batch-size", type=int, default=256)
    parser.add_argument("--segment-steps", type=int, default=64)
    parser.add_argument("--capacity-steps", type=int, default=500_000)
    parser.add_argument("--durability", choices=["memory", "process", "disk"], default="process")
    return parser


def configuration(given: argparse.Namespace) -> Config:
    table = TableSettings(
        capacity_steps=given.capacity_steps,
        limiter=LimiterSettings(samples_per_insert=None, min_size=10_000),
        duration=TableDurationSettings(weight="none"),
    )
    default = Config()
    return Config(
        tables={"replay": table},
        replay=ReplaySettings(durability=given.durability),
        learners=default.learners.model_copy(update={"batch_size": given.batch_size}),
        actors=default.actors.model_copy(update={"segment_steps": given.segment_steps}),
    )


@contextmanager
def served(config: Config, folder: Path) -> Iterator[Address]:
    """A replay shard in a process of its own, drained at the end."""
    (folder / "config.yaml").write_text(dump_config(config))
    command = [sys.executable, "-m", "replay", "--run-folder", str(folder), "--run-id", RUN_ID]
    service = subprocess.Popen(command)
    try:
        address = announced_address(folder, "replay-0")
        wait_for(address, lambda info: True, service)
        yield address
    finally:
        service.send_signal(signal.SIGTERM)
        service.wait(30)
        end_embedded_servers(folder)  # a service that failed has left its own behind


@contextmanager
def writers(address: Address, config: Config, count: int) -> Iterator[None]:
    """So many actors that insert as fast as the service takes it."""
    spawn = multiprocessing.get_context("spawn")
    stop = spawn.Event()
    target = address()
    processes = [spawn.Process(target=write, args=(target, config.actors, number, stop)) for number in range(count)]
    for process in processes:
        process.start()
    try:
        yield
    finally:
        stop.set()
        for process in processes:
            process.join(30)


def write(target: str, fleet: FleetSettings, number: int, stop: Event) -> None:
    """Insert segments until told to stop. Runs in a process of its own."""
    connection = ActorConnection(
        lambda: target, run_id=RUN_ID, client_id=f"actor-{number}", schema=SCHEMA, fleet=fleet, buffer_bytes=16_000_000
    )
    rng, sequence = np.random.default_rng(number), 0
    while not stop.is_set():
        connection.insert(segment(rng, fleet.segment_steps, sequence))
        sequence += fleet.segment_steps
    connection.close()


def segment(rng: np.random.Generator, steps: int, first_sequence: int) -> Segment:
    """An open segment of lane 0 with random contents."""
    return Segment(
        lane=0,
        first_sequence=first_sequence,
        episode=0,
        observation={"observation": rng.standard_normal((steps + 1, OBSERVATIONS), np.float32)},
        action={"action": rng.random((steps, ACTIONS), np.float32)},
        reward=rng.standard_normal(steps, np.float32),
        terminated=np.zeros(steps, np.bool_),
        truncated=np.zeros(steps, np.bool_),
        duration_s=np.full(steps, 0.001),
        started_at_s=np.full(steps, time.monotonic()),
        end_kind=np.full(steps, EndKind.COMPLETED, np.uint8),
        log_prob=np.zeros(steps, np.float32),
        policy_version=np.ones(steps, np.int64),
        closed=False,
    )


@contextmanager
def learner(address: Address, config: Config) -> Iterator[LearnerConnection]:
    connection = LearnerConnection(
        [address],
        run_id=RUN_ID,
        client_id="learner-0",
        table="replay",
        table_settings=config.tables["replay"],
        learner=config.learners,
        total_env_steps=config.run.env_steps,
    )
    try:
        yield connection
    finally:
        connection.close()


def measured(
    address: Address, seconds: float, sampling: LearnerConnection | None
) -> tuple[ServiceInfo, ServiceInfo, float, np.ndarray]:
    """Counts before and after, the time between them, and how long each `sample` took; priorities go back as in training."""
    rng, waits = np.random.default_rng(0), []
    before, started_s = service_info(address), time.monotonic()
    while (elapsed_s := time.monotonic() - started_s) < seconds:
        if sampling is None:
            time.sleep(seconds - elapsed_s)
            continue
        asked_s = time.monotonic()
        batch = sampling.sample(10.0)
        waits.append(time.monotonic() - asked_s)
        sampling.update_priorities(PriorityUpdate("replay", batch.info.key, rng.random(len(batch), np.float32), batch.info.shard))
    return before, service_info(address), time.monotonic() - started_s, np.array(waits)


def report(what: str, before: ServiceInfo, after: ServiceInfo, elapsed_s: float, waits_s: np.ndarray) -> None:
    steps = (after.env_steps - before.env_steps) / elapsed_s
    line = f"{what:14} {steps:10,.0f} steps/s acknowledged"
    if len(waits_s):
        batches = len(waits_s) / elapsed_s
        p50, p99 = np.percentile(waits_s, (50, 99)) * 1e3
        line += f"   {batches:8,.0f} batches/s   sample() p50 {p50:.2f} ms, p99 {p99:.2f} ms"
    print(line, flush=True)


def wait_for_items(address: Address, count: int) -> None:
    wait_for(address, lambda info: bool(info.tables) and info.tables[0].facts.items >= count)


def wait_for(
    address: Address,
    holds: Callable[[ServiceInfo], bool],
    service: subprocess.Popen[bytes] | None = None,
    deadline_s: float = 60.0,
) -> None:
    """Ask the service until something holds. Ends the benchmark if the service has ended or the deadline is over."""
    until_s = time.monotonic() + deadline_s
    while time.monotonic() < until_s:
        if service is not None and service.poll() is not None:
            sys.exit(f"the replay service ended with {service.returncode}")
        try:
            if holds(service_info(address)):
                return
        except UnavailableError:
            pass
        time.sleep(0.1)
    sys.exit("the replay service was not ready in time")


if __name__ == "__main__":
    main()
