"""Which cut of its replay tables does a run go on from? RUN/cut.json, written by the launcher at each start. Reads and writes files.

A shard goes back to the cut once in a start: the number of the start is kept with the tables, so that a shard which is replaced later
goes on from its latest snapshot.
"""

import json
import uuid
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from sojourn.checkpoint_folders import newest_readable, read_whole
from sojourn.durable_files import replace_durably
from sojourn.storage import Storage


@dataclass(frozen=True)
class ShardCut:
    """One shard's part of a checkpoint, as the checkpoint's metadata has it.

    row_number: the last row in the cut.  env_steps, items: of the shard then.  reason: why there is no cut, "" where there is one.
    """

    shard: int
    row_number: int = 0
    env_steps: int = 0
    items: int = 0
    reason: str = ""


@dataclass(frozen=True)
class ChosenCut:
    """start: random identity of this start of the run.  label: the checkpoint's folder.  rows: last row in the cut, by shard."""

    label: str
    rows: Mapping[int, int]
    start: str = field(default_factory=lambda: uuid.uuid4().hex)


def choose_cut(run_folder: Path) -> ChosenCut | None:
    """Write down the cut that belongs to the checkpoint which the learner will go on from. None if there is no cut of it.

    Raises CheckpointError where there are checkpoints and none can be read.
    """
    write_chosen_cut(run_folder, None)
    storage = Storage(run_folder / "checkpoints")
    found = newest_readable(storage, lambda folder: (folder, read_whole(storage, folder)[0]))
    chosen = _cut_of(*found) if found else None
    write_chosen_cut(run_folder, chosen)
    return chosen


def _cut_of(folder: str, metadata: Mapping[str, Any]) -> ChosenCut | None:
    cuts = [ShardCut(**said) for said in metadata.get("cuts", ())]
    rows = {cut.shard: cut.row_number for cut in cuts if not cut.reason}
    return ChosenCut(folder, rows) if rows else None


def write_chosen_cut(run_folder: Path, chosen: ChosenCut | None) -> None:
    """Replace what was chosen at an earlier start. None: shards go on from their latest snapshots."""
    if chosen is None:
        (run_folder / "cut.json").unlink(missing_ok=True)
        return
    replace_durably(run_folder / "cut.json", json.dumps(asdict(chosen)))


def chosen_cut(run_folder: Path) -> ChosenCut | None:
    """What the launcher chose at this start; None if nothing."""
    try:
        said = json.loads((run_folder / "cut.json").read_text())
    except FileNotFoundError:
        return None
    return ChosenCut(said["label"], {int(shard): row for shard, row in said["rows"].items()}, said["start"])
