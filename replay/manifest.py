"""Which items was a learner trained on? The form of RUN/lineage: lives of the learner, their batches, the versions that they published.

Pure but for reading and writing whole small files; `replay/manifest_writer.py` appends, `replay/manifest_reading.py` answers questions.

    life-000001.json              one life of the learner: the step that it went on from, and what its arithmetic depends on
    batches-000001-000000000001.arrow   an Arrow IPC stream, zstd; its name has the life and its first learner step; one row an update:
        learner_step int64        after the update
        key list<uint64>          of the batch's items, in their order
        shard list<uint16>        of each item, empty where all are of shard 0
        loss_weight list<float32> as it was used; only with `lineage: full`
        value_weight list<float32>  where the duration weight is for the policy alone; only with `lineage: full`
        checksum uint32           CRC-32 of all the above, little-endian, in this order
    versions-000001.jsonl         one line a published version: policy_version, learner_step, and with `lineage: full` the first
                                  sixteen hexadecimal digits of each tensor's sha256

A life that begins at step S puts aside what lives before it did beyond S: that was lost with them, and is done again.
"""

import json
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from sojourn.durable_files import replace_durably
from sojourn.errors import CheckpointError

FORMAT_VERSION = 1
NO_SHARDS = np.zeros(0, np.uint16)
NO_WEIGHTS = np.zeros(0, np.float32)
BATCH_SCHEMA = pa.schema(
    [
        pa.field("learner_step", pa.int64(), nullable=False),
        pa.field("key", pa.list_(pa.uint64()), nullable=False),
        pa.field("shard", pa.list_(pa.uint16()), nullable=False),
        pa.field("loss_weight", pa.list_(pa.float32()), nullable=False),
        pa.field("value_weight", pa.list_(pa.float32()), nullable=False),
        pa.field("checksum", pa.uint32(), nullable=False),
    ]
)


@dataclass(frozen=True)
class LearnerLife:
    """One life of a learner.

    number: 1, 2, ... over the run.  learner_step: of the checkpoint that it went on from, 0 for none.  full: weights are kept.
    facts: what else a repetition depends on, ready for JSON (learners/lineage.py).
    """

    number: int
    run_id: str
    learner_step: int
    full: bool
    facts: Mapping[str, Any]


@dataclass(frozen=True)
class TrainedBatch:
    """One update's batch of B items.

    learner_step: after it.  key: uint64[B].  shard: uint16[B], or [0] where all are of shard 0.  loss_weight, value_weight:
    float32[B], or [0] where they are not kept or not used.
    """

    learner_step: int
    key: np.ndarray
    shard: np.ndarray = field(default_factory=lambda: NO_SHARDS)
    loss_weight: np.ndarray = field(default_factory=lambda: NO_WEIGHTS)
    value_weight: np.ndarray = field(default_factory=lambda: NO_WEIGHTS)

    @property
    def checksum(self) -> int:
        found = zlib.crc32(np.int64(self.learner_step).tobytes())
        for array in (self.key, self.shard, self.loss_weight, self.value_weight):
            found = zlib.crc32(array.tobytes(), found)
        return found


@dataclass(frozen=True)
class PublishedVersion:
    """A policy that was published: after which step of which life, and digests of its tensors by name (empty: not kept)."""

    policy_version: int
    learner_step: int
    life: int
    tensors: Mapping[str, str]

    def line(self) -> str:
        fields = {"policy_version": self.policy_version, "learner_step": self.learner_step, "tensors": dict(self.tensors)}
        return json.dumps(fields, separators=(",", ":")) + "\n"


def lineage_folder(run_folder: Path) -> Path:
    return run_folder / "lineage"


def life_file(folder: Path, life: int) -> Path:
    return folder / f"life-{life:06d}.json"


def versions_file(folder: Path, life: int) -> Path:
    return folder / f"versions-{life:06d}.jsonl"


def batches_file(folder: Path, life: int, first_step: int) -> Path:
    return folder / f"batches-{life:06d}-{first_step:012d}.arrow"


