"""How much memory do the services take, and does it grow? Looked at once a second, on a thread of its own."""

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

EVERY_S = 1.0
FEWEST_LOOKS = 5  # of which a slope says something
MINUTE_S = 60.0


@dataclass(frozen=True)
class Look:
    """Resident bytes of all services and of all Redis servers at a moment of the monotonic clock."""

    at_s: float
    service_bytes: int
    redis_bytes: int


class MemoryWatch:
    """Use it as a context; it looks until the end."""

    def __init__(self, service_bytes: Callable[[], int], redis_bytes: Callable[[], int]) -> None:
        self.looks: list[Look] = []
        self._service_bytes, self._redis_bytes = service_bytes, redis_bytes
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="memory", daemon=True)

    def __enter__(self) -> "MemoryWatch":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._ended.wait(EVERY_S):
            self.looks.append(Look(time.monotonic(), self._service_bytes(), self._redis_bytes()))

    def largest(self) -> tuple[int, int]:
        """Of services and of Redis, bytes."""
        looks = list(self.looks)
        return max((look.service_bytes for look in looks), default=0), max((look.redis_bytes for look in looks), default=0)

    def slopes(self, since_s: float) -> tuple[float, float] | None:
        """Bytes a minute of services and of Redis, by least squares over the looks since; None if they are too few."""
        return slopes_of([look for look in self.looks if look.at_s >= since_s])

    def later_slopes(self, since_s: float) -> tuple[float, float] | None:
        """The same over the later half of the looks since: what settles is flat there, what leaks is not."""
        looks = [look for look in self.looks if look.at_s >= since_s]
        return slopes_of(looks[len(looks) // 2 :])


def slopes_of(looks: Sequence[Look]) -> tuple[float, float] | None:
    """Bytes a minute of services and of Redis; None of fewer than `FEWEST_LOOKS`."""
    if len(looks) < FEWEST_LOOKS:
        return None
    minutes = np.array([look.at_s - looks[0].at_s for look in looks]) / MINUTE_S
    sizes = np.array([(look.service_bytes, look.redis_bytes) for look in looks], np.float64)
    slopes = np.polyfit(minutes, sizes, 1)[0]
    return float(slopes[0]), float(slopes[1])
