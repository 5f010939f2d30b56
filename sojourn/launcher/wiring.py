"""Which processes make up a run, and who talks to whom. Pure: names and addresses, nothing is started here."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

from sojourn.config import Config
from sojourn.config.schema import FleetSettings
from sojourn.roles import Address, fixed_address
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
    """The services that a part talks to. taking: as `RoleContext.taking`."""

    replay: tuple[Address, ...] = ()
    parameters: Address | None = None
    taking: int = 0


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


def wire(config: Config, find: Find, shards: ShardList | None = None) -> list[Part]:
    """Every process of a run in the order of starting, and every edge between them.

    shards: of a run that had another number of them before; None: those of the configuration.

        actors    --Insert, Heartbeat-->          replay
        learners  --Sample, UpdatePriorities-->   replay      (batches come back on the same stream)
        learners  --Publish-->                    parameters
        actors    --Watch-->                      parameters  (policies come back)
        evaluator --Watch-->                      parameters
        evaluator --Info-->                       replay

    Services whose addresses the configuration gives run elsewhere and are not parts.
    """
    own = 0 if config.replay.addresses else shards.known if shards else config.replay.shards
    taking = shards.taking if shards and own else 0
    edges = Edges(
        replay=tuple(map(fixed_address, config.replay.addresses)) or tuple(find(f"replay-{shard}") for shard in range(own)),
        parameters=fixed_address(config.parameters.address) if config.parameters.address else find("parameters-0"),
        taking=taking,
    )
    return [
        *(Part("replay", shard, edges=Edges(taking=taking)) for shard in range(own)),
        *(() if config.parameters.address else (Part("parameters"),)),
        *(Part("learner", rank, "", edges, config.learners.threads) for rank in range(config.learners.replicas)),
        *actors(config, edges, {name: fleet.replicas for name, fleet in fleets(config).items()}),
        Part("evaluator", edges=edges),
    ]


def actors(config: Config, edges: Edges, replicas: Mapping[str, int]) -> Iterator[Part]:
    """The actors of all fleets, `replicas` of each."""
    for name, fleet in fleets(config).items():
        for index in range(replicas.get(name, 0)):
            yield Part("actor", index, name, edges, fleet.threads)


def fleets(config: Config) -> dict[str, FleetSettings]:
    """All fleets by name; "" is the default one."""
    return {"": config.actors, **config.actors.fleets}
