"""How compiled code is made and cached. Importing compiles nothing; `python -m replay.kernels` compiles all and fills the cache.

Compiled code is kept beside the package, in a folder named after a hash of the package's sources (numba itself notices no change in a
kernel that another file's kernel calls). Where that folder cannot be written it is copied into the temporary folder and kept there.
"""

import hashlib
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeVar

import numba
from numba.core import cgutils, types
from numba.extending import intrinsic

Function = TypeVar("Function", bound=Callable[..., Any])

_PACKAGE = Path(__file__).parent


@lru_cache(maxsize=1)
def cache_folder() -> Path:
    """A writable folder for compiled code: inside the package's `__pycache__`, else a copy of it in the temporary folder."""
    sources = b"".join(path.read_bytes() for path in sorted(_PACKAGE.glob("*.py")) if b"@kernel" in path.read_bytes())
    name = f"kernels-{hashlib.sha256(sources).hexdigest()[:12]}"
    beside = _PACKAGE / "__pycache__" / name
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
    users_own = numba.config.CACHE_DIR
    numba.config.CACHE_DIR = users_own or str(cache_folder())
    try:
        compiled: Function = numba.njit(cache=True, nogil=True, error_model="numpy")(function)
    except RuntimeError:  # numba found no folder to cache in
        compiled = numba.njit(nogil=True, error_model="numpy")(function)
    finally:
        numba.config.CACHE_DIR = users_own
    return compiled


@intrinsic  # type: ignore[untyped-decorator]
def copy_bytes(typing_context: Any, target: Any, source: Any, count: Any) -> Any:
    """memcpy(target address, source address, count), for kernels: slices of numba arrays cost several times as much."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        to, of = (builder.inttoptr(address, cgutils.voidptr_t) for address in arguments[:2])
        cgutils.raw_memcpy(builder, to, of, arguments[2], 1)
        return context.get_dummy_value()

    return types.void(types.intp, types.intp, types.intp), generate


@intrinsic  # type: ignore[untyped-decorator]
def fill_zeros(typing_context: Any, target: Any, count: Any) -> Any:
    """memset(target address, 0, count), for kernels."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        cgutils.memset(builder, builder.inttoptr(arguments[0], cgutils.voidptr_t), arguments[1], 0)
        return context.get_dummy_value()

    return types.void(types.intp, types.intp), generate


def compile_all() -> float:
    """Compile every kernel by driving small stores through all they can do. Returns the seconds it took."""
    from replay.warm_up import exercise  # needs the kernels that this module makes

    started_s = time.monotonic()
    exercise()
    return time.monotonic() - started_s


if __name__ == "__main__":
    sys.stdout.write(f"replay kernels compiled in {compile_all():.1f} s into {cache_folder()}\n")
