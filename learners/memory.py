"""Keeps freed memory in the process, so that an update does not pay the kernel for it again.

An update on the CPU takes and frees some megabytes. By default glibc hands such pieces back to the kernel at once and takes them
anew: 1,070 page faults an update of SAC with 256 x 256 networks and batch 256, 1.8 of 10 ms. Changes the whole process.
"""

import ctypes

_M_TRIM_THRESHOLD = -1  # malloc.h
_M_MMAP_THRESHOLD = -3
MMAP_BYTES = 32 << 20  # the largest that glibc accepts
TRIM_BYTES = 1 << 30


def keep_freed_memory() -> bool:
    """Tell the C library's allocator to keep what is freed. Returns whether it listens (glibc does)."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return False
    return bool(mallopt(_M_MMAP_THRESHOLD, MMAP_BYTES)) and bool(mallopt(_M_TRIM_THRESHOLD, TRIM_BYTES))