def write_life(folder: Path, life: LearnerLife) -> None:
    """Raises OSError if the disk refuses."""
    folder.mkdir(parents=True, exist_ok=True)
    content = json.dumps({"format_version": FORMAT_VERSION, **asdict(life)}, indent=2)
    replace_durably(life_file(folder, life.number), content)


def read_lives(folder: Path) -> list[LearnerLife]:
    """All lives, first to last. Raises CheckpointError for a damaged or foreign one."""
    lives = []
    for file in sorted(folder.glob("life-*.json")):
        try:
            fields = json.loads(file.read_text())
            if (version := fields.pop("format_version")) != FORMAT_VERSION:
                raise CheckpointError(f"{file} has format {version}, this version of sojourn reads {FORMAT_VERSION}")
            lives.append(LearnerLife(**fields))
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise CheckpointError(f"{file} is damaged: {error!r}") from error
    return lives


def read_versions(folder: Path, life: int) -> Iterator[PublishedVersion]:
    """Versions that a life published, in order; a last line that a killed learner left unfinished is passed over."""
    file = versions_file(folder, life)
    for line in file.read_text().splitlines(keepends=True) if file.is_file() else ():
        try:
            fields = json.loads(line)
            yield PublishedVersion(fields["policy_version"], fields["learner_step"], life, fields["tensors"])
        except (ValueError, KeyError, TypeError) as error:
            if line.endswith("\n"):
                raise CheckpointError(f"{file} is damaged: {line[:60]!r}") from error


def record_batch(batches: Sequence[TrainedBatch]) -> Any:
    """Arrow rows of updates."""
    return pa.RecordBatch.from_arrays(
        [
            pa.array([batch.learner_step for batch in batches], pa.int64()),
            _lists([batch.key for batch in batches], "uint64"),
            _lists([batch.shard for batch in batches], "uint16"),
            _lists([batch.loss_weight for batch in batches], "float32"),
            _lists([batch.value_weight for batch in batches], "float32"),
            pa.array([batch.checksum for batch in batches], pa.uint32()),
        ],
        schema=BATCH_SCHEMA,
    )


def _lists(arrays: Sequence[np.ndarray], dtype: str) -> Any:
    offsets = np.cumsum([0, *map(len, arrays)], dtype=np.int32)
    return pa.ListArray.from_arrays(pa.array(offsets), pa.array(np.concatenate(arrays).astype(dtype, copy=False)))


def read_batches(file: Path) -> Iterator[TrainedBatch]:
    """The updates of a file, in order; a tail that a killed learner left unfinished is passed over.

    Raises CheckpointError where a row is not what was written.
    """
    for rows in _record_batches(file):
        columns = [rows.column(name) for name in BATCH_SCHEMA.names]
        step, checksum = (columns[at].to_numpy(zero_copy_only=False) for at in (0, 5))
        lists = [(column.offsets.to_numpy(), column.values.to_numpy(zero_copy_only=False)) for column in columns[1:5]]
        for row in range(len(rows)):
            parts = [values[offsets[row] : offsets[row + 1]] for offsets, values in lists]
            batch = TrainedBatch(int(step[row]), *parts)
            if batch.checksum != checksum[row]:
                raise CheckpointError(
                    f"{file} is not what was written: the batch of learner step {batch.learner_step} is damaged"
                )
            yield batch


def _record_batches(file: Path) -> Iterator[Any]:
    """Whole ones. A stream has no end until its file is closed, so what follows the last whole message is no error."""
    with file.open("rb") as opened:
        messages = pa.ipc.MessageReader.open_stream(opened)
        while (message := _next_message(messages)) is not None:
            if message.type != "record batch":
                continue
            try:
                yield pa.ipc.read_record_batch(message, BATCH_SCHEMA)
            except (pa.ArrowException, OSError) as error:
                raise CheckpointError(f"{file} is not what was written: {error}") from error


def _next_message(messages: Any) -> Any:
    """None at the end, and where a message is cut short."""
    try:
        return messages.read_next_message()
    except (StopIteration, pa.ArrowInvalid, OSError):
        return None
