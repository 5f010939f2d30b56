"""Which replay shards does a run have, and which of them take inserts? One small file, RUN/shards.json, replaced atomically."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from sojourn.durable_files import replace_durably
from sojourn.errors import UnavailableError


@dataclass(frozen=True)
class TableCounts:
    """Items of a table over the life of its shard. imported_items: of the inserted ones, what the run began with."""

    inserted_items: int = 0
    sampled_items: int = 0
    evicted_items: int = 0
    expired_items: int = 0
    late_items: int = 0
    imported_items: int = 0


@dataclass(frozen=True)
class FinalCounts:
    """What a shard had counted when it left the run: its part of the run's totals.

    started, ended: actions, the latter by kind.  windows: collection windows that ended.  tables: by name.
    """

    env_steps: int = 0
    episodes: int = 0
    learner_step: int = 0
    duplicates: int = 0
    refused: int = 0
    gaps: int = 0
    fenced: int = 0
    started: int = 0
    ended: Mapping[str, int] = field(default_factory=dict)
    windows: int = 0
    tables: Mapping[str, TableCounts] = field(default_factory=dict)

    def table(self, name: str) -> TableCounts:
        return self.tables.get(name, TableCounts())

    @classmethod
    def from_json(cls, fields: Mapping[str, Any]) -> "FinalCounts":
        """Inverse of `dataclasses.asdict`."""
        return cls(**{**fields, "tables": {name: TableCounts(**told) for name, told in fields["tables"].items()}})


@dataclass(frozen=True)
class ShardList:
    """Of shards 0 .. known - 1 the first `taking` take inserts; the others are retired, and may hold items.

    gone: retired shards that are empty and have ended, by number. The numbers of the others stay.
    """

    taking: int
    known: int
    gone: Mapping[int, FinalCounts] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not 1 <= self.taking <= self.known:
            raise ValueError(f"of {self.known} shards {self.taking} cannot take inserts")
        if outside := [shard for shard in self.gone if not self.taking <= shard < self.known]:
            raise ValueError(f"shards {outside} take inserts or are not known, and cannot be gone")

    @property
    def here(self) -> tuple[int, ...]:
        """Numbers of the shards that serve."""
        return tuple(shard for shard in range(self.known) if shard not in self.gone)

    def scaled(self, taking: int) -> "ShardList":
        """So many take inserts. Shards that are gone come back if they are among them, and count on from what their files say."""
        gone = {shard: counts for shard, counts in self.gone.items() if shard >= taking}
        return ShardList(taking, max(taking, self.known), gone)

    def without(self, shard: int, counts: FinalCounts) -> "ShardList":
        """A retired shard has ended."""
        return replace(self, gone={**self.gone, shard: counts})


def read_shard_list(run_folder: Path) -> ShardList | None:
    """The run's list; None if it has none: then all shards that its configuration names take inserts."""
    try:
        said = json.loads((run_folder / "shards.json").read_text())
    except FileNotFoundError:
        return None
    gone = {int(shard): FinalCounts.from_json(counts) for shard, counts in said.get("gone", {}).items()}
    return ShardList(said["taking"], said["known"], gone)


def shard_list(run_folder: Path) -> ShardList:
    """The run's list. Raises UnavailableError if it has none."""
    listed = read_shard_list(run_folder)
    if listed is None:
        raise UnavailableError(f"{run_folder} has no list of replay shards")
    return listed


def write_shard_list(run_folder: Path, shards: ShardList) -> None:
    """Replace the run's list."""
    replace_durably(run_folder / "shards.json", json.dumps(asdict(shards)))


def leave_counts(run_folder: Path, shard: int, counts: FinalCounts) -> None:
    """What a shard says as it ends; the launcher takes it into the list."""
    file = _left_behind(run_folder, shard)
    file.parent.mkdir(exist_ok=True)
    replace_durably(file, json.dumps(asdict(counts)))


def take_counts(run_folder: Path, shard: int) -> FinalCounts | None:
    """What an ended shard said, None if nothing."""
    try:
        return FinalCounts.from_json(json.loads(_left_behind(run_folder, shard).read_text()))
    except FileNotFoundError:
        return None


def forget_counts(run_folder: Path, shard: int) -> None:
    """They stand in the list, or the shard serves again."""
    _left_behind(run_folder, shard).unlink(missing_ok=True)


def _left_behind(run_folder: Path, shard: int) -> Path:
    return run_folder / "control" / f"replay-{shard}.left"
