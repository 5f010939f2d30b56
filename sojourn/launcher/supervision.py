"""Keeps a run's parts running, scales its actors, and ends everything in order. Blocks; one thread calls it.

The supervisor holds what is *wanted*; each turn starts what is missing, lets go what is too much, and decides about what failed.
"""

import logging
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from sojourn.config import Config
from sojourn.errors import DeadlineError, SojournError, UnavailableError
from sojourn.launcher.host import Ended, Host
from sojourn.launcher.restarts import Failure, GiveUp, decide
from sojourn.launcher.wiring import Part, actors, shards

TURN_S = 0.1
ASK_AGAIN_S = 1.0  # a role that died while it was stopping comes back without having heard
LEAVE_S = 15.0  # an actor that was scaled away may take so long to drain

LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class Stage:
    """Roles that end together, and how long they may take."""

    role: str
    deadline_s: float


STOP_ORDER = (
    Stage("actor", 12.0),  # they drain: nothing that was collected is lost
    Stage("learner", 15.0),  # publishes and checkpoints
    Stage("evaluator", 15.0),  # evaluates the final policy
    Stage("replay", 10.0),  # a last snapshot; ends its embedded server
    Stage("parameters", 5.0),
)


class Supervisor:
    """Invariant: every wanted part runs, waits for its next life, or is leaving; nothing else runs for longer than LEAVE_S."""

    def __init__(self, config: Config, parts: list[Part], host: Host, run_folder: Path) -> None:
        self._config = config
        self._host = host
        self._run_folder = run_folder
        self._edges = next(part.edges for part in parts if part.role == "learner")
        self._wanted = {part.name: part for part in parts}
        self._held_back: set[str] = set()
        self._running: dict[str, Part] = {}
        self._leaving: dict[str, float] = {}
        self._not_before_s: dict[str, float] = {}
        self._failures: dict[str, list[Failure]] = {}

    def hold_back(self, role: str) -> None:
        """Do not start parts of a role yet, so that others have the machine for themselves."""
        self._held_back.add(role)

    def release(self, role: str) -> None:
        """Start what was held back, at once: a run that is over in the same turn still has it to end."""
        if role in self._held_back:
            self._held_back.remove(role)
            self._reconcile(time.monotonic())

    def scale(self, replicas: Mapping[str, int]) -> None:
        """Want so many actors of each named fleet; the highest-numbered leave first."""
        kept = {name: part for name, part in self._wanted.items() if part.role != "actor" or part.fleet not in replicas}
        self._wanted = {**kept, **{part.name: part for part in actors(self._config, self._edges, replicas)}}

    def want_shards(self, numbers: Iterable[int]) -> None:
        """Want these replay shards of this run's own."""
        others = {name: part for name, part in self._wanted.items() if part.role != "replay"}
        self._wanted = {part.name: part for part in shards(numbers)} | others

    def turns(self) -> Iterator[list[str]]:
        """For ever: bring what runs closer to what is wanted. Yields names of parts that returned by themselves.

        Raises the SojournError that makes going on hopeless.
        """
        while True:
            self._reconcile(time.monotonic())
            returned = [self._take_ended(ended) for ended in self._host.ended(TURN_S)]
            yield [name for name in returned if name]

    def stop(self, order: tuple[Stage, ...] = STOP_ORDER) -> list[SojournError]:
        """End everything, stage by stage. Returns what roles raised while they ended."""
        raised: list[SojournError] = []
        for stage in order:
            raised += self._stop_stage(
                [name for name, part in self._running.items() if part.role == stage.role], stage.deadline_s
            )
        return raised

    def _reconcile(self, now_s: float) -> None:
        for name, part in self._wanted.items():
            if name not in self._running and part.role not in self._held_back and now_s >= self._not_before_s.get(name, 0.0):
                LOG.info("%s starts", name)
                self._running[name] = part
                self._host.start(part)
        for name in [name for name in self._running if name not in self._wanted]:
            if name not in self._leaving:
                LOG.info("%s is let go", name)
                self._leaving[name] = now_s + LEAVE_S
                self._host.ask_to_stop(name)
            elif now_s > self._leaving[name]:
                LOG.warning("%s did not drain within %g s", name, LEAVE_S)
                self._forget(name)

    def _take_ended(self, ended: Ended) -> str:
        """Note that a part's run came back. Returns its name if it returned by itself, "" otherwise."""
        left, failures = ended.name in self._leaving, self._failures.setdefault(ended.name, [])
        self._forget(ended.name)
        if left or ended.name not in self._wanted:
            return ""
        now_s = time.monotonic()
        if ended.error is None:
            self._not_before_s[ended.name] = now_s + ASK_AGAIN_S
            return ended.name
        failures.append(Failure(ended.error, now_s))
        decision = decide(ended.name, failures, str(log_file(self._run_folder, ended.name)), now_s)
        if isinstance(decision, GiveUp):
            raise decision.error from ended.error
        LOG.warning("%s failed, again in %.2f s: %r", ended.name, decision.after_s, ended.error)
        self._not_before_s[ended.name] = now_s + decision.after_s
        return ""

    def _stop_stage(self, names: list[str], deadline_s: float) -> list[SojournError]:
        raised: list[SojournError] = []
        end_s, ask_s = time.monotonic() + deadline_s, 0.0
        while (left := [name for name in names if name in self._running]) and (now_s := time.monotonic()) < end_s:
            if now_s >= ask_s:
                ask_s = now_s + ASK_AGAIN_S
                for name in left:
                    self._host.ask_to_stop(name)
            for ended in self._host.ended(TURN_S):
                self._forget(ended.name)
                if isinstance(ended.error, UnavailableError | DeadlineError):
                    LOG.warning("%s ended without its service: %s", ended.name, ended.error)
                elif isinstance(ended.error, SojournError):
                    raised.append(ended.error)
        for name in left:
            LOG.warning("%s did not stop within %g s", name, deadline_s)
            self._forget(name)
        return raised

    def _forget(self, name: str) -> None:
        self._host.remove(name)
        self._running.pop(name, None)
        self._leaving.pop(name, None)
        (self._run_folder / "roles" / f"{name}.json").unlink(missing_ok=True)


def log_file(run_folder: Path, name: str) -> Path:
    """Where a part's process writes what it has to say."""
    return run_folder / "logs" / f"{name}.log"
