"""How is a process set up that learns on the CPU? Threads, the library that multiplies matrices, freed memory. Changes the whole process."""

from pathlib import Path

import torch

from sojourn.allocator import keep_freed_memory

FREED_BYTES = 1 << 30  # that are kept
SIDE = 256
FINER_THAN_BFLOAT16 = 1.0 + 2.0**-12
_MATMUL = torch.backends.mkldnn.matmul  # type: ignore[attr-defined]


def set_up(threads: int) -> None:
    """Once, before the first update; whoever repeats updates bit by bit calls it too."""
    torch.set_num_threads(threads)
    keep_freed_memory(FREED_BYTES)
    choose_products()


def choose_products() -> str:
    """Have float32 matrices multiplied by oneDNN where MKL leaves half of the processor unused. Returns who multiplies.

    MKL keeps to 256-bit instructions on other makers' processors: 99 GFLOP/s in 256 x 256 products on one EPYC (Zen 5) core, where
    oneDNN reaches 198. torch hands them to oneDNN together with the leave to round to bfloat16, which oneDNN takes with AMX only;
    where a product shows that it does, MKL stays. The choice is the same at every start on a machine.
    """
    _MATMUL.fp32_precision = "ieee"
    by_mkl: bool = torch.backends.mkl.is_available()  # type: ignore[no-untyped-call]
    if torch.backends.cpu.get_cpu_capability() == "AVX512" and by_mkl and not _made_by_intel():
        _MATMUL.fp32_precision = "bf16"
        if not _exact():
            _MATMUL.fp32_precision = "ieee"
    return products()


def products() -> str:
    """Who multiplies float32 matrices now: "oneDNN", or "BLAS", the library that torch was built with (MKL on x86)."""
    return "oneDNN" if _MATMUL.fp32_precision == "bf16" else "BLAS"


def _exact() -> bool:
    """Whether a number that bfloat16 has no room for comes through a product."""
    fine = torch.full((SIDE, SIDE), FINER_THAN_BFLOAT16)
    return torch.equal(fine @ torch.eye(SIDE), fine)


def _made_by_intel() -> bool:
    """As Linux tells it; elsewhere there is no AVX-512 to speak of."""
    about = Path("/proc/cpuinfo")
    return not about.exists() or "GenuineIntel" in about.read_text()
