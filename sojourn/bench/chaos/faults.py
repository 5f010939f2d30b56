"""What is a fault, and which processes of a stage can be killed or ended? Injected once, healed as far as it does not heal by itself.

Faults block for as long as they last. Nothing but the stage's own processes is touched.
"""

import threading
import time
from typing import Protocol

import numpy as np
import psutil

from sojourn.bench.chaos.server import tell_server
from sojourn.bench.chaos.stage import Stage
from sojourn.errors import DeadlineError, SojournError

ANSWERED_S = 60.0


class Fault(Protocol):
    """inject: it happens.  heal: it is over; returns the moment from which recovery is counted, on the monotonic clock.

    said: what a user sees of it, for the results.  broken: promises that it found broken.
    breaks_sessions: whether the learner has to connect again.  damages: whether rows that are named may be gone.
    """

    said: str
    broken: list[str]
    breaks_sessions: bool
    damages: bool

    def inject(self) -> None: ...

    def heal(self) -> float: ...


class StageFault:
    """A fault on a stage, at random moments of its own generator."""

    breaks_sessions = True
    damages = False

    def __init__(self, stage: Stage, rng: np.random.Generator) -> None:
        self.stage, self.rng = stage, rng
        self.said = ""
        self.broken: list[str] = []
        self.since_s = 0.0

    def heal(self) -> float:
        return self.since_s

    def hold(self, seconds: float) -> None:
        """Let it last."""
        threading.Event().wait(seconds)

    def tier_says(self) -> str:
        """What `sojourn status` shows of the durable tier."""
        try:
            return self.stage.shard.info().durable_tier
        except SojournError as error:
            return str(error)


class KillShard(StageFault):
    """kill -9 of the service's process; its Redis lives on."""

    def inject(self) -> None:
        self.since_s = self.stage.shard.kill()

    def heal(self) -> float:
        self.stage.shard.start()
        return self.since_s


class KillBetweenWriteAndAnswer(StageFault):
    """Redis has written and its answers are kept back: the service dies after the write, before the acknowledgement."""

    def inject(self) -> None:
        self.stage.wire.hold_answers()
        if not self.stage.wire.held.wait(ANSWERED_S):
            raise DeadlineError(f"Redis answered nothing within {ANSWERED_S:g} s")
        self.since_s = self.stage.shard.kill()

    def heal(self) -> float:
        self.stage.wire.pass_answers()
        self.stage.shard.start()
        return self.since_s


class KillRedis(StageFault):
    """kill -9 of the embedded server; every second time while it rewrites its append-only file."""

    breaks_sessions = False

    def inject(self) -> None:
        life = self.stage.shard.redis_life()
        assert life is not None
        rewrites = bool(self.rng.integers(2))
        if rewrites:
            tell_server(self.stage.shard.redis_socket, "BGREWRITEAOF")
            self.hold(float(self.rng.uniform(0.0, 0.2)))
        psutil.Process(life.pid).kill()
        self.since_s = time.monotonic()
        self.said = "killed while rewriting" if rewrites else "killed while appending"


class EndShard(StageFault):
    """SIGTERM to the service under load; a new one is started."""

    def inject(self) -> None:
        took_s = self.stage.shard.end()
        self.said = f"drained within {took_s:.1f} s"
        if took_s > 10.0:
            self.broken.append(f"draining took {took_s:.1f} s")
        self.since_s = time.monotonic()

    def heal(self) -> float:
        self.stage.shard.start()
        return self.since_s
