"""What does the C library do with memory that was freed? Changes the whole process."""

import ctypes

_M_TRIM_THRESHOLD = -1  # malloc.h
_M_MMAP_THRESHOLD = -3
MMAP_BYTES = 32 << 20  # the largest that glibc accepts


def keep_freed_memory(most_bytes: int) -> bool:
    """Tell the C library's allocator to keep what is freed, up to so many bytes in a row. Returns whether it listens (glibc does).

    By default glibc hands pieces of megabytes back to the kernel at once and takes them anew, and each 4 KiB page of them costs a page
    fault, about 2 us on a virtual machine. An update of SAC on the CPU (256 x 256 networks, batch 256) had 1,070 of them in 10 ms; a
    batch of 64 images of 84 x 84 x 4 and their successors had 3,200, 6.5 of the 8 ms that it took to draw and send.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return False
    return bool(mallopt(_M_MMAP_THRESHOLD, MMAP_BYTES)) and bool(mallopt(_M_TRIM_THRESHOLD, most_bytes))
