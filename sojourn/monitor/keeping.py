"""Are records kept while the disk has no room? They are left out, which is said once, and it is tried again a little later.

A run must not lose its display and its supervision because its history cannot be written. Appends to files.
"""

import logging
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import TracebackType

from sojourn.monitor.durations import DurationRecord
from sojourn.monitor.progress import Progress
from sojourn.monitor.recorder import Recorder

AGAIN_S = 5.0
LOG = logging.getLogger("sojourn.launcher.monitor")


class Keeping:
    """A `Recorder` that outlives a full disk. Use as a context."""

    def __init__(self, run_folder: Path) -> None:
        self._folder = run_folder
        self._recorder: Recorder | None = None
        self._not_before_s = 0.0
        self._kept = False
        self._said = False

    def keep(self, record: Progress, durations: Callable[[Progress], DurationRecord], *, last: bool = False) -> None:
        """Write the record if it is worth it, and that of durations if it is due; both if it is the last one."""
        if time.monotonic() < self._not_before_s and not last:
            return
        try:
            recorder = self._recorder = self._recorder or Recorder(self._folder)
            if not (last and self._kept):
                self._kept = recorder.keep(record, always=last)
            if last or recorder.wants_durations(record):
                recorder.keep_durations(durations(record))
        except OSError as error:
            self._give_up(error)

    def _give_up(self, error: OSError) -> None:
        """Close what is open, a half-written line included; the next recorder begins behind the last whole one."""
        self._not_before_s, self._kept = time.monotonic() + AGAIN_S, False
        self.close()
        if not self._said:
            self._said = True
            LOG.warning("the run's progress cannot be written (%s); the run goes on, its curves will have a gap", error.strerror)

    def close(self) -> None:
        recorder, self._recorder = self._recorder, None
        with suppress(OSError):
            if recorder:
                recorder.close()

    def __enter__(self) -> "Keeping":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()
