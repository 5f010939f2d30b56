"""Folders appear whole or not at all, on a disk and in a store without rename; failures are said and change nothing."""

from pathlib import Path

import pytest

from sojourn.errors import CheckpointError
from sojourn.storage import Storage
from tests.full_disk import full_disk


@pytest.fixture(params=["local", "uri", "object store"])
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> Storage:
    """The same on a path, on a URI, and in a store of pyarrow's own that has no rename."""
    return Storage({"local": tmp_path / "a", "uri": f"file://{tmp_path}/b", "object store": "mock:///root"}[request.param])


def test_a_folder_is_replaced_as_a_whole(storage):
    storage.replace_folder("one", {"x": b"1", "y": b"2"})
    storage.replace_folder("one", {"x": b"3"})
    assert storage.folders() == ["one"]
    assert storage.read("one", "x") == b"3"
    with pytest.raises(CheckpointError, match="y cannot be read"):
        storage.read("one", "y")


def test_folders_are_listed_in_order_and_removed(storage):
    assert storage.folders() == []
    for name in ("b", "a", "c"):
        storage.replace_folder(name, {"x": b""})
    storage.remove_folder("b")
    storage.remove_folder("b")
    assert storage.folders() == ["a", "c"]


def test_a_full_disk_leaves_the_old_folder_and_nothing_else(tmp_path):
    storage = Storage(tmp_path)
    storage.replace_folder("one", {"x": b"old"})
    with full_disk(1_000), pytest.raises(CheckpointError, match="one cannot be written: File too large"):
        storage.replace_folder("one", {"x": b"new", "y": b"." * 2_000})
    assert storage.read("one", "x") == b"old"
    assert [path.name for path in tmp_path.iterdir()] == ["one"]


def test_what_a_killed_writer_left_is_not_seen_and_goes(tmp_path):
    storage = Storage(tmp_path)
    left = tmp_path / ".two.new.partial"
    left.mkdir()
    (left / "x").write_bytes(b"half")
    assert storage.folders() == []
    storage.replace_folder("one", {"x": b"1"})
    assert not left.exists()


def test_a_location_that_is_none_is_said():
    with pytest.raises(CheckpointError, match="nowhere://x cannot be opened"):
        Storage("nowhere://x")
