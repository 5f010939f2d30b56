"""When was what acknowledged? Latencies and rates of a run, and the first acknowledgement after a moment. Thread-safe, no I/O."""

import threading
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Latency:
    """Seconds from when a message was complete until its acknowledgement; NaN without one."""

    p50_s: float
    p99_s: float
    p999_s: float
    longest_s: float


class Acknowledgements:
    """Every acknowledgement: when it came, when its message was made, its steps. Times are of the monotonic clock."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._at_s: list[float] = []
        self._made_at_s: list[float] = []
        self._steps: list[int] = []
        self._came = threading.Condition(self._lock)

    def add(self, at_s: float, made_at_s: float, steps: int) -> None:
        with self._came:
            self._at_s.append(at_s)
            self._made_at_s.append(made_at_s)
            self._steps.append(steps)
            self._came.notify_all()

    def wait_for_one_made_after(self, moment_s: float, timeout_s: float) -> float | None:
        """When the first message that was made after the moment was acknowledged; None if none is within the time.

        One that was made before may have been acknowledged by a service that has died since.
        """
        with self._came:
            self._came.wait_for(lambda: any(made_s > moment_s for made_s in reversed(self._made_at_s)), timeout_s)
            return min(
                (at_s for at_s, made_s in zip(self._at_s, self._made_at_s, strict=True) if made_s > moment_s), default=None
            )

    @property
    def newest_s(self) -> float:
        """When the latest came, 0 without one."""
        with self._lock:
            return self._at_s[-1] if self._at_s else 0.0

    def latency(self, since_s: float = 0.0) -> Latency:
        """Of all messages that were acknowledged since."""
        with self._lock:
            at_s, made_at_s = np.array(self._at_s), np.array(self._made_at_s)
        took_s = (at_s - made_at_s)[at_s >= since_s]
        if not len(took_s):
            return Latency(*[float("nan")] * 4)
        return Latency(*(float(np.quantile(took_s, q)) for q in (0.5, 0.99, 0.999, 1.0)))

    def rate(self, since_s: float, until_s: float) -> float:
        """Acknowledged steps a second between two moments."""
        with self._lock:
            at_s, steps = np.array(self._at_s), np.array(self._steps)
        return float(steps[(at_s >= since_s) & (at_s < until_s)].sum() / (until_s - since_s)) if len(steps) else 0.0
