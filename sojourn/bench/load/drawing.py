"""A learner without a gradient: draws batch after batch and notes when each came. Its connection is a real one; one thread."""

import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import takewhile

from replay.client import LearnerConnection
from sojourn.bench.load.shards import RUN_ID
from sojourn.config import Config
from sojourn.errors import DeadlineError, SojournError
from sojourn.roles import Address

PATIENCE_S = 0.25
FIRST_S = 60.0


@dataclass(frozen=True)
class Arrival:
    """A batch that came. sessions: connections that had been made to shards by then."""

    at_s: float
    sessions: int


class Drawing:
    """Use it as a context. It draws, and takes each batch for consumed, until the end."""

    def __init__(self, addresses: Sequence[Address], config: Config, *, pause_s: float = 0.0, run_id: str = RUN_ID) -> None:
        """pause_s: between batches, the time of a gradient step."""
        self._addresses, self._config, self._pause_s, self._run_id = addresses, config, pause_s, run_id
        self._stop = threading.Event()
        self._came = threading.Condition()
        self._arrivals: list[Arrival] = []
        self._thread = threading.Thread(target=self._draw, name="load learner", daemon=True)
        self._connection: LearnerConnection | None = None
        self.batches = 0
        self.redelivered = 0
        self.fault: SojournError | None = None

    def __enter__(self) -> "Drawing":
        learners, table = self._config.learners, self._config.learners.table
        self._connection = LearnerConnection(
            self._addresses,
            run_id=self._run_id,
            client_id="learner-0",
            table=table,
            table_settings=self._config.tables[table],
            learner=learners,
            total_env_steps=self._config.run.env_steps,
        )
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
        if self._connection is not None:
            self._connection.close()

    @property
    def sessions(self) -> int:
        return self._connection.sessions if self._connection else 0

    def _draw(self) -> None:
        assert self._connection is not None
        while not self._stop.is_set():
            try:
                batch = self._connection.sample(PATIENCE_S)
            except DeadlineError:
                continue
            except SojournError as error:
                self.fault = error
                return
            self._connection.consumed(batch)
            self.redelivered += int(batch.info.redelivered.sum())
            with self._came:
                self._arrivals.append(Arrival(time.monotonic(), self._connection.sessions))
                self.batches += 1
                self._came.notify_all()
            self._stop.wait(self._pause_s)

    def wait_for_one_after(self, moment_s: float, sessions: int, timeout_s: float = FIRST_S) -> float | None:
        """When the first batch came after the moment, with at least so many connections made; None if none is in time.

        What was drawn ahead of a service's death still arrives after it, but before the learner connects again.
        """
        with self._came:
            self._came.wait_for(lambda: self._first(moment_s, sessions) is not None, timeout_s)
            return self._first(moment_s, sessions)

    def _first(self, moment_s: float, sessions: int) -> float | None:
        newest_first = reversed(self._arrivals)
        later = takewhile(lambda arrival: arrival.at_s > moment_s and arrival.sessions >= sessions, newest_first)
        return min((arrival.at_s for arrival in later), default=None)
