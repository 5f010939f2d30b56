"""Which processes make up a run, and who talks to whom. Pure: names and addresses, nothing is started here."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from sojourn.config import Config
from sojourn.config.schema import FleetSettings
from sojourn.roles import Address, ReplayShards, fixed_address
from sojourn.shard_list import ShardList

ENTRY = {
    "replay": "replay.role:run",
    "parameters": "sojourn.parameters.role:run",
    "learner": "learners.role:run",
    "actor": "actors.role:run",
    "evaluator": "actors.evaluation:run",
}
"""Where each role's `run(context)` is. Imported only by the process that runs it, so that nobody else waits for torch."""

Find = Callable[[str], Address]
"""Resolves the address of a service by its name, "replay-0"."""


@dataclass(frozen=True)
class Edges:
    """The services that a part talks to. shards, ranks: as in `RoleContext`."""

    replay: tuple[Address, ...] = ()
    parameters: Address | None = None
    shards: Callable[[], ReplayShards] | None = None
    ranks: Address | None = None

    def replay_shards(self) -> ReplayShards:
        """All replay shards now. Raises UnavailableError while nobody can tell."""
        return self.shards() if self.shards else ReplayShards(len(self.replay), self.replay)


@dataclass(frozen=True)
class Part:
    """One process of a run. threads: for numerical libraries."""

    role: str
    index: int = 0
    fleet: str = ""
    edges: Edges = field(default_factory=Edges)
    threads: int = 1

    @property
    def name(self) -> str:
        """As `RoleContext.name`."""
        return "-".join(piece for piece in (self.role, self.fleet, str(self.index)) if piece)


@dataclass(frozen=True)
class Listed:
    """Tells a part which shards there are now. read: the run's list."""

    find: Find
    read: Callable[[], ShardList]

    def __call__(self) -> ReplayShards:
        return ReplayShards.of(self.read(), self.find)


def wire(config: Config, find: Find, read: Callable[[], ShardList] | None = None) -> list[Part]:
    """Every process of a run in the order of starting, and every edge between them.

    read: tells the run's shards now; None: those of the configuration, for ever.

        actors    --Insert, Heartbeat-->          replay
        learners  --Sample, UpdatePriorities-->   replay      (batches come back on the same stream)
        learners  --gradients--                   learners    (torch.distributed, where there are several)
        learners  --Publish-->                    parameters
        actors    --Watch-->                      parameters  (policies come back)
        evaluator --Watch-->                      parameters
        evaluator --Info-->                       replay

    Services whose addresses the configuration gives run elsewhere and are not parts.
    """
    given, every = tuple(map(fixed_address, config.replay.addresses)), ShardList(config.replay.shards, config.replay.shards)
    listed = read() if read and not given else every
    own = () if given else listed.here
    edges = Edges(
        replay=given or ReplayShards.of(listed, find).addresses,
        parameters=fixed_address(config.parameters.address) if config.parameters.address else find("parameters-0"),
        shards=Listed(find, read) if read and own else None,
        ranks=fixed_address(config.learners.rendezvous) if config.learners.rendezvous else find("learner-0"),
    )
    return [
        *shards(own),
        *(() if config.parameters.address else (Part("parameters"),)),
        *(Part("learner", rank, "", edges, config.learners.threads) for rank in range(config.learners.replicas)),
        *actors(config, edges, {name: fleet.replicas for name, fleet in fleets(config).items()}),
        Part("evaluator", edges=edges),
    ]


def shards(numbers: Iterable[int]) -> Iterator[Part]:
    """Replay shards of these numbers."""
    for number in numbers:
        yield Part("replay", number)


def actors(config: Config, edges: Edges, replicas: Mapping[str, int]) -> Iterator[Part]:
    """The actors of all fleets, `replicas` of each."""
    for name, fleet in fleets(config).items():
        for index in range(replicas.get(name, 0)):
            yield Part("actor", index, name, edges, fleet.threads)


def fleets(config: Config) -> dict[str, FleetSettings]:
    """All fleets by name; "" is the default one."""
    return {"": config.actors, **config.actors.fleets}
