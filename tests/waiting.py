"""How long does a test wait? Until a condition holds, and at most until a deadline that a starved machine keeps too."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

T = TypeVar("T")

DEADLINE_S = 60.0  # of every wait: what is as it should be is there within a second or two, on a machine of one's own
LOOK_S = 0.01
UNHURRIED_S = 3_600.0  # for settings by which something happens after a while, where it is to happen for another reason


def eventually(
    holds: Callable[[], T], deadline_s: float = DEADLINE_S, *, look_s: float = LOOK_S, tell: Callable[[], object] = str
) -> T:
    """Poll until the condition holds and return its value; fails at the deadline. tell: what is said then of how things stand."""
    until_s = time.monotonic() + deadline_s
    while not (value := holds()):
        assert time.monotonic() < until_s, f"it did not come true within {deadline_s:g} s {tell()}"
        time.sleep(look_s)
    return value


async def eventually_async(holds: Callable[[], Awaitable[T]], deadline_s: float = DEADLINE_S) -> T:
    """The same on an event loop, which goes on meanwhile."""
    until_s = time.monotonic() + deadline_s
    while not (value := await holds()):
        assert time.monotonic() < until_s, f"it did not come true within {deadline_s:g} s"
        await asyncio.sleep(LOOK_S)
    return value
