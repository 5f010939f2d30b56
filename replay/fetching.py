"""How does a kernel have memory in the caches before it reads it? Dozens of misses overlap then, instead of a few.

It changes no result: any address will do. Run as plain Python, kernels fetch nothing.
"""

from typing import Any

from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic, overload

from replay.kernels import kernel

LINE = 64  # bytes of a cache line
ROW_LINES = 16  # of a row: what is longer the processor follows by itself


def prefetch(address: int) -> None:
    """Fetch the cache line at an address."""


@overload(prefetch)  # type: ignore[untyped-decorator]
def _compiled(address: Any) -> Any:
    def fetch(address: Any) -> None:
        _prefetch(address)

    return fetch


@intrinsic  # type: ignore[untyped-decorator]
def _prefetch(typing_context: Any, address: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        number = ir.IntType(32)
        kind = ir.FunctionType(ir.VoidType(), [cgutils.voidptr_t, number, number, number])
        instruction = builder.module.declare_intrinsic("llvm.prefetch", (cgutils.voidptr_t,), kind)
        to_read, into_all_caches, of_memory = (number(value) for value in (0, 3, 1))
        line = builder.inttoptr(arguments[0], cgutils.voidptr_t)
        builder.call(instruction, [line, to_read, into_all_caches, of_memory])
        return context.get_dummy_value()

    return types.void(types.intp), generate


@kernel
def fetch_row(rows: int, row_bytes: int, position: int) -> None:
    """Fetch the first lines of a row of a matrix at address `rows`."""
    begin = rows + position * row_bytes
    for line in range(begin, begin + min(row_bytes, ROW_LINES * LINE), LINE):
        prefetch(line)
