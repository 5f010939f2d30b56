"""How a snapshot becomes a manifest and chunks, and back. Pure: no I/O; the clock is handed in."""

import hashlib
import math
from collections.abc import Iterable, Iterator
from dataclasses import replace

from protos import parameters_pb2 as pb
from sojourn.errors import ContractError, ValidationError
from sojourn.experience import ParameterSnapshot
from sojourn.rpc import CHUNK_BYTES, CONTRACT_VERSION, OLDEST_CONTRACT

MOST_BYTES = 2 << 30  # of one publication: protobuf's own limit for a message, and far above any policy trained here


def manifest_of(snapshot: ParameterSnapshot, sha256: bytes, run_id: str, now_s: float) -> pb.Manifest:
    """The manifest as sent at `now_s` on the clock of `published_at_s`."""
    return pb.Manifest(
        policy_version=snapshot.policy_version,
        learner_step=snapshot.learner_step,
        env_steps=snapshot.env_steps,
        total_bytes=len(snapshot.tensors),
        sha256=sha256,
        run_id=run_id,
        algorithm=snapshot.algorithm,
        age_s=max(0.0, now_s - snapshot.published_at_s),
        contract_version=CONTRACT_VERSION,
    )


def chunks_of(tensors: bytes) -> Iterator[bytes]:
    """Consecutive pieces of at most CHUNK_BYTES."""
    for start in range(0, len(tensors), CHUNK_BYTES):
        yield tensors[start : start + CHUNK_BYTES]


def check_contract(version: int) -> None:
    """Raises ContractError unless the other side's contract is one that we speak. 0: it did not say."""
    if version and not OLDEST_CONTRACT <= version <= CONTRACT_VERSION:
        raise ContractError(
            f"the other side speaks contract {version}, this one {OLDEST_CONTRACT} to {CONTRACT_VERSION}: "
            "install the same version of sojourn on both"
        )


def check_run(theirs: str, ours: str) -> None:
    """Raises ContractError if both name a run and the runs differ."""
    if theirs and ours and theirs != ours:
        raise ContractError(f"this is the parameter service of run {ours!r}, not of run {theirs!r}")


class Assembly:
    """Collects one publication's parts in order.

    Invariant: never holds more bytes than the manifest announced.
    """

    def __init__(self, manifest: pb.Manifest, now_s: float) -> None:
        """Raises ValidationError for an impossible size or age."""
        if not 0 < manifest.total_bytes <= MOST_BYTES:
            raise ValidationError(f"a publication has 1 to {MOST_BYTES} bytes, the manifest says {manifest.total_bytes}")
        if not 0.0 <= manifest.age_s < math.inf:
            raise ValidationError(f"a publication's age_s is finite and not negative, the manifest says {manifest.age_s}")
        self._manifest = manifest
        self._published_at_s = now_s - manifest.age_s
        self._parts: list[bytes] = []
        self._missing = manifest.total_bytes

    @property
    def sha256(self) -> bytes:
        """What the manifest says; `snapshot` checks it."""
        return bytes(self._manifest.sha256)

    def add(self, chunk: bytes) -> bool:
        """Take the next chunk; True when it was the last. Raises ValidationError if it is too large."""
        if len(chunk) > min(CHUNK_BYTES, self._missing):
            raise ValidationError(f"chunk of {len(chunk)} bytes; at most {min(CHUNK_BYTES, self._missing)} were expected here")
        self._parts.append(chunk)
        self._missing -= len(chunk)
        return self._missing == 0

    def snapshot(self) -> ParameterSnapshot:
        """The whole publication. Raises ValidationError if it is incomplete or its checksum is wrong."""
        if self._missing:
            raise ValidationError(f"the publication ended {self._missing} bytes short of {self._manifest.total_bytes}")
        tensors = b"".join(self._parts)
        if hashlib.sha256(tensors).digest() != self._manifest.sha256:
            raise ValidationError(f"checksum of {len(tensors)} bytes of policy version {self._manifest.policy_version} is wrong")
        manifest = self._manifest
        return ParameterSnapshot(
            manifest.policy_version,
            manifest.learner_step,
            manifest.env_steps,
            manifest.algorithm,
            tensors,
            self._published_at_s,
        )


def publish_requests(snapshot: ParameterSnapshot, run_id: str, now_s: float) -> Iterator[pb.PublishRequest]:
    """What a publisher sends: the version is left to the service."""
    sha256 = hashlib.sha256(snapshot.tensors).digest()
    yield pb.PublishRequest(manifest=manifest_of(replace(snapshot, policy_version=0), sha256, run_id, now_s))
    for chunk in chunks_of(snapshot.tensors):
        yield pb.PublishRequest(chunk=chunk)


def assembled(replies: Iterable[tuple[pb.WatchReply, float]]) -> Iterator[ParameterSnapshot]:
    """The snapshots in a watched stream; each reply comes with the clock when it arrived."""
    assembly: Assembly | None = None
    for reply, now_s in replies:
        if reply.WhichOneof("part") == "manifest":
            check_contract(reply.manifest.contract_version)
            assembly = Assembly(reply.manifest, now_s)
        elif assembly is None:
            raise ValidationError("a chunk came before its manifest")
        elif assembly.add(reply.chunk):
            yield assembly.snapshot()
            assembly = None
