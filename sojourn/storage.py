"""Where checkpoints and archives lie: a local folder or an object store, by path or URI. Blocking I/O through pyarrow.fs.

A storage holds named folders of files. On a local disk a folder appears whole or not at all, and what was written survives a power
loss. Object stores have no rename: there the last file of a folder is its seal, and a folder without it counts as absent.
"""

import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pyarrow import fs

from sojourn.durable_files import put_in_place
from sojourn.errors import CheckpointError


class Storage:
    """Folders under one location. One writer at a time; readers need no lock."""

    def __init__(self, location: Path | str) -> None:
        """location: a path, or a URI that pyarrow.fs knows ("s3://bucket/path"). Raises CheckpointError for another one."""
        self.location = str(location)
        if "://" in self.location:
            with _failures(f"{self.location} cannot be opened"):
                self._files, self._root = fs.FileSystem.from_uri(self.location)
        else:
            self._files, self._root = fs.LocalFileSystem(), str(Path(location).absolute())
        self._local = Path(self._root) if isinstance(self._files, fs.LocalFileSystem) else None

    def folders(self) -> list[str]:
        """Names of the folders, sorted; those still being written are left out."""
        with _failures(f"{self.location} cannot be listed"):
            found: list[Any] = self._files.get_file_info(fs.FileSelector(self._root, allow_not_found=True))
        return sorted(info.base_name for info in found if info.type == fs.FileType.Directory and info.base_name[0] != ".")

    def read(self, folder: str, file: str) -> bytes:
        """A file's content. Raises CheckpointError if there is none."""
        path = f"{self._root}/{folder}/{file}"
        with _failures(f"{path} cannot be read"), self._files.open_input_stream(path) as stream:
            return bytes(stream.read())

    def replace_folder(self, folder: str, files: Mapping[str, bytes]) -> None:
        """Write a folder, in place of the one that was there. Raises CheckpointError, the old one untouched, if it cannot.

        files: by name; the last one seals the folder.
        """
        with _failures(f"{self.location}/{folder} cannot be written"):
            if self._local is not None:
                _replace_local(self._local, folder, files)
                return
            self.remove_folder(folder)
            self._files.create_dir(f"{self._root}/{folder}", recursive=True)
            for name, content in files.items():
                with self._files.open_output_stream(f"{self._root}/{folder}/{name}") as stream:
                    stream.write(content)

    def remove_folder(self, folder: str) -> None:
        """Remove a folder and what is in it, if it is there. Raises CheckpointError if it cannot."""
        path = f"{self._root}/{folder}"
        with _failures(f"{path} cannot be removed"):
            if self._files.get_file_info(path).type == fs.FileType.Directory:
                self._files.delete_dir(path)


def _replace_local(root: Path, folder: str, files: Mapping[str, bytes]) -> None:
    """Write beside, sync, move into place; between the two moves there is no folder of that name."""
    root.mkdir(parents=True, exist_ok=True)
    for left in root.glob(".*.partial"):  # of a writer that was killed
        shutil.rmtree(left, ignore_errors=True)
    beside, old = root / f".{folder}.new.partial", root / f".{folder}.old.partial"
    try:
        beside.mkdir()
        for name, content in files.items():
            (beside / name).write_bytes(content)
        put_in_place(beside, root / folder, keep_old_as=old.name)
    finally:
        shutil.rmtree(beside, ignore_errors=True)
        shutil.rmtree(old, ignore_errors=True)


@contextmanager
def _failures(what: str) -> Iterator[None]:
    """Turn the file system's errors into ours. pyarrow says ValueError for a URI that it does not know."""
    try:
        yield
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise CheckpointError(f"{what}: {reason}") from error
