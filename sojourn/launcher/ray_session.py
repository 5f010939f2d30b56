"""Ray for one run: a private one on this machine, on loopback and without a trace left behind, or a cluster's.

Starting takes 4 to 6 s, almost all of it waiting.
"""

import logging
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sojourn.errors import UnavailableError
from sojourn.launcher.leftovers import ending_descendants

LOG = logging.getLogger(__name__)
LOOPBACK = "127.0.0.1"
OBJECT_STORE_BYTES = 80_000_000  # about the least that Ray takes; no experience goes through it
SOCKET_NAME_BYTES = 75  # of "/session_<time>_<pid>/sockets/plasma_store" below the folder
MOST_SOCKET_BYTES = 107  # of a Unix socket address on Linux

LOCAL_ENVIRONMENT = {
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",  # a single node then stays on 127.0.0.1
    "RAY_AUTH_MODE": "disabled",  # nobody else reaches loopback; a token would be written into the home directory
    "RAY_USAGE_STATS_ENABLED": "0",  # nothing is sent home
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",  # one machine: the learner picks its GPU itself
    "RAY_kill_child_processes_on_worker_exit": "false",  # an embedded Redis outlives its shard, to be adopted by the next life
    "RAY_DISABLE_IMPORT_WARNING": "1",
}


@dataclass(frozen=True)
class RaySession:
    """A connected Ray. node_ip: this machine's address in it.  node_id: Ray's name for it.  cluster: not started by us.  gpus: in all."""

    node_ip: str
    node_id: str
    cluster: bool
    gpus: int


@contextmanager
def local_ray(folder: Path) -> Iterator[RaySession]:
    """A Ray of this process's own in a `temporary_folder`. Ends its processes and removes the folder afterwards."""
    os.environ.update(LOCAL_ENVIRONMENT)  # read by Ray's native parts, here and in the processes that it starts
    import ray  # its import reads the environment above

    try:
        with ending_descendants(ray.shutdown):
            ray.init(
                address="local",
                num_cpus=1,  # roles ask for none; this is how many workers Ray starts ahead
                include_dashboard=False,
                log_to_driver=False,
                logging_level=logging.ERROR,
                object_store_memory=OBJECT_STORE_BYTES,
                _temp_dir=str(folder),
            )
            _take_rays_words(ray)
            yield _session(cluster=False)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def cluster_ray(address: str) -> Iterator[RaySession]:
    """A running cluster, "auto" or "host:port". Raises UnavailableError when there is none."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    import ray

    try:
        ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR)
    except (ConnectionError, ValueError, RuntimeError) as error:
        raise UnavailableError(f"no Ray cluster at {address!r}: {error}; start one with `ray start --head`") from error
    _take_rays_words(ray)
    try:
        yield _session(cluster=True)
    finally:
        ray.shutdown()


def _take_rays_words(ray: Any) -> None:
    """Into our log instead of standard output: Ray prints a paragraph for each death of a role, whatever log_to_driver says."""

    def tell(said: dict[str, Any], **how: object) -> None:
        LOG.info("ray: %s", " ".join(said["lines"]))

    ray._private.worker.print_to_stdstream = tell


def temporary_folder() -> Path:
    """A new folder, short enough for the names of Ray's sockets in it."""
    base = tempfile.gettempdir()
    if len(os.fsencode(base)) + len("/sojourn-12345678") + SOCKET_NAME_BYTES > MOST_SOCKET_BYTES:
        base = "/tmp"
    return Path(tempfile.mkdtemp(prefix="sojourn-", dir=base))


def _session(cluster: bool) -> RaySession:
    import ray

    return RaySession(
        node_ip=ray.util.get_node_ip_address() if cluster else LOOPBACK,
        node_id=ray.get_runtime_context().get_node_id(),
        cluster=cluster,
        gpus=int(ray.cluster_resources().get("GPU", 0)),
    )
