"""Each role of a run as a Ray actor: a process that Ray starts, and starts again when it dies.

`run` is one long call, retried for ever by Ray when the process is gone (kill -9, a crash in native code); `stop` comes in
through a second concurrency group while `run` is under way. What a role *raises* goes to the supervisor instead.
"""

import faulthandler
import json
import os
import sys
import threading
import time
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any, cast

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from sojourn.config import Config
from sojourn.durable_files import replace_durably
from sojourn.launcher.directory import announce_to_directory
from sojourn.launcher.host import Ended
from sojourn.launcher.ray_session import LOOPBACK, RaySession
from sojourn.launcher.restarts import Lives
from sojourn.launcher.supervision import log_file
from sojourn.launcher.wiring import ENTRY, Part
from sojourn.logs import log_to_stderr
from sojourn.plugins import import_attribute
from sojourn.roles import RoleContext

PINNED = ("replay", "parameters", "evaluator")  # their files are in the run folder of the launcher's node
THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


@dataclass(frozen=True)
class Setting:
    """What all parts of a run share."""

    config: Config
    run_folder: Path
    run_id: str
    cluster: bool
    import_path: tuple[str, ...]  # the launcher's sys.path, for plug-ins beside the user's files


class RayRole:
    """One part in a process of its own."""

    def __init__(self, part: Part, setting: Setting) -> None:
        self._part, self._setting = part, setting
        self._stop = threading.Event()
        prepare_process(part, setting)

    def run(self) -> None:
        """Run the role until it is stopped. Raises what the role raises."""
        name, folder = self._part.name, self._setting.run_folder
        with _Life(folder, name) as life:
            self._stop.wait(life.wait_s)
            import_attribute(ENTRY[self._part.role], "role")(self._context())

    def stop(self) -> None:
        self._stop.set()

    def _context(self) -> RoleContext:
        part, setting = self._part, self._setting
        node_ip = ray.util.get_node_ip_address() if setting.cluster else LOOPBACK
        return RoleContext(
            config=reachable(setting.config, node_ip),
            run_folder=setting.run_folder,
            run_id=setting.run_id,
            role=part.role,
            index=part.index,
            fleet=part.fleet,
            replay=part.edges.replay,
            parameters=part.edges.parameters,
            shards=part.edges.shards,
            ranks=part.edges.ranks,
            listen=f"{node_ip}:0",
            announce_to=partial(announce_to_directory, setting.run_id) if setting.cluster else None,
            stop=self._stop,
        )


class _Life:
    """One life of a part's process, known to the next one only if it ends without a word."""

    def __init__(self, run_folder: Path, name: str) -> None:
        self._file = run_folder / "roles" / f".{name}.lives"
        before = Lives(**json.loads(self._file.read_text())) if self._file.exists() else Lives()
        self._lives = before.next(time.time())
        self._file.parent.mkdir(parents=True, exist_ok=True)
        replace_durably(self._file, json.dumps(asdict(self._lives)))
        self._name, self._log = name, str(log_file(run_folder, name))
        self.wait_s = 0.0

    def __enter__(self) -> "_Life":
        self.wait_s = self._lives.wait_s(self._name, self._log)
        return self

    def __exit__(self, *exception: object) -> None:
        self._file.unlink(missing_ok=True)


def prepare_process(part: Part, setting: Setting) -> None:
    """Before anything heavy is imported: threads of numerical libraries, import path, and where output goes."""
    for variable in THREAD_VARIABLES:
        os.environ[variable] = str(part.threads)
    sys.path.extend(path for path in setting.import_path if path not in sys.path)
    file = log_file(setting.run_folder, part.name)
    file.parent.mkdir(parents=True, exist_ok=True)
    output = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    for standard in (sys.stdout, sys.stderr):
        standard.flush()
    os.dup2(output, 1)
    os.dup2(output, 2)
    os.close(output)
    faulthandler.enable()
    log_to_stderr()


def reachable(config: Config, node_ip: str) -> Config:
    """The configuration with a metrics endpoint that other nodes reach: the node's address in place of loopback."""
    if config.metrics.host != LOOPBACK:
        return config
    return config.model_copy(update={"metrics": config.metrics.model_copy(update={"host": node_ip})})


class RayHost:
    """Parts as Ray actors (`sojourn.launcher.host.Host`)."""

    def __init__(self, session: RaySession, config: Config, run_folder: Path, run_id: str) -> None:
        import_path = tuple(path or os.getcwd() for path in sys.path)
        self._session = session
        self._setting = Setting(config, run_folder, run_id, session.cluster, import_path)
        self._ray_actors: dict[str, Any] = {}
        self._under_way: dict[Any, str] = {}  # Ray's reference to a part's `run` -> its name

    def start(self, part: Part) -> None:
        (self._setting.run_folder / "roles" / f".{part.name}.lives").unlink(missing_ok=True)
        ray_actor = self._class_for(part).remote(part, self._setting)
        self._ray_actors[part.name] = ray_actor
        self._under_way[ray_actor.run.remote()] = part.name

    def ended(self, timeout_s: float) -> list[Ended]:
        if not self._under_way:
            time.sleep(timeout_s)
            return []
        ready, _ = ray.wait(list(self._under_way), num_returns=1, timeout=timeout_s)
        return [Ended(self._under_way.pop(reference), _raised_by(reference)) for reference in ready]

    def ask_to_stop(self, name: str) -> None:
        self._ray_actors[name].stop.options(concurrency_group="control").remote()

    def remove(self, name: str) -> None:
        ray.kill(self._ray_actors.pop(name))
        self._under_way = {reference: part for reference, part in self._under_way.items() if part != name}

    def close(self) -> None:
        """End every process that is left, at once."""
        for name in list(self._ray_actors):
            self.remove(name)

    def _class_for(self, part: Part) -> Any:
        options: dict[str, Any] = {"num_cpus": 0}
        if self._session.cluster:
            options = cluster_options(part, self._setting.config, self._session)
        for_ever = ray.remote(max_restarts=-1, max_task_retries=-1, concurrency_groups={"control": 1})
        return for_ever(RayRole).options(**options)


def cluster_options(part: Part, config: Config, session: RaySession) -> dict[str, Any]:
    """Where a part goes on a cluster: what has files beside the launcher, actors spread out, learners to GPUs if there are any."""
    if part.role in PINNED:
        return {"num_cpus": 0, "scheduling_strategy": NodeAffinitySchedulingStrategy(session.node_id, soft=False)}
    if part.role == "learner":
        uses_gpu = session.gpus >= config.learners.replicas and config.learners.device != "cpu"
        return {"num_cpus": part.threads, "num_gpus": int(uses_gpu)}
    return {"num_cpus": part.threads, "scheduling_strategy": "SPREAD"}


def _raised_by(reference: Any) -> BaseException | None:
    """What a part's `run` raised in its process, or None."""
    try:
        ray.get(reference)
    except ray.exceptions.RayTaskError as error:
        return cast(BaseException, error.cause or error)
    except ray.exceptions.RayError as error:
        return cast(BaseException, error)
    return None
