"""How does a learner write down what it is trained on? Hands batches and versions to a thread that appends them to files.

`batch` and `version` copy a little and return; `sync` waits for the disk. Files are as in `replay/manifest.py`. A learner is never
ended by a disk that refuses: what could not be written is counted, and missing.
"""

import errno
import logging
import os
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, BinaryIO

import pyarrow as pa

from replay.manifest import (
    BATCH_SCHEMA,
    LearnerLife,
    PublishedVersion,
    TrainedBatch,
    batches_file,
    read_lives,
    record_batch,
    versions_file,
    write_life,
)
from sojourn.errors import CheckpointError

ROWS_AT_ONCE = 64  # updates that make a record batch even before FLUSH_S
FLUSH_S = 1.0
WAITING_UPDATES = 4_096  # then the learner waits for the disk: about 12 MB of keys and weights at 256 items
FILE_BYTES = 32 << 20  # then another file is begun

LOG = logging.getLogger("sojourn.learners")

Digests = Callable[[], Mapping[str, str]]
"""Digests of a policy's tensors by name; called on the writer's thread."""


class ManifestWriter:
    """Appends one life of a learner to the manifest of a run.

    lost_updates: updates that the disk refused.
    Invariant: a version is written after all batches that were handed over before it.
    """

    def __init__(self, folder: Path, *, run_id: str, learner_step: int, full: bool, facts: Mapping[str, Any]) -> None:
        """Begins the life. learner_step: that it goes on from.  facts: see `LearnerLife`.

        Raises CheckpointError if the folder cannot be written, or what former lives left there is damaged.
        """
        lives = read_lives(folder)
        number = 1 + (lives[-1].number if lives else 0)
        try:
            write_life(folder, LearnerLife(number, run_id, learner_step, full, facts))
        except OSError as error:
            raise CheckpointError(
                f"the lineage in {folder} cannot be written: {error.strerror}; make room, or write lineage: off"
            ) from error
        self.lost_updates = 0
        self._folder = folder
        self._life = number
        self._full = full
        self._changed = threading.Condition()
        self._waiting: list[TrainedBatch | tuple[int, int, Digests]] = []
        self._taken = 0  # entries that the thread is writing
        self._due = False
        self._closing = False
        self._open: _OpenFile | None = None
        self._thread = threading.Thread(target=self._run, name="lineage", daemon=True)
        self._thread.start()

    def batch(self, batch: TrainedBatch) -> None:
        """Note an update. Arrays are kept, so none may be a view of a larger one. Waits only while the disk is far behind."""
        with self._changed:
            self._waiting.append(batch)
            if len(self._waiting) >= ROWS_AT_ONCE:
                self._wake()
                self._changed.wait_for(lambda: len(self._waiting) < WAITING_UPDATES)

    def version(self, learner_step: int, policy_version: int, digests: Digests) -> None:
        """Note that the policy after `learner_step` was published as `policy_version`."""
        with self._changed:
            self._waiting.append((learner_step, policy_version, digests))
            self._wake()

    def sync(self, timeout_s: float) -> bool:
        """Wait until all that was handed over is on the disk, or was refused; False after `timeout_s`."""
        with self._changed:
            self._wake()
            return self._changed.wait_for(lambda: not self._waiting and not self._taken, timeout_s)

    def close(self, timeout_s: float = 5.0) -> None:
        """Write what waits, and end the thread."""
        with self._changed:
            self._closing = True
            self._wake()
        self._thread.join(timeout_s)

    def _wake(self) -> None:
        self._due = True
        self._changed.notify_all()

    def _run(self) -> None:
        ending = False
        while not ending:
            with self._changed:
                self._changed.wait_for(lambda: self._due or self._closing, FLUSH_S)
                entries, self._waiting, self._due, ending = self._waiting, [], False, self._closing
                self._taken = len(entries)
            self._write(entries)
            with self._changed:
                self._taken = 0
                self._changed.notify_all()
        self._end_file()

    def _write(self, entries: list[TrainedBatch | tuple[int, int, Digests]]) -> None:
        """Batches before each version, then its line."""
        batches: list[TrainedBatch] = []
        for entry in entries:
            if isinstance(entry, TrainedBatch):
                batches.append(entry)
            else:
                self._append(batches)
                batches = []
                self._append_version(*entry)
        self._append(batches)

    def _append(self, batches: list[TrainedBatch]) -> None:
        if not batches:
            return
        try:
            if self._open is None:
                self._open = _OpenFile(batches_file(self._folder, self._life, batches[0].learner_step))
            self._open.append(batches)
        except OSError as error:
            self._refused(error, len(batches))
        else:
            if self._open.bytes >= FILE_BYTES:
                self._end_file()

    def _append_version(self, learner_step: int, policy_version: int, digests: Digests) -> None:
        version = PublishedVersion(policy_version, learner_step, self._life, digests() if self._full else {})
        try:
            append_whole(versions_file(self._folder, self._life), version.line().encode())
        except OSError as error:
            self._refused(error, 0)

    def _refused(self, error: OSError, updates: int) -> None:
        if not self.lost_updates:
            LOG.warning("lineage: %s cannot be written, batches from here on are missing there: %s", self._folder, error)
        self.lost_updates += updates
        self._end_file()

    def _end_file(self) -> None:
        if self._open is not None:
            self._open.close()
            self._open = None


def append_whole(path: Path, line: bytes) -> None:
    """Append a line, or nothing of it: the next one would become part of half a line. Raises OSError if the disk refuses."""
    with path.open("ab", buffering=0) as file:
        whole_bytes = file.tell()
        try:
            if file.write(line) < len(line):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        except OSError:
            file.truncate(whole_bytes)
            raise


class _OpenFile:
    """A file of batches that grows. What was appended is with the operating system, so that kill -9 does not lose it."""

    def __init__(self, path: Path) -> None:
        self._file: BinaryIO = path.open("wb")
        options = pa.ipc.IpcWriteOptions(compression="zstd")
        self._stream = pa.ipc.new_stream(self._file, BATCH_SCHEMA, options=options)

    @property
    def bytes(self) -> int:
        return self._file.tell()

    def append(self, batches: list[TrainedBatch]) -> None:
        self._stream.write_batch(record_batch(batches))
        self._file.flush()

    def close(self) -> None:
        """Raises nothing: a disk that refuses the end marker has been complained of."""
        for end in (self._stream.close, self._sync, self._file.close):
            try:  # each writes what the one before could not, and may be refused as that was
                end()
            except OSError as error:
                LOG.debug("lineage: the end of a file could not be written: %s", error)

    def _sync(self) -> None:
        self._file.flush()
        os.fsync(self._file.fileno())
