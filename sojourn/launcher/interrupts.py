"""Ctrl-C and SIGTERM while a run goes: the first asks for a clean end, the second raises at once."""

import signal
import threading
from types import FrameType, TracebackType
from typing import Any

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Interrupts:
    """While entered, and only in the main thread, signals set `asked`; a second one raises KeyboardInterrupt where the program is."""

    def __init__(self) -> None:
        self.asked = threading.Event()
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> "Interrupts":
        self.install()
        return self

    def install(self) -> None:
        """Take the signals (again: Ray takes SIGTERM for itself when it starts)."""
        if threading.current_thread() is threading.main_thread():
            for number in SIGNALS:
                before = signal.signal(number, self._came)
                self._before.setdefault(number, before)

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        for number, before in self._before.items():
            signal.signal(number, before)

    def _came(self, number: int, frame: FrameType | None) -> None:
        if self.asked.is_set():
            raise KeyboardInterrupt
        self.asked.set()
