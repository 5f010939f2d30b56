"""The replay's kernels: what they have beyond `sojourn.kernels`, and how all of them are compiled beforehand.

Importing compiles nothing; `python -m replay.kernels` compiles all and fills the cache.
"""

import sys
import time
from pathlib import Path
from typing import Any

from numba.core import cgutils, types
from numba.extending import intrinsic

import sojourn.kernels
from sojourn.kernels import kernel

__all__ = ["cache_folder", "compile_all", "copy_bytes", "fill_zeros", "kernel"]


def cache_folder() -> Path:
    """Where this package's compiled code is kept."""
    return sojourn.kernels.cache_folder(Path(__file__).parent)


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
