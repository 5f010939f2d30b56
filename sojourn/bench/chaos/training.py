"""A real training run, by `sojourn train` or as single roles, with processes that can be killed; and what its replay holds.

Starts processes, a Ray of their own among them; all of them end with the run. Blocks for tens of seconds.
"""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

import numpy as np
import psutil

from replay.client import ServiceInfo, exported_rows, service_info
from replay.embedded import EmbeddedServer
from replay.rows import STEP
from sojourn.bench.load.ledger import PLACE_MASK
from sojourn.bench.load.shards import eventually
from sojourn.bench.load.steps import ACTOR_BITS, NUMBER
from sojourn.columns import Schema
from sojourn.config.load import dump_config, load_config
from sojourn.errors import SojournError, UnavailableError
from sojourn.monitor.scrape import Scraper
from sojourn.monitor.sums import buckets, quantile
from sojourn.roles import announced, announced_address
from sojourn.shard_list import FinalCounts, ShardList, read_shard_list

NAME = "run"
RUN_ID = "bench"
OBSERVED = 3  # numbers an observation
BEGUN_S = 120.0
ENDED_S = 20.0
INFO_S = 2.0
SETTINGS = (
    "environment.id=sojourn.bench.chaos.numbered:make",
    f"environment.extras=[{{name: {NUMBER}, dtype: int64}}]",
    f"run.name={NAME}",
    "run.env_steps=10_000_000",
    "network.hidden=[16]",
    "learners.batch_size=32",
    "learners.checkpoint_every_s=2",
    "tables.replay.capacity_steps=500_000",
    "tables.replay.limiter.min_size=100",
    "tables.replay.limiter.samples_per_insert=4",
    "actors.replicas=2",
    "actors.flush_age_s=0.2",
    "evaluation.every_env_steps=5_000_000",
    "evaluation.episodes=1",
)


class Holdings(NamedTuple):
    """What the replay holds. missing: steps within an environment's life.  doubled: further copies of steps.  steps: different ones.

    alike: further steps with the same observation; it is drawn at random, so that there are none unless two lives had one seed.
    """

    missing: int
    doubled: int
    steps: int
    alike: int


