"""How compiled code is made and cached. Importing compiles nothing: a kernel is compiled, or found in the cache, when it is first called.

Compiled code is kept beside the package, in a folder named after a hash of the package's sources (numba itself notices no change in a
kernel that another file's kernel calls). Where that folder cannot be written it is copied into the temporary folder and kept there.
"""

import hashlib
import os
import shutil
import tempfile
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeVar

import numba

Function = TypeVar("Function", bound=Callable[..., Any])


@lru_cache(maxsize=16)
def cache_folder(package: Path) -> Path:
    """A writable folder for a package's compiled code: inside its `__pycache__`, else a copy of it in the temporary folder."""
    sources = b"".join(path.read_bytes() for path in sorted(package.glob("*.py")) if b"@kernel" in path.read_bytes())
    name = f"kernels-{hashlib.sha256(sources).hexdigest()[:12]}"
    beside = package / "__pycache__" / name
    if _writable(beside):
        return beside
    elsewhere = Path(tempfile.gettempdir()) / f"sojourn-{name}-{os.getuid()}"
    if beside.is_dir() and not elsewhere.exists() and _writable(elsewhere):
        shutil.copytree(beside, elsewhere, dirs_exist_ok=True)
    return elsewhere


def _writable(folder: Path) -> bool:
    """Whether files can be made in the folder, which is made if need be."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()
    except OSError:
        return False
    return True


def kernel(function: Function) -> Function:
    """Compile on first call, without the GIL; cached on disk where any folder can be written, in memory otherwise."""
    return _compiled(function, nogil=True)


def kernel_of_microseconds(function: Function) -> Function:
    """The same, but it keeps the GIL: where another thread waits for it, handing it over and waiting to get it back costs 20 us."""
    return _compiled(function, nogil=False)


def _compiled(function: Function, nogil: bool) -> Function:
    users_own = numba.config.CACHE_DIR
    numba.config.CACHE_DIR = users_own or str(cache_folder(Path(function.__code__.co_filename).parent))
    try:
        compiled: Function = numba.njit(cache=True, nogil=nogil, error_model="numpy")(function)
    except RuntimeError:  # numba found no folder to cache in
        compiled = numba.njit(nogil=nogil, error_model="numpy")(function)
    finally:
        numba.config.CACHE_DIR = users_own
    return compiled
