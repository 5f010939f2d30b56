"""What every role is given when it starts, and how roles find each other.

A role is a function `run(context)` that returns when `context.stop` is set. It announces itself in the run folder
(`roles/<name>.json`); services bind any free port and are found through that file, or through a given address.
"""

import json
import os
import threading
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path

from sojourn.config import Config
from sojourn.durable_files import replace_durably
from sojourn.errors import UnavailableError
from sojourn.shard_list import FinalCounts, ShardList, read_shard_list, shard_list

Address = Callable[[], str]
"""Resolves to a gRPC target; called again at each reconnect. Raises UnavailableError while there is none."""


@dataclass(frozen=True)
class Announcement:
    """What a running role writes into `roles/<name>.json`.

    address: gRPC target of a service, "" for others.  metrics: "host:port" of its Prometheus endpoint.
    """

    name: str
    pid: int
    host: str
    address: str = ""
    metrics: str = ""


@dataclass(frozen=True)
class ReplayShards:
    """The replay shards of a run now: the first `taking` of those at `addresses` take inserts, the others are retired.

    gone: those that have left the run; nobody answers at their addresses.
    """

    taking: int
    addresses: tuple[Address, ...]
    gone: Mapping[int, FinalCounts] = field(default_factory=dict)

    @classmethod
    def of(cls, listed: ShardList, find: Callable[[str], Address]) -> "ReplayShards":
        """Those of a list. find: resolves the address of a service by its name, "replay-0"."""
        return cls(listed.taking, tuple(find(f"replay-{shard}") for shard in range(listed.known)), listed.gone)

    @property
    def here(self) -> dict[int, Address]:
        """Addresses of those that serve, by number."""
        return {shard: address for shard, address in enumerate(self.addresses) if shard not in self.gone}


@dataclass(frozen=True)
class RoleContext:
    """One role's place in a run.

    run_id: random identity of the run, the same over restarts and resumes.  index: number among the role's replicas.
    fleet: actors only, "" is the default fleet.  replay, parameters: how to find the services, shards in the order of their numbers.
    shards: tells which shards there are now, where that can change; None: those of `replay`, and all take inserts.
    ranks: where learners of several ranks meet, opened by rank 0; None for others.
    listen: "host:port" that a service binds, port 0 is any free one; it is reached at that host.
    announce_to: told of every announcement as well, where the run folder is not shared.
    stop: set once when the role shall drain and return.
    """

    config: Config
    run_folder: Path
    run_id: str
    role: str
    index: int = 0
    fleet: str = ""
    replay: tuple[Address, ...] = ()
    parameters: Address | None = None
    shards: Callable[[], ReplayShards] | None = None
    ranks: Address | None = None
    listen: str = "127.0.0.1:0"
    announce_to: Callable[[Announcement], None] | None = None
    stop: threading.Event = field(default_factory=threading.Event)

    @property
    def name(self) -> str:
        """Stable over restarts: "actor-3", "actor-slow-0", "replay-0"."""
        return "-".join(part for part in (self.role, self.fleet, str(self.index)) if part)

    def replay_shards(self) -> ReplayShards:
        """The shards now. Raises UnavailableError while nobody can tell."""
        return self.shards() if self.shards else ReplayShards(len(self.replay), self.replay)

    def announce(self, address: str = "", metrics: str = "") -> None:
        """Write this life's announcement, replaced atomically."""
        folder = self.run_folder / "roles"
        folder.mkdir(parents=True, exist_ok=True)
        said = Announcement(self.name, os.getpid(), os.uname().nodename, address, metrics)
        replace_durably(folder / f"{self.name}.json", json.dumps(asdict(said)))
        if self.announce_to is not None:
            self.announce_to(said)


def announced(run_folder: Path, name: str) -> Announcement:
    """Read what a role announced. Raises UnavailableError if it has not."""
    try:
        return Announcement(**json.loads((run_folder / "roles" / f"{name}.json").read_text()))
    except FileNotFoundError as error:
        raise UnavailableError(f"{name} has not started in {run_folder}") from error


def announced_address(run_folder: Path, name: str) -> Address:
    """Resolve a service by its announcement in a run folder."""
    return lambda: announced(run_folder, name).address


def fixed_address(target: str) -> Address:
    """A given address: "host:port", "dns:///name:port" or "unix:/path"."""
    return lambda: target


def replay_shards(config: Config, run_folder: Path) -> ReplayShards:
    """Where the replay shards are: given ones, or those that announce themselves in the run folder."""
    given = config.replay.addresses
    if given:
        return ReplayShards(len(given), tuple(map(fixed_address, given)))
    listed = read_shard_list(run_folder) or ShardList(config.replay.shards, config.replay.shards)
    return ReplayShards.of(listed, partial(announced_address, run_folder))


def shards_in(run_folder: Path) -> ReplayShards:
    """The shards that a run folder lists, each found by its announcement. Raises UnavailableError if it has no list."""
    return ReplayShards.of(shard_list(run_folder), partial(announced_address, run_folder))


def ranks_address(config: Config, run_folder: Path) -> Address:
    """Where learners of several ranks meet: the given address, or the one that rank 0 announces in the run folder."""
    given = config.learners.rendezvous
    return fixed_address(given) if given else announced_address(run_folder, "learner-0")


def parameters_address(config: Config, run_folder: Path) -> Address:
    """Where the parameter service is: the given one, or the one that announces itself in the run folder."""
    given = config.parameters.address
    return fixed_address(given) if given else announced_address(run_folder, "parameters-0")
