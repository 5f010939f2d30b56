"""What the parameter service remembers on disk: the latest publication, the one before it, and which versions were allotted.

Does blocking file I/O; no network, no threads of its own. A publication's file is

    <sha256 of everything below, in hexadecimal>\\n
    <one line of JSON: version, steps, run, algorithm>\\n
    <safetensors bytes>

written under another name, synced, and then moved into place, so that a reader sees a whole file or none. `reserved` holds a
number that no allotted version exceeds; it is raised in blocks before use, so versions stay monotone even if both files rot.
"""

import hashlib
import json
import logging
import time
from dataclasses import dataclass
from pathlib import Path

from sojourn.durable_files import replace_durably
from sojourn.errors import CheckpointError, ContractError, UnavailableError
from sojourn.experience import ParameterSnapshot

RESERVED_BLOCK = 1024  # versions set aside at a time: one more fsync in a thousand publications

LOG = logging.getLogger("sojourn.parameters")


@dataclass(frozen=True)
class Publication:
    """A snapshot with its version allotted, and the sha256 of its tensors."""

    snapshot: ParameterSnapshot
    sha256: bytes


class DurableLatest:
    """The latest publication in a folder.

    Invariant: every version returned by `store` is above all returned before, in this life or an earlier one of the folder.
    Not thread-safe; one service owns a folder.
    """

    def __init__(self, folder: Path, run_id: str) -> None:
        """Read what earlier lives left. Raises ContractError for another run's folder, CheckpointError if versions are unknown."""
        self._folder = folder
        self._run_id = run_id
        folder.mkdir(parents=True, exist_ok=True)
        self._reserved = self._read_reserved()
        self.latest = self._read("latest")
        if self.latest is not None:
            self._next_version = self.latest.snapshot.policy_version + 1
        else:
            self._next_version = self._version_after_loss()
            self.latest = self._read("previous")
            if (folder / "latest").exists():
                (folder / "latest").replace(folder / "latest.corrupt")

    def store(self, snapshot: ParameterSnapshot, sha256: bytes) -> Publication:
        """Allot the next version and make the publication durable. Raises UnavailableError if the disk refuses.

        The attempt uses the version up even if it fails.
        """
        version = self._next_version
        self._next_version += 1
        allotted = ParameterSnapshot(
            version, snapshot.learner_step, snapshot.env_steps, snapshot.algorithm, snapshot.tensors, snapshot.published_at_s
        )
        try:
            self._reserve(version)
            self._write(allotted)
        except OSError as error:
            raise UnavailableError(f"cannot keep policy version {version} in {self._folder}: {error}") from error
        self.latest = Publication(allotted, sha256)
        return self.latest

    def _version_after_loss(self) -> int:
        """First version that cannot have been allotted although the latest file is missing or corrupt."""
        if self._reserved is not None:
            return self._reserved + 1
        if any((self._folder / name).exists() for name in ("latest", "previous", "reserved")):
            raise CheckpointError(
                f"{self._folder} is damaged: neither `latest` nor `reserved` can be read, so the versions already allotted are "
                "unknown; restore one of them, or start a new run with run.init_from"
            )
        return 1

    def _read_reserved(self) -> int | None:
        try:
            return int((self._folder / "reserved").read_text())
        except (FileNotFoundError, ValueError):
            return None

    def _reserve(self, version: int) -> None:
        if self._reserved is None or version > self._reserved:
            reserved = version + RESERVED_BLOCK
            replace_durably(self._folder / "reserved", f"{reserved}\n".encode())
            self._reserved = reserved

    def _read(self, name: str) -> Publication | None:
        """The publication in a file, or None if the file is missing, torn or corrupt."""
        try:
            content = (self._folder / name).read_bytes()
        except FileNotFoundError:
            return None
        checksum, _, rest = content.partition(b"\n")
        if checksum != hashlib.sha256(rest).hexdigest().encode():
            LOG.warning("%s is torn or corrupt (%d bytes): left aside", self._folder / name, len(content))
            return None
        header, _, tensors = rest.partition(b"\n")
        fields = json.loads(header)
        if fields["run_id"] != self._run_id:
            raise ContractError(f"{self._folder / name} belongs to run {fields['run_id']!r}, this is run {self._run_id!r}")
        age_s = max(0.0, time.time() - fields["published_unix_s"])
        snapshot = ParameterSnapshot(
            fields["policy_version"],
            fields["learner_step"],
            fields["env_steps"],
            fields["algorithm"],
            tensors,
            time.monotonic() - age_s,
        )
        return Publication(snapshot, hashlib.sha256(tensors).digest())

    def _write(self, snapshot: ParameterSnapshot) -> None:
        header = {
            "policy_version": snapshot.policy_version,
            "learner_step": snapshot.learner_step,
            "env_steps": snapshot.env_steps,
            "algorithm": snapshot.algorithm,
            "run_id": self._run_id,
            "published_unix_s": time.time() - (time.monotonic() - snapshot.published_at_s),
        }
        rest = json.dumps(header).encode() + b"\n" + snapshot.tensors
        replace_durably(self._folder / "latest", hashlib.sha256(rest).hexdigest().encode() + b"\n" + rest, keep_old_as="previous")
