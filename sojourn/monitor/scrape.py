"""What do the roles of a run say right now? Reads RUN/roles/*.json and asks each metrics endpoint, in parallel.

A role that does not answer within `TIMEOUT_S` is down in this reading; nothing is raised for it.
"""

import http.client
import json
import os
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families

from sojourn.roles import Announcement

TIMEOUT_S = 0.8

_OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # an endpoint of ours is never behind a proxy


@dataclass(frozen=True)
class Sample:
    """One exported number."""

    name: str
    labels: Mapping[str, str]
    value: float


@dataclass(frozen=True)
class Reading:
    """One role as it was at a scrape. samples are empty while it is down.

    gone: it has left the run, and these are its last counts.
    """

    said: Announcement
    up: bool
    samples: tuple[Sample, ...] = field(default=())
    gone: bool = False

    @property
    def life(self) -> tuple[int, float]:
        """Differs between lives of a role: its process and when that began."""
        return (self.said.pid, next((s.value for s in self.samples if s.name == "sojourn_up_since_seconds"), 0.0))


class Scraper:
    """Asks up to `parallel` endpoints at a time. Not thread-safe."""

    def __init__(self, run_folder: Path, parallel: int = 8) -> None:
        self._folder = run_folder / "roles"
        self._threads = ThreadPoolExecutor(parallel, thread_name_prefix="scrape")

    def read(self) -> dict[str, Reading]:
        """Every announced role by name, in the order of names."""
        said = _latest_of_each_endpoint(list(announcements(self._folder)))
        return dict(zip([one.name for one in said], self._threads.map(_read, said), strict=True))

    def close(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)


def announcements(folder: Path) -> Iterator[Announcement]:
    """What stands in roles/*.json, oldest first. A file that is just being removed or written is left out."""
    files = [(file, _modified_ns(file)) for file in folder.glob("*.json")]
    for file, _ in sorted(files, key=lambda pair: pair[1]):
        try:
            yield Announcement(**json.loads(file.read_text()))
        except (OSError, ValueError, TypeError):
            continue


def _latest_of_each_endpoint(said: Sequence[Announcement]) -> list[Announcement]:
    """A port that one role left may have been taken by another: only the later announcement may count what it says."""
    owner = {one.metrics: one.name for one in said}
    kept = [one if owner[one.metrics] == one.name else Announcement(one.name, one.pid, one.host) for one in said]
    return sorted(kept, key=lambda one: _counting(one.name))


def _counting(name: str) -> tuple[str, int]:
    """actor-2 comes before actor-10."""
    stem, _, number = name.rpartition("-")
    return (stem, int(number)) if number.isdigit() else (name, 0)


def _read(said: Announcement) -> Reading:
    if not said.metrics:
        return Reading(said, up=_lives_here(said))
    try:
        with _OPENER.open(f"http://{said.metrics}/metrics", timeout=TIMEOUT_S) as answer:
            return Reading(said, up=True, samples=tuple(parse(answer.read().decode())))
    except (OSError, ValueError, http.client.HTTPException):
        return Reading(said, up=False)


def parse(text: str) -> Iterator[Sample]:
    """Samples of a Prometheus text page. Raises ValueError if it is none."""
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            yield Sample(sample.name, sample.labels, sample.value)


def _lives_here(said: Announcement) -> bool:
    return said.host == os.uname().nodename and Path(f"/proc/{said.pid}").exists()


def _modified_ns(file: Path) -> int:
    try:
        return file.stat().st_mtime_ns
    except OSError:
        return 0
