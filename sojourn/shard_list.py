"""Which replay shards does a run have, and which of them take inserts? One small file, RUN/shards.json, replaced atomically."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from sojourn.durable_files import replace_durably
from sojourn.errors import UnavailableError


@dataclass(frozen=True)
class ShardList:
    """Shards 0 .. known - 1 may hold items; the first `taking` of them take inserts, the others are retired."""

    taking: int
    known: int

    def __post_init__(self) -> None:
        if not 1 <= self.taking <= self.known:
            raise ValueError(f"of {self.known} shards {self.taking} cannot take inserts")

    def scaled(self, taking: int) -> "ShardList":
        """So many take inserts; no shard is forgotten, since it may hold items, and counts environment steps."""
        return ShardList(taking, max(taking, self.known))


def read_shard_list(run_folder: Path) -> ShardList | None:
    """The run's list; None if it has none: then all shards that its configuration names take inserts."""
    try:
        return ShardList(**json.loads((run_folder / "shards.json").read_text()))
    except FileNotFoundError:
        return None


def shard_list(run_folder: Path) -> ShardList:
    """The run's list. Raises UnavailableError if it has none."""
    listed = read_shard_list(run_folder)
    if listed is None:
        raise UnavailableError(f"{run_folder} has no list of replay shards")
    return listed


def write_shard_list(run_folder: Path, shards: ShardList) -> None:
    """Replace the run's list."""
    replace_durably(run_folder / "shards.json", json.dumps(asdict(shards)))
