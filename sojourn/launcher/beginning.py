"""How does a run get the experience that it begins with (`replay.initial`)? A thread of the launcher sends it before actors start.

Reads files and uses the network, on a thread of its own.
"""

import threading
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from pathlib import Path

from sojourn.config import Config
from sojourn.launcher.wiring import Edges

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
        from replay.initial_record import FileRecord
        from replay.initial_sending import send_initial

        send_initial(self._config, FileRecord(self._run_folder), self._edges.replay_shards(), self._stop)


@contextmanager
def beginning(config: Config, run_folder: Path, edges: Edges) -> Iterator[Loading | None]:
    """Send what is not stored yet while inside; None where there is nothing to send."""
    if not config.replay.initial or not _may_lack_it(config, run_folder):
        yield None
        return
    loading = Loading(config, run_folder, edges)
    try:
        yield loading
    finally:
        loading.close()


def _may_lack_it(config: Config, run_folder: Path) -> bool:
    from replay.initial_record import FileRecord
    from replay.initial_sending import may_lack_initial

    return may_lack_initial(config, FileRecord(run_folder))
