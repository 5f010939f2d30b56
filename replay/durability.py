"""Which server settings each durability level needs, and what a server that cannot give a level is told.

Pure: no I/O. The levels are those of `replay.durability`; docs/running.md tells what an acknowledgement survives at each.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from sojourn.errors import ConfigError

Durability = Literal["memory", "process", "disk", "replica"]


@dataclass(frozen=True)
class ServerSettings:
    """What the durable tier's server says about itself.

    maxmemory_bytes: 0 is no limit.  replicas: connected now.  has_waitaof: Redis 7.2, Valkey 7.2 and later.
    """

    appendonly: str
    appendfsync: str
    maxmemory_bytes: int
    maxmemory_policy: str
    replicas: int
    has_waitaof: bool


@dataclass(frozen=True)
class Confirmation:
    """What a commit waits for after its transaction.

    written: that the append-only file could be written.  local_syncs, replicas: copies on this server's disk and on replicas.
    """

    written: bool = False
    local_syncs: int = 0
    replicas: int = 0


def confirmation(level: Durability, settings: ServerSettings) -> Confirmation:
    """What must be waited for at this level. With `appendfsync always` the server syncs before it answers, or ends."""
    if level == "disk" and settings.appendfsync != "always":
        return Confirmation(local_syncs=1)
    if level == "process":
        return Confirmation(written=settings.appendfsync != "always")
    return Confirmation(replicas=1) if level == "replica" else Confirmation()


def embedded_appendfsync(level: Durability) -> str:
    """The flag of a server of our own. Raises ConfigError for a level that one server alone cannot give."""
    if level == "replica":
        raise ConfigError(
            "replay.durability: replica needs a server with a replica: give replay.redis_url, or choose process or disk"
        )
    return "always" if level == "disk" else "no"


def check_server(level: Durability, settings: ServerSettings, memory_bytes: int) -> None:
    """Raise ConfigError naming each setting with which the server cannot give the level.

    memory_bytes: replay.redis_memory_bytes, the budget that the server must have room for.
    """
    problems = [*_memory_problems(settings, memory_bytes), *_level_problems(level, settings)]
    if problems:
        raise ConfigError(f"the Redis server cannot give replay.durability: {level}: {'; '.join(problems)}")


def check_budgets(settings: ServerSettings, budgets: Mapping[str, int], own: str) -> None:
    """Raise ConfigError where the shards that keep their chunks on one server may take more than it has together.

    budgets: bytes by the tag of each shard's keys, of other runs as well.  own: the tag of the one that asks.
    """
    if 0 < settings.maxmemory_bytes < sum(budgets.values()):
        others = ", ".join(f"{tag} {size}" for tag, size in budgets.items() if tag != own)
        raise ConfigError(
            f"maxmemory of the Redis server is {settings.maxmemory_bytes}, and replay.redis_memory_bytes {budgets[own]} comes on top of what "
            f"others may take there ({others}): raise maxmemory, lower replay.redis_memory_bytes, give another server, or delete the keys of "
            "runs that are over"
        )


def _memory_problems(settings: ServerSettings, memory_bytes: int) -> list[str]:
    problems = []
    if settings.maxmemory_policy != "noeviction":
        problems.append(f"maxmemory-policy is {settings.maxmemory_policy}, must be noeviction: anything else deletes experience")
    if 0 < settings.maxmemory_bytes < memory_bytes:
        problems.append(f"maxmemory is {settings.maxmemory_bytes}, below replay.redis_memory_bytes {memory_bytes}: change either")
    return problems


def _level_problems(level: Durability, settings: ServerSettings) -> list[str]:
    problems = []
    if level == "replica" and not settings.replicas:
        problems.append("connected_slaves is 0, must be at least 1")
    if settings.appendonly != "yes":
        because = ": a primary that comes back empty empties its replica" if level == "replica" else ""
        problems.append(f"appendonly is {settings.appendonly}, must be yes{because}")
    if level == "process" and settings.appendfsync == "everysec":
        # while an fsync runs, everysec may postpone the write itself: a killed server then loses what it had answered
        problems.append("appendfsync is everysec, must be no or always: it may answer before it writes")
    if level == "disk" and settings.appendfsync == "no":
        problems.append("appendfsync is no, must be always or everysec")
    if level == "disk" and settings.appendfsync == "everysec" and not settings.has_waitaof:
        problems.append("appendfsync is everysec and the server has no WAITAOF (Redis 7.2): set appendfsync always")
    return problems
