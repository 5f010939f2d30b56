"""How is a file replaced so that readers, crashes and power losses find the old one or the new one, whole? Blocks for the disk."""

import os
from pathlib import Path


def replace_durably(path: Path, content: bytes | str, *, mode: int = 0o644, keep_old_as: str = "") -> None:
    """Put a file with this content in the place of the one that was there, if there was one; text as UTF-8.

    mode: of the new file, less the umask.  keep_old_as: name for the file that was there, beside it; between the two moves only that
    one exists.  Raises OSError if the disk refuses; then the old file stands and nothing of the new one is left.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with open(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode), "wb") as file:
            file.write(content.encode() if isinstance(content, str) else content)
        put_in_place(temporary, path, keep_old_as=keep_old_as)
    finally:
        temporary.unlink(missing_ok=True)


def put_in_place(made: Path, path: Path, *, keep_old_as: str = "") -> None:
    """Move what was made beside `path`, a file or a folder of files, to `path`, once it is on the disk. Raises OSError."""
    for written in (*made.rglob("*"), made):
        sync(written)
    if keep_old_as and path.exists():
        path.replace(path.with_name(keep_old_as))
    made.replace(path)
    sync(path.parent)


def sync(path: Path) -> None:
    """Wait until the disk has a file's content, or the names in a folder."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
