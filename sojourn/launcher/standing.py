"""Where does the run stand? Asks the replay shards and reads RUN/evaluations.jsonl. Blocks up to a second while a shard is down."""

import json
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from replay.client import ServiceInfo, service_info
from sojourn.errors import SojournError
from sojourn.launcher.rules import Standing
from sojourn.roles import ReplayShards
from sojourn.shard_list import FinalCounts

ASK_EVERY_S = 0.5
ANSWER_S = 1.0


class Gauge:
    """Follows a run's standing. Invariant: env_steps and learner_step never fall, whichever shard is down."""

    def __init__(self, replay: Callable[[], ReplayShards], run_folder: Path) -> None:
        """replay: tells the shards now."""
        self._replay = replay
        self._evaluations = run_folder / "evaluations.jsonl"
        self._began_s = time.monotonic()
        self._ask_at_s = 0.0
        self._env_steps: dict[int, int] = {}
        self._learner_step = 0
        self._read_bytes = self._evaluations.stat().st_size if self._evaluations.exists() else 0
        self._return_mean: float | None = None

    def standing(self) -> Standing:
        """The latest known standing, asked for anew at most every ASK_EVERY_S."""
        now_s = time.monotonic()
        if now_s >= self._ask_at_s:
            self._ask_shards()
            self._read_evaluations()
            self._ask_at_s = time.monotonic() + ASK_EVERY_S
        return Standing(now_s - self._began_s, sum(self._env_steps.values()), self._learner_step, self._return_mean)

    def _ask_shards(self) -> None:
        try:
            shards = self._replay()
        except SojournError:
            return  # nobody can tell at the moment
        for shard, counts in shards.gone.items():
            self._learn(shard, counts)
        for shard, address in shards.here.items():
            with suppress(SojournError):  # starting, or down for a moment: what it said last stands
                self._learn(shard, service_info(address, ANSWER_S))

    def _learn(self, shard: int, told: ServiceInfo | FinalCounts) -> None:
        self._env_steps[shard] = max(self._env_steps.get(shard, 0), told.env_steps)
        self._learner_step = max(self._learner_step, told.learner_step)

    def _read_evaluations(self) -> None:
        """Take in lines that this start of the run has added; an unfinished line waits."""
        try:
            with self._evaluations.open("rb") as file:
                file.seek(self._read_bytes)
                whole, newline, _ = file.read().rpartition(b"\n")
        except FileNotFoundError:
            return
        self._read_bytes += len(whole) + len(newline)
        for line in whole.splitlines():
            try:
                self._return_mean = float(json.loads(line)["return_mean"])
            except (ValueError, KeyError):
                continue  # a crash cut it short
