"""`sojourn train --serial`: the same parts on threads of this process, without Ray. The embedded Redis stays a real process.

For stepping through with a debugger and for machines where nothing may be started. A part that fails gets a new thread.
"""

import queue
import threading
from functools import partial
from pathlib import Path
from types import TracebackType

from sojourn.config import Config
from sojourn.errors import INTERRUPTED, ConfigError
from sojourn.launcher.drive import OnProgress, drive
from sojourn.launcher.guard import guarded
from sojourn.launcher.host import Ended
from sojourn.launcher.interrupts import Interrupts
from sojourn.launcher.leftovers import end_embedded_servers, forget_announcements
from sojourn.launcher.validation import validate_all
from sojourn.launcher.wiring import ENTRY, Part
from sojourn.logs import log_to
from sojourn.plugins import import_attribute
from sojourn.roles import RoleContext, announced_address
from sojourn.shard_list import shard_list


def serial(config: Config, run_folder: Path, *, run_id: str, on_progress: OnProgress | None = None) -> int:
    """As `sojourn.launcher.train`, on threads of this process."""
    run_folder = run_folder.resolve()
    with Interrupts() as interrupts, log_to(run_folder / "logs" / "serial.log"), guarded(run_folder):
        try:
            if config.learners.replicas > 1:
                raise ConfigError(
                    f"learners.replicas {config.learners.replicas} needs processes of their own: leave --serial away, or write 1"
                )
            validate_all(config)
            host = ThreadHost(config, run_folder, run_id)
            return drive(
                config,
                run_folder,
                host,
                partial(announced_address, run_folder),
                partial(shard_list, run_folder),
                interrupts,
                on_progress,
            )
        except KeyboardInterrupt:
            return INTERRUPTED
        finally:
            end_embedded_servers(run_folder)
            forget_announcements(run_folder)


class ThreadHost:
    """Parts as threads (`sojourn.launcher.host.Host`). Threads are daemons: one that does not return cannot hold the process."""

    def __init__(self, config: Config, run_folder: Path, run_id: str) -> None:
        self._config, self._run_folder, self._run_id = config, run_folder, run_id
        self._stops: dict[str, threading.Event] = {}
        self._ended: queue.SimpleQueue[tuple[threading.Event, Ended]] = queue.SimpleQueue()

    def start(self, part: Part) -> None:
        stop = self._stops[part.name] = threading.Event()
        threading.Thread(target=self._run, args=(part, stop), name=part.name, daemon=True).start()

    def ended(self, timeout_s: float) -> list[Ended]:
        try:
            stop, ended = self._ended.get(timeout=timeout_s)
        except queue.Empty:
            return []
        return [ended] if self._stops.get(ended.name) is stop else []  # else: a life that was given up before

    def ask_to_stop(self, name: str) -> None:
        self._stops[name].set()

    def remove(self, name: str) -> None:
        self._stops.pop(name).set()

    def _run(self, part: Part, stop: threading.Event) -> None:
        with _Reported(part.name, stop, self._ended):
            import_attribute(ENTRY[part.role], "role")(self._context(part, stop))

    def _context(self, part: Part, stop: threading.Event) -> RoleContext:
        return RoleContext(
            config=self._config,
            run_folder=self._run_folder,
            run_id=self._run_id,
            role=part.role,
            index=part.index,
            fleet=part.fleet,
            replay=part.edges.replay,
            parameters=part.edges.parameters,
            shards=part.edges.shards,
            ranks=part.edges.ranks,
            stop=stop,
        )


class _Reported:
    """Reports how the block inside ended, whatever it raised, to the supervisor's thread."""

    def __init__(self, name: str, stop: threading.Event, ended: "queue.SimpleQueue[tuple[threading.Event, Ended]]") -> None:
        self._name, self._stop, self._ended = name, stop, ended

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> bool:
        self._ended.put((self._stop, Ended(self._name, error)))
        return True
