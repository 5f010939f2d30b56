"""`sojourn train` and `sojourn resume`: a run under Ray, on this machine or on a cluster."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from sojourn.config import Config
from sojourn.errors import INTERRUPTED
from sojourn.launcher.drive import OnProgress, drive
from sojourn.launcher.guard import guarded
from sojourn.launcher.interrupts import Interrupts
from sojourn.launcher.leftovers import end_embedded_servers, forget_announcements
from sojourn.launcher.ray_session import RaySession, cluster_ray, local_ray, temporary_folder
from sojourn.launcher.validation import validate_all
from sojourn.logs import log_to
from sojourn.roles import announced_address
from sojourn.shard_list import shard_list

MISTAKE_S = 1.0  # most mistakes show up sooner; an environment that takes longer is made while Ray starts


def train(
    config: Config, run_folder: Path, *, run_id: str, address: str | None = None, on_progress: OnProgress | None = None
) -> int:
    """Run everything under Ray until the run is over. Returns the exit code, 130 after a second Ctrl-C.

    run_folder: made by `sojourn.run_folder`; what an earlier start left in it is gone on from.  run_id: its identity.
    address: None starts a Ray of its own on this machine; otherwise that of a cluster, "auto" or "host:port".
    on_progress: called about once a second, on another thread.
    Raises SojournError when the configuration cannot work or going on is hopeless; everything is stopped by then.
    """
    run_folder = run_folder.resolve()
    with Interrupts() as interrupts, log_to(run_folder / "logs" / "launcher.log"), ThreadPoolExecutor(1) as beside:
        try:
            mistakes = beside.submit(validate_all, config)
            if wait([mistakes], MISTAKE_S).done:
                mistakes.result()
            with guarded_ray(address, run_folder) as session:
                interrupts.install()
                mistakes.result()
                return _drive(config, run_folder, run_id, session, interrupts, on_progress)
        except KeyboardInterrupt:
            return INTERRUPTED
        finally:
            end_embedded_servers(run_folder)
            forget_announcements(run_folder)


@contextmanager
def guarded_ray(address: str | None, run_folder: Path) -> Iterator[RaySession]:
    """A cluster's Ray or a private one, of which a killed launcher leaves nothing behind."""
    if address:
        with guarded(run_folder), cluster_ray(address) as session:
            yield session
    else:
        folder = temporary_folder()
        with guarded(run_folder, folder), local_ray(folder) as session:
            yield session


def _drive(
    config: Config, run_folder: Path, run_id: str, session: RaySession, interrupts: Interrupts, on_progress: OnProgress | None
) -> int:
    """Imports of Ray come this late because its settings are read from the environment at import."""
    from sojourn.launcher.directory import directory_address, directory_shards, start_directory
    from sojourn.launcher.ray_roles import RayHost

    directory = start_directory(run_folder, run_id, session.node_id) if session.cluster else None
    find = partial(directory_address, run_id) if directory else partial(announced_address, run_folder)
    read = partial(directory_shards, run_id) if directory else partial(shard_list, run_folder)
    host = RayHost(session, config, run_folder, run_id)
    try:
        return drive(config, run_folder, host, find, read, interrupts, on_progress)
    finally:
        host.close()
