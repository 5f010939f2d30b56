"""How does a run get the experience that it begins with (`replay.initial`)? A thread of the launcher sends it before actors start.

Reads files and uses the network, on a thread of its own.
"""

import logging
import threading
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from pathlib import Path

from sojourn.config import Config
from sojourn.errors import UnavailableError
from sojourn.launcher.wiring import Edges

LOG = logging.getLogger(__name__)

LEAVE_S = 10.0


class Loading:
    """The sending under way.

    Invariant: `over` is True once, when it has ended; what went wrong is raised by the call that would say so.
    """

    def __init__(self, config: Config, run_folder: Path, edges: Edges) -> None:
        self._config, self._run_folder, self._edges = config, run_folder, edges
        self._stop = threading.Event()
        self._ended: Future[None] = Future()
        self._thread = threading.Thread(target=self._run, name="initial experience", daemon=True)
        self._thread.start()

    def over(self) -> bool:
        """Whether all of it is stored. Raises what the source or the service refused."""
        if not self._ended.done():
            return False
        self._ended.result()
        return True

    def close(self) -> None:
        self._stop.set()
        self._thread.join(LEAVE_S)

    def _run(self) -> None:
        try:
            self._load()
            self._ended.set_result(None)
        except BaseException as error:  # noqa: BLE001  raised again by `over`
            self._ended.set_exception(error)

    def _load(self) -> None:
        from replay.initial import Beginning, load_initial
        from replay.initial_source import initial_source
        from sojourn.environments import describe

        config, name = self._config, self._config.replay.initial
        source, schema = initial_source(name), describe(config.environment, config)
        source.check(schema)
        if source.lacks_durations:
            LOG.warning(
                "%s tells no durations: each of its actions counts as %g s (duration.time_unit_s)",
                name,
                config.duration.time_unit_s,
            )
        shards = self._edges.replay_shards()
        beginning = Beginning(name, source, schema, shards.addresses, shards.taking, "", config.duration.time_unit_s, self._stop)
        LOG.info("%s is sent to the replay service; actors wait for it", name)
        try:
            record = load_initial(self._run_folder, beginning)
        except UnavailableError:
            if not self._stop.is_set():
                raise
        else:
            LOG.info(
                "%d steps of %s are %s",
                record.steps,
                name,
                "in" if record.finished else "looked at, and the rest is left to a resume",
            )


@contextmanager
def beginning(config: Config, run_folder: Path, edges: Edges) -> Iterator[Loading | None]:
    """Send what is not stored yet while inside; None where there is nothing to send."""
    if not wants_initial(config, run_folder):
        yield None
        return
    loading = Loading(config, run_folder, edges)
    try:
        yield loading
    finally:
        loading.close()


def wants_initial(config: Config, run_folder: Path) -> bool:
    """Whether the run is to begin with experience and may not have it yet. At level `memory` only the service knows."""
    if not config.replay.initial:
        return False
    from replay.initial import read_record

    record = read_record(run_folder)
    return record is None or not record.finished or config.replay.durability == "memory"
