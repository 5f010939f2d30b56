"""How does a peer take its turn beside ours? Its program runs for as long as our service does, and is told by a line what to measure."""

import json
import os
import selectors
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Generic, TypeVar

from benchmarks.peers.environments import python_of
from benchmarks.peers.peers import Peer
from sojourn.bench.row import Size
from sojourn.bench.speed.figure import Row
from sojourn.bench.speed.run import Scene, Work

PROGRAMS = Path(__file__).parent / "programs"
SECONDS = 2.0  # of a turn
ANSWER_S = 900.0  # the first turn fills a table
END_S = 30.0
CORES = os.sched_getaffinity(0)  # before a scene confines this process
SURROUNDINGS = {
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",  # on the loopback
    "RAY_AUTH_MODE": "disabled",
    "RAY_USAGE_STATS_ENABLED": "0",
    "CUDA_VISIBLE_DEVICES": "",
    "TF_CPP_MIN_LOG_LEVEL": "3",
    "XLA_FLAGS": "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1",
}
T = TypeVar("T")


class Program:
    """A peer's program while it runs."""

    def __init__(self, peer: Peer, quick: bool, log: Path) -> None:
        self._who, self._log = peer.who, log
        self._seconds = SECONDS / Size(quick).of(1, 10)
        answers, theirs = os.pipe()
        self._answers = os.fdopen(answers, "rb")
        command = [str(python_of(peer.environment)), str(PROGRAMS / peer.program), str(theirs), *(["--quick"] if quick else [])]
        with log.open("wb") as said:
            self._process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=said, stderr=said, pass_fds=[theirs], env={**os.environ, **SURROUNDINGS}
            )
        os.close(theirs)
        os.sched_setaffinity(self._process.pid, {max(CORES)} if peer.one_core else CORES)
        self._answer()

    def turn(self, row: str) -> list[float]:
        """What it measures at a row. Raises RuntimeError if it ends instead, or takes too long."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({"row": row, "seconds": self._seconds}).encode() + b"\n")
        self._process.stdin.flush()
        return list(json.loads(self._answer()))

    def _answer(self) -> bytes:
        with selectors.DefaultSelector() as selector:
            selector.register(self._answers, selectors.EVENT_READ)
            line = self._answers.readline() if selector.select(ANSWER_S) else b""
        if not line:
            raise RuntimeError(f"{self._who} gave no answer; its last words are in {self._log}")
        return line

    def end(self) -> None:
        """It ends when nobody can ask it any more."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            self._process.wait(END_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._answers.close()


@dataclass(frozen=True)
class Side(Generic[T]):
    """Our scene and the programs beside it, by peer."""

    ours: T
    programs: Mapping[str, Program]


def beside(scene: Scene[T], peers: Sequence[Peer], logs: Path) -> Scene[Side[T]]:
    """The scene with every peer that has a row of it: after each turn of ours comes one of theirs."""
    here = [peer for peer in peers if any(row.name in peer.rows for work in scene.works for row in work.rows)]

    @contextmanager
    def opened(size: Size) -> Iterator[Side[T]]:
        with ExitStack() as ends:
            ours = ends.enter_context(scene.opened(size))
            programs = {}
            for peer in here:
                programs[peer.who] = Program(peer, size.quick, logs / f"{Path(peer.program).stem}.log")
                ends.callback(programs[peer.who].end)
            yield Side(ours, programs)

    works: list[Work[Side[T]]] = []
    for work in scene.works:
        works.append(Work(work.rows, partial(_our_turn, work), work.who))
        works += [theirs for peer in here if (theirs := _their_work(work.rows, peer)) is not None]
    return Scene(opened, tuple(works))


def _our_turn(work: Work[T], at: Side[T]) -> Sequence[float]:
    return work.turn(at.ours)


def _their_work(rows: Sequence[Row], peer: Peer) -> Work[Side[T]] | None:
    """What of these rows the peer can be asked for."""
    asked = tuple(replace(row, target=None, shortfall="", on=peer.on) for row in rows if row.name in peer.rows)
    if not asked:
        return None
    return Work(asked, lambda at: at.programs[peer.who].turn(peer.rows[asked[0].name]), peer.who)
