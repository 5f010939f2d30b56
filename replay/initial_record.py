"""Which life sent what a run began with, and is all of it stored? Kept where a restart finds it, before anything is sent under it.

A file of the run folder, or, where a shard sends it by itself, a key of its durable tier: a container's folder may be gone, the tier holds
what was stored. Blocks.
"""

import asyncio
import json
from collections.abc import Coroutine
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol, TypeVar

from replay.redis_store import RedisStore
from sojourn.durable_files import replace_durably

FILE = "initial.json"
T = TypeVar("T")


@dataclass(frozen=True)
class InitialRecord:
    """shards: over so many the lanes are spread, by number.

    incarnations: granted by each, 0 before that.  finished: all of it is stored.
    """

    source: str
    fingerprint: str
    incarnations: tuple[int, ...]
    steps: int = 0
    finished: bool = False

    @property
    def shards(self) -> int:
        return len(self.incarnations)

    def to_json(self) -> str:
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str | bytes) -> "InitialRecord":
        fields = json.loads(text)
        return cls(**{**fields, "incarnations": tuple(fields["incarnations"])})


class Records(Protocol):
    """Where a run's record is kept."""

    def read(self) -> InitialRecord | None:
        """None before the first start."""

    def write(self, record: InitialRecord) -> None:
        """Replace it; it is durable then."""


class FileRecord:
    """RUN/initial.json."""

    def __init__(self, run_folder: Path) -> None:
        self._file = run_folder / FILE

    def read(self) -> InitialRecord | None:
        try:
            return InitialRecord.from_json(self._file.read_text())
        except FileNotFoundError:
            return None

    def write(self, record: InitialRecord) -> None:
        replace_durably(self._file, record.to_json())


class TierRecord:
    """A key of a shard's durable tier, and the file beside it, so that a launcher can go on with the run and the other way round.

    Used by a thread beside the shard's event loop. Raises UnavailableError while the server is gone.
    """

    def __init__(self, store: RedisStore, loop: asyncio.AbstractEventLoop, file: FileRecord) -> None:
        self._store, self._loop, self._file = store, loop, file

    def read(self) -> InitialRecord | None:
        text = self._on_the_loop(self._store.initial_json())
        return InitialRecord.from_json(text) if text else self._file.read()

    def write(self, record: InitialRecord) -> None:
        self._on_the_loop(self._store.set_initial(record.to_json()))
        self._file.write(record)

    def _on_the_loop(self, call: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(call, self._loop).result()
