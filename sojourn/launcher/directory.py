"""How roles on different nodes of a cluster find each other: one named Ray actor that knows every announcement.

It lives on the launcher's node and writes each announcement into RUN/roles too, so that the monitor and the command line see a
cluster as they see one machine.
"""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any, cast

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from sojourn.durable_files import replace_durably
from sojourn.errors import UnavailableError
from sojourn.roles import Address, Announcement
from sojourn.shard_list import ShardList, shard_list

NAMESPACE = "sojourn"
ANSWER_S = 5.0


class Directory:
    """Announcements by name. The Ray actor's state is the run folder, so a restarted one knows what its last life knew."""

    def __init__(self, run_folder: Path) -> None:
        self._run_folder = run_folder
        self._folder = run_folder / "roles"

    def announce(self, said: Announcement) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        replace_durably(self._folder / f"{said.name}.json", json.dumps(asdict(said)))

    def address(self, name: str) -> str:
        """Address of a service, "" while it has announced none."""
        try:
            return str(json.loads((self._folder / f"{name}.json").read_text())["address"])
        except FileNotFoundError:
            return ""

    def shards(self) -> ShardList:
        """The run's list of replay shards. Raises UnavailableError if it has none."""
        return shard_list(self._run_folder)


def start_directory(run_folder: Path, run_id: str, node_id: str) -> Any:
    """Start the run's directory on a node. Returns its handle, which keeps it alive."""
    return (
        ray.remote(Directory)
        .options(
            name=directory_name(run_id),
            namespace=NAMESPACE,
            num_cpus=0,
            max_restarts=-1,
            max_task_retries=-1,
            scheduling_strategy=NodeAffinitySchedulingStrategy(node_id, soft=False),
        )
        .remote(run_folder)
    )


def directory_name(run_id: str) -> str:
    return f"sojourn-directory-{run_id}"


def directory_address(run_id: str, name: str) -> Address:
    """Resolve a service through the run's directory, from any process that Ray started."""

    def resolve() -> str:
        found = _ask(run_id, "address", name)
        if not found:
            raise UnavailableError(f"{name} of run {run_id} has not announced itself")
        return str(found)

    return resolve


def directory_shards(run_id: str) -> ShardList:
    """The run's list of replay shards, from any process that Ray started. Raises UnavailableError while there is none."""
    return cast(ShardList, _ask(run_id, "shards"))


def announce_to_directory(run_id: str, said: Announcement) -> None:
    """Tell the run's directory. Raises UnavailableError if it does not answer."""
    _ask(run_id, "announce", said)


def _ask(run_id: str, question: str, *arguments: Any) -> Any:
    try:
        directory = ray.get_actor(directory_name(run_id), namespace=NAMESPACE)
        return ray.get(getattr(directory, question).remote(*arguments), timeout=ANSWER_S)
    except (ValueError, ray.exceptions.RayError) as error:
        raise UnavailableError(f"the directory of run {run_id} does not answer: {error}") from error