class TrainingRun:
    """One run in a folder of its own, over several lives of its processes. Use it as a context.

    singly: replay, parameters, learner and one actor as processes of their own, as containers start them, instead of `sojourn train`.
    """

    def __init__(self, overrides: Sequence[str] = (), *, singly: bool = False) -> None:
        self._overrides = (*SETTINGS, *overrides)
        self._singly = singly
        self._temporary = Path(tempfile.mkdtemp(prefix="sj-", dir="/tmp"))  # short: Ray's sockets lie below it
        self.folder = self._temporary / "runs" / NAME
        self._processes: dict[str, subprocess.Popen[bytes]] = {}

    def __enter__(self) -> "TrainingRun":
        try:
            if self._singly:
                self.folder.mkdir(parents=True)
                (self.folder / "config.yaml").write_text(dump_config(load_config(None, self._overrides)))
                for role in ("replay-0", "parameters-0", "actor-0", "learner-0"):
                    self.start_role(role)
            else:
                self.train()
            self.until_it_learns()
        except SojournError:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.kill_everything()
        for server in self.folder.glob("redis/*.json"):
            EmbeddedServer(
                self.folder, int(server.stem), appendfsync="no", memory_bytes=1 << 30, rewrite_min_bytes=1 << 30
            ).stop()
        shutil.rmtree(self._temporary, ignore_errors=True)

    def train(self) -> None:
        self._start("launcher", ["-m", "sojourn.cli", "train", *self._target(), f"run.folder={self._temporary / 'runs'}"])

    def resume(self) -> None:
        self._start("launcher", ["-m", "sojourn.cli", "resume", str(self.folder)])

    def start_role(self, role: str) -> None:
        """Start one role by itself."""
        name, _, index = role.rpartition("-")
        module = {"actor": "actors", "learner": "learners", "parameters": "sojourn.parameters"}.get(name, name)
        self._start(role, ["-m", module, "--run-folder", str(self.folder), "--run-id", RUN_ID, "--index", index])

    def _target(self) -> list[str]:
        environment, *others = self._overrides
        return [environment.partition("=")[2], *others]

    def _start(self, name: str, arguments: Sequence[str]) -> None:
        environment = {**os.environ, "TMPDIR": str(self._temporary)}
        with (self._temporary / f"{name}.log").open("ab") as log:
            self._processes[name] = subprocess.Popen([sys.executable, *arguments], env=environment, stdout=log, stderr=log)

    def until_it_learns(self, steps: int = 0) -> None:
        """Until more than so many further steps are accepted and the learner takes steps.

        Raises DeadlineError, or UnavailableError when a process ends instead.
        """
        accepted, learned = self.standing()
        eventually(lambda: self._is_beyond((accepted + steps, learned)), f"the run to learn; {self.last_words()}", BEGUN_S)

    def _is_beyond(self, before: tuple[int, int]) -> bool:
        for name, process in self._processes.items():
            if process.poll() is not None:
                raise UnavailableError(f"{name} has ended with {process.returncode}: {self.last_words()}")
        now = self.standing()
        return now[0] > before[0] and now[1] > before[1]

    def last_words(self) -> str:
        logs = [file.read_text(errors="replace").strip()[-300:] for file in self._temporary.glob("*.log")]
        return " | ".join(" ".join(log.split()) for log in logs)

    def standing(self) -> tuple[int, int]:
        """Accepted environment steps and learner steps as the replay shards know them; zeros while one does not answer."""
        infos = self.infos()
        if not infos:
            return 0, 0
        told: list[ServiceInfo | FinalCounts] = [*infos, *self._shards().gone.values()]
        return sum(one.env_steps for one in told), max(one.learner_step for one in told)

    def infos(self) -> list[ServiceInfo]:
        """Of every shard that may hold items; none while one of them does not answer, or recovers."""
        try:
            infos = [service_info(announced_address(self.folder, f"replay-{index}"), INFO_S) for index in self._shards().here]
        except SojournError:
            return []
        return [] if any(info.recovering for info in infos) else infos

    def _shards(self) -> ShardList:
        return read_shard_list(self.folder) or ShardList(1, 1)

    def scale(self, what: str, replicas: int) -> None:
        """`sojourn scale` of actors or replay. Raises UnavailableError with what it says if it refuses."""
        command = [sys.executable, "-m", "sojourn.cli", "scale", f"{what}={replicas}", "--run", str(self.folder)]
        ran = subprocess.run(command, capture_output=True, text=True, timeout=BEGUN_S, check=False)
        if ran.returncode != 0:
            raise UnavailableError(f"sojourn scale: {ran.stderr.strip()}")

    def actors(self) -> int:
        """Announced actors whose processes live."""
        names = [file.stem for file in (self.folder / "roles").glob("actor-*.json")]
        return sum(psutil.pid_exists(self.pid(name)) for name in names)

    def taking(self) -> int:
        """Replay shards that take inserts, once every shard answers; 0 before."""
        shards = read_shard_list(self.folder)
        return shards.taking if shards is not None and self.infos() else 0

    def acknowledgement_p99_s(self) -> float:
        """Of all messages of the actors that live, as their metrics publish it; 0 before the first."""
        with closing(Scraper(self.folder)) as scraper:
            return quantile(buckets(scraper.read(), "sojourn_actor_insert_ack_seconds"), 0.99) or 0.0

    def pid(self, role: str) -> int:
        """Of the role's latest life, 0 if it never began."""
        try:
            return announced(self.folder, role).pid
        except SojournError:
            return 0

    def kill(self, role: str) -> float:
        """kill -9. Returns when."""
        os.kill(self.pid(role), signal.SIGKILL)
        return time.monotonic()

    def kill_singly(self, role: str) -> float:
        """kill -9 of a role that was started singly. Returns when."""
        process = self._processes.pop(role)
        process.kill()
        process.wait()
        return time.monotonic()

    def end(self, role: str) -> float:
        """SIGTERM to a role that was started singly. Returns how long it took to end, after ENDED_S by kill -9."""
        process, began_s = self._processes.pop(role), time.monotonic()
        process.terminate()
        try:
            process.wait(ENDED_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        return time.monotonic() - began_s

    def kill_everything(self) -> float:
        """kill -9 of every process of the run, Redis and Ray among them. Returns when."""
        living = []
        for process in self._processes.values():
            if process.poll() is None:
                living += [*psutil.Process(process.pid).children(recursive=True), psutil.Process(process.pid)]
        for one in living:
            if one.is_running():
                one.kill()
        for process in self._processes.values():
            process.wait()
        psutil.wait_procs(living, ENDED_S)
        self._processes.clear()
        return time.monotonic()

    def holdings(self) -> Holdings:
        """Count what the replay holds. A consuming table lets the oldest go, and others may hold on to the chunks of what has gone; a killed
        environment's last steps were never acknowledged.

        Raises UnavailableError while a shard does not answer.
        """
        infos = self.infos()
        if not infos:
            raise UnavailableError("a replay shard does not answer")
        numbers, living, observations = [np.empty(0, np.int64)], [np.empty(0, np.int64)], [np.empty((0, OBSERVED), np.float32)]
        for info in infos:
            if not info.schema_json:
                continue  # no actor has come to this shard
            address, schema = announced_address(self.folder, f"replay-{info.shard_index}"), Schema.from_json(info.schema_json)
            for chunk in exported_rows(address, schema, info.tables[0].facts.name):
                steps = chunk.rows.kind & STEP > 0
                numbers.append(np.array(chunk.rows.columns[NUMBER][steps], np.int64))
                living.append(numbers[-1][np.isfinite(chunk.priority[steps])])
                observations.append(np.array(chunk.rows.columns["observation"][steps], np.float32))
        found = np.concatenate(numbers)
        evicts = sum(info.env_steps for info in infos) > len(np.unique(found))
        return holdings_of(found, np.concatenate(observations), np.concatenate(living) if evicts else None)


def holdings_of(numbers: np.ndarray, observations: np.ndarray, living: np.ndarray | None) -> Holdings:
    """numbers: int64[N] of the steps found.  observations: float32[N, features].

    living: those at which an item begins; what is older than these in its life may be gone. None: nothing is.
    """
    found, first, copies = np.unique(numbers, return_index=True, return_counts=True)
    missing = 0
    for life in np.unique(found >> ACTOR_BITS):
        places, last = _places(found, life), int(_places(found, life).max())
        oldest = 0 if living is None else int(_places(living, life).min(initial=last))
        missing += last + 1 - oldest - int(np.count_nonzero(places >= oldest))
    different = len(np.unique(observations[first], axis=0))
    return Holdings(missing, int((copies - 1).sum()), len(found), len(found) - different)


def _places(numbers: np.ndarray, life: int) -> np.ndarray:
    places: np.ndarray = numbers[numbers >> ACTOR_BITS == life] & PLACE_MASK
    return places
