"""An actor's spill file: the messages of one life for which memory has no room. Reads and writes one file, which only its owner uses.

Records (replay/spill_records.py) are written once, one after the other, and never changed. Nothing is synced: what a process wrote
outlives its death, and what a machine's death tears is found by checksum.
"""

import fcntl
import logging
import os
import re
import time
import zlib
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from replay.outage_buffer import Message
from replay.spill_records import HEADER_BYTES, Place, Torn, body_of, encode, records
from sojourn.metrics import Metrics

LOG = logging.getLogger("sojourn.replay.client")


@dataclass(frozen=True)
class SpillSettings:
    """folder: where the files of all actors lie.  budget_bytes: of one life's file; 0: nothing is spilled."""

    folder: Path
    budget_bytes: int


class SpillFile:
    """The messages of one life that are on disk. Not thread-safe: its owner calls it while holding a lock.

    Invariant: numbers rise without a gap; the file is there exactly while a message in it is unacknowledged, and locked as long as
    the process that writes or delivers it lives.
    """

    def __init__(self, path: Path, budget_bytes: int, opening: bytes, metrics: Metrics) -> None:
        """opening: what the first record holds.  The file is made with the first message."""
        self.path = path
        self.bytes = self.steps = self.damaged = 0
        self._budget_bytes = budget_bytes
        self._opening = opening
        self._metrics = metrics
        self._places: OrderedDict[int, Place] = OrderedDict()
        self._file = -1
        self._refused = False

    @classmethod
    def left_behind(cls, path: Path, metrics: Metrics) -> "tuple[SpillFile, bytes] | None":
        """The file of a former life and its opening, b"" if that is damaged. None if that life still lives or the file is gone.

        A file without a message, whose life died as it began to write, goes here; it is set aside if something in it is damaged.
        """
        try:
            file = os.open(path, os.O_RDWR)
        except FileNotFoundError:
            return None
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(file)
            return None
        found = cls(path, 0, b"", metrics)
        found._file = file
        opening = found._read_index()
        if not found._places:
            found._remove()
            return None
        return found, opening

    def __len__(self) -> int:
        return len(self._places)

    @property
    def numbers(self) -> Iterator[int]:
        """Of the messages that are here, rising."""
        return iter(self._places)

    @property
    def has_final(self) -> bool:
        """Whether the newest message ends its life."""
        return bool(self._places) and next(reversed(self._places.values())).final

    def append(self, message: Message, made_unix_s: float) -> bool:
        """Write a message. False if the budget or the disk has no room for it; the file is then as it was."""
        needed = HEADER_BYTES + len(message.rows)
        left_to_others = self._file < 0 and self._places
        if self._refused or left_to_others or self.bytes + needed > self._budget_bytes:
            return False
        try:
            if self._file < 0:
                self._create()
            offset = self.bytes + HEADER_BYTES
            self._put(message, made_unix_s)
        except OSError as error:
            self._give_up(error)
            return False
        crc = zlib.crc32(message.rows)
        self._add(Place(message.number, message.steps, message.final, message.made_at_s, offset, len(message.rows), crc))
        self._metrics.counter("sojourn_actor_spill_written_bytes").inc(needed)
        return True

    def _create(self) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._file = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o600)
        fcntl.flock(self._file, fcntl.LOCK_EX)
        self._put(Message(0, self._opening, 0, 0.0), time.time())
        LOG.info("messages that the replay service has not acknowledged go to %s", self.path)

    def _put(self, message: Message, made_unix_s: float) -> None:
        """Write a record behind the last one. Raises OSError."""
        left, at = memoryview(encode(message, made_unix_s)), self.bytes
        while left:
            written = os.pwrite(self._file, left, at)
            at, left = at + written, left[written:]
        self.bytes = at

    def _give_up(self, error: OSError) -> None:
        """Keep whole records only. Nothing more is tried until the service has acknowledged something."""
        LOG.error(
            "cannot spill to %s: %s; inserts wait, with what memory holds, until the replay service is back", self.path, error
        )
        self._refused = True
        if self._file >= 0:
            with suppress(OSError):  # a torn end is found by its checksum
                os.ftruncate(self._file, self.bytes)
        if self._file >= 0 and not self._places:
            self._remove()

    def _add(self, place: Place) -> None:
        self._places[place.number] = place
        self.steps += place.steps

    def after(self, number: int) -> int | None:
        """The oldest number above `number`, or None."""
        return next((kept for kept in self._places if kept > number), None)

    def read(self, number: int) -> Message:
        """A message. A damaged one is named, and comes without rows: its number is due all the same, or none could follow."""
        place = self._places[number]
        rows = body_of(self._file, place)
        if rows is None and place.offset >= 0:
            self._say_damaged(f"message {number}, {place.length} bytes from byte {place.offset}")
            self._places[number] = replace(place, offset=-1)
        return Message(number, rows or b"", place.steps, place.made_at_s, place.final)

    def acknowledge(self, number: int) -> Message | None:
        """Let go of a message; None if it is not here. Its rows are not read again. The file goes with the last one."""
        self._refused = False
        place = self._places.pop(number, None)
        if place is None:
            return None
        self.steps -= place.steps
        if not self._places:
            self._remove()
        return Message(number, b"", place.steps, place.made_at_s, place.final)

    def _remove(self) -> None:
        """The file has served; a damaged one is kept under another name, for people."""
        if self.damaged:
            self.set_aside("damaged")
        else:
            self.path.unlink(missing_ok=True)
        self.close()

    def set_aside(self, why: str) -> Path:
        """Give the file a name under which no later life delivers it. Returns that name."""
        return self.path.rename(self.path.with_suffix(f".{why}"))

    def close(self) -> None:
        """Let go of the file as it is; a later life delivers it."""
        if self._file >= 0:
            os.close(self._file)
        self._file, self.bytes, self.damaged = -1, 0, 0

    def _say_damaged(self, what: str) -> None:
        self.damaged += 1
        self._metrics.counter("sojourn_actor_spill_damaged_records").inc()
        LOG.error("spill file %s is damaged: %s; that is left out", self.path, what)

    # a former life's file

    def _read_index(self) -> bytes:
        """Find all records. Returns the opening. Numbers that are missing between two records are entered as damaged."""
        opening = b""
        self.bytes = os.fstat(self._file).st_size
        for found in records(self._file, self.bytes):
            if isinstance(found, Torn):
                self._say_damaged(f"bytes {found.start} to {found.end} hold no whole record")
            elif found.number == 0:
                opening = body_of(self._file, found) or b""
            else:
                for lost in range(max(self._places, default=found.number - 1) + 1, found.number):
                    self._add(unreadable(lost))
                self._add(found)
        return opening

    def begin_at(self, number: int) -> None:
        """Enter what is missing before the first readable message, which is due from `number` on, as damaged."""
        first = next(iter(self._places), number)
        if self.damaged:
            self._places = OrderedDict([(lost, unreadable(lost)) for lost in range(number, first)]) | self._places


def unreadable(number: int) -> Place:
    return Place(number, 0, False, time.monotonic(), -1, 0, 0)


def spill_path(folder: Path, client_id: str, incarnation: int, shard_index: int) -> Path:
    """Name of a life's file. It says which shard the life is pinned to: no other may take its messages."""
    return folder / f"{client_id}-{incarnation}-shard{shard_index}.spill"


def files_of(folder: Path, client_id: str) -> list[tuple[Path, int, int]]:
    """Files that lives of this client left, oldest life first: path, incarnation, shard."""
    name = re.compile(rf"{re.escape(client_id)}-(\d+)-shard(\d+)\.spill")
    found = [(path, match) for path in folder.glob("*.spill") if (match := name.fullmatch(path.name))]
    return sorted(((path, int(match[1]), int(match[2])) for path, match in found), key=lambda entry: entry[1])
