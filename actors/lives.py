"""Which life of an actor is this, and which seeds has it for itself? Reads and writes one small file; asks the replay service once."""

from pathlib import Path

from replay.client import service_info, shard_for
from sojourn.durable_files import replace_durably
from sojourn.roles import Address, RoleContext
from sojourn.seeds import lane_seed


def home_of(context: RoleContext) -> int:
    """Number of the shard to which a life of this actor that begins now is pinned. Raises UnavailableError while nobody can tell."""
    return shard_for(context.name, range(context.replay_shards().taking))


class Seeds:
    """Seeds of this life's environments: a function of run seed, role, actor, slot and how many lives the slot had."""

    def __init__(self, context: RoleContext, life: int) -> None:
        """life: a number that no other life of this actor in the run has."""
        self._run_seed = context.config.run.seed
        self._role = f"actor-{context.fleet}" if context.fleet else "actor"
        self._index = context.index
        self._first = life << 20  # room for the lives of slots within this one
        self._made: dict[int, int] = {}

    def next(self, slot: int) -> int:
        """A seed that no environment of this slot has had in this run."""
        made = self._made[slot] = self._made.get(slot, -1) + 1
        return lane_seed(self._run_seed, self._role, self._index, slot, self._first + made)

    def of_policy(self) -> int:
        """Seed of the random numbers with which the policy draws actions in this life."""
        return lane_seed(self._run_seed, f"{self._role} policy", self._index, 0, self._first)


def life_of(context: RoleContext, shard: Address, incarnation: int) -> int:
    """Number of this life: how many the run folder remembers, so that a new run with the same seed begins with the same episodes.

    A container may come back without the folder of its former life. Then the run is older than the folder, and the incarnation
    that the replay service granted tells this life from others.
    """
    remembered = count_life(context.run_folder / "lives" / context.name)
    if remembered == 0 and service_info(shard).env_steps > 0:
        return incarnation
    return remembered


def count_life(file: Path) -> int:
    """How many lives were counted in the file before; counts this one."""
    file.parent.mkdir(parents=True, exist_ok=True)
    lives = int(file.read_text()) if file.exists() else 0
    replace_durably(file, str(lives + 1))
    return lives
