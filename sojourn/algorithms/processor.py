"""How is a process set up that learns on the CPU? Threads, the library that multiplies matrices, freed memory. Changes the whole process."""

import ctypes
from pathlib import Path

import torch

_M_TRIM_THRESHOLD = -1  # malloc.h
_M_MMAP_THRESHOLD = -3
MMAP_BYTES = 32 << 20  # the largest that glibc accepts
TRIM_BYTES = 1 << 30
SIDE = 256
FINER_THAN_BFLOAT16 = 1.0 + 2.0**-12
_MATMUL = torch.backends.mkldnn.matmul  # type: ignore[attr-defined]


def set_up(threads: int) -> None:
    """Once, before the first update; whoever repeats updates bit by bit calls it too."""
    torch.set_num_threads(threads)
    keep_freed_memory()
    choose_products()


def keep_freed_memory() -> bool:
    """Tell the C library's allocator to keep what is freed. Returns whether it listens (glibc does).

    An update on the CPU takes and frees some megabytes. By default glibc hands such pieces back to the kernel at once and takes them
    anew: 1,070 page faults an update of SAC with 256 x 256 networks and batch 256, 1.8 of 10 ms.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return False
    return bool(mallopt(_M_MMAP_THRESHOLD, MMAP_BYTES)) and bool(mallopt(_M_TRIM_THRESHOLD, TRIM_BYTES))


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
