"""The monitor's second hand: scrape, reckon, record, tell. Blocks only on the roles' HTTP endpoints and on `stop`."""

import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType

from sojourn.monitor.departed import gone_shards
from sojourn.monitor.durations import DurationReckoner, DurationRecord
from sojourn.monitor.keeping import Keeping
from sojourn.monitor.progress import Progress
from sojourn.monitor.reckoning import Reckoner
from sojourn.monitor.recorder import read_durations, read_progress
from sojourn.monitor.scrape import Scraper

PERIOD_S = 1.0


class Monitor:
    """Reads one run. Use as a context; `read` and `run` belong to one thread at a time.

    table: whose fill and age are shown, `learners.table`.
    """

    def __init__(self, run_folder: Path, table: str = "replay") -> None:
        self._folder = run_folder
        self._scraper = Scraper(run_folder)
        self._reckoner = Reckoner(table, known=next(reversed(read_progress(run_folder)), None))
        self._durations = DurationReckoner(table, before=next(reversed(read_durations(run_folder)), None))

    def read(self) -> Progress:
        """One record, now. Takes as long as the slowest endpoint, under a second each."""
        readings = self._scraper.read() | gone_shards(self._folder)
        self._durations.heard(readings)
        return self._reckoner.record(readings, time.time(), time.monotonic())

    def durations(self, record: Progress) -> DurationRecord:
        """What the latest reading, that of the record, and those before it say of durations."""
        return self._durations.record(record.time_s, record.elapsed_s)

    def run(self, stop: threading.Event, on_progress: Callable[[Progress], None] | None) -> None:
        """Once a second until `stop` is set: read, keep, call back. The last record is always kept."""
        with Keeping(self._folder) as keeping:
            while True:
                began_s = time.monotonic()
                record = self.read()
                keeping.keep(record, self.durations)
                if on_progress:
                    on_progress(record)
                if stop.wait(max(0.0, PERIOD_S - (time.monotonic() - began_s))):
                    break
            keeping.keep(record, self.durations, last=True)

    def close(self) -> None:
        self._scraper.close()

    def __enter__(self) -> "Monitor":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()
