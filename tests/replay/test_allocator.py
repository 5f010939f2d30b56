"""Memory that was freed is there for the next message."""

import resource

import numpy as np
import pytest

from sojourn.allocator import keep_freed_memory

PAGE_BYTES = 4_096
MESSAGE_BYTES = 4_000_000  # below what NumPy asks huge pages for
COPIES = 6  # more in a row than glibc keeps by default
TIMES = 5


def page_faults() -> int:
    """Of messages that come and go."""
    before = resource.getrusage(resource.RUSAGE_THREAD).ru_minflt
    for _ in range(TIMES):
        copies = [np.ones(MESSAGE_BYTES, np.uint8) for _ in range(COPIES)]
        del copies
    return resource.getrusage(resource.RUSAGE_THREAD).ru_minflt - before


def test_memory_that_was_freed_is_not_taken_anew():
    if not keep_freed_memory(64 << 20):
        pytest.skip("another C library")
    page_faults()
    assert page_faults() < TIMES * COPIES * MESSAGE_BYTES / PAGE_BYTES / 10
