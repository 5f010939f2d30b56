"""Does a small file of the run folder survive a power loss whole? The calls that make it so are watched; power cannot be cut here."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from actors.lives import count_life
from replay.initial_record import FileRecord, InitialRecord
from replay.manifest import LearnerLife, write_life
from sojourn.chosen_cut import ChosenCut, write_chosen_cut
from sojourn.config import Config
from sojourn.launcher.control import ask_to_scale
from sojourn.roles import RoleContext
from sojourn.run_folder import write_config
from sojourn.shard_list import ShardList, write_shard_list


def announce(folder: Path) -> None:
    RoleContext(Config(), folder, run_id="r", role="replay").announce("127.0.0.1:1")


WRITERS: dict[str, Callable[[Path], object]] = {
    "shards.json": lambda folder: write_shard_list(folder, ShardList(1, 1)),
    "cut.json": lambda folder: write_chosen_cut(folder, ChosenCut("step-1", {0: 5})),
    "config.yaml": lambda folder: write_config(folder, Config()),
    "initial.json": lambda folder: FileRecord(folder).write(InitialRecord("source", "print", (1,))),
    "lives/actor-0": lambda folder: count_life(folder / "lives" / "actor-0"),
    "life-000001.json": lambda folder: write_life(folder, LearnerLife(1, "run", 0, False, {})),
    "roles/replay-0.json": announce,
    "control/scale.json": lambda folder: ask_to_scale(folder, Config(), {"actors": 2}),
}


@pytest.mark.parametrize("name", WRITERS)
def test_a_file_is_on_the_disk_before_it_gets_its_name_and_the_name_is_there_before_anybody_goes_on(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The inodes that were synced, in order, and whether the file had its name then."""
    file, synced, really_sync = tmp_path / name, [], os.fsync

    def watched(descriptor: int) -> None:
        really_sync(descriptor)
        synced.append((os.fstat(descriptor).st_ino, file.exists()))

    monkeypatch.setattr(os, "fsync", watched)
    WRITERS[name](tmp_path)
    assert synced == [(file.stat().st_ino, False), (file.parent.stat().st_ino, True)]
    assert [left.name for left in file.parent.iterdir() if left.name.startswith(f".{file.name}")] == []
