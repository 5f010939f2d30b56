"""How do many small chunks become one, and apart again? Pure: no I/O, no clock.

A chunk of one step is 1.5 KB of Arrow around 0.2 KB of rows, and reading it back costs what a chunk of a thousand steps does. Chunks whose
row numbers follow one another, of whatever lives, become one *pack*: their rows in the same order in one body, and beside it what their
headers said, column by column.
"""

import json
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pyarrow as pa

from replay.answers import Stream
from replay.bodies import decode_columns, encode_columns
from replay.commit import StoredChunk
from sojourn.errors import ValidationError
from sojourn.experience import Columns

PACK_BYTES = 256 << 10
SMALL_BYTES = 64 << 10  # a chunk below this is packed with its neighbours
FEWEST_CHUNKS = 4
PART_COLUMNS = ("rows", "life", "message_number", "stored_unix_s", "held_s")


@dataclass(frozen=True)
class Pack:
    """P chunks as one entry of the durable tier.

    first_row: number of the first row; all others follow.  lives: of the chunks, in any order.
    parts: [P] each: rows int64, life int64 (index into `lives`), message_number int64, stored_unix_s float64, held_s float64.
    body: Arrow IPC of all rows, in the order of their numbers.
    """

    first_row: int
    lives: tuple[Stream, ...]
    parts: Columns
    body: bytes

    @cached_property
    def firsts(self) -> np.ndarray:
        """First row of each part, int64[P]."""
        found: np.ndarray = self.first_row + np.cumsum(self.parts["rows"]) - self.parts["rows"]
        return found

    @property
    def rows(self) -> int:
        return int(self.parts["rows"].sum())

    @property
    def entry_row(self) -> int:
        """What the entry is known by: the first row of the last part."""
        return int(self.firsts[-1])

    def fields(self) -> dict[str, bytes]:
        """As it is stored: h header JSON, p parts, b body, k CRC-32 of the three."""
        header = json.dumps({"first_row": self.first_row, "lives": self.lives}, separators=(",", ":")).encode()
        parts = encode_columns(self.parts)
        return {"h": header, "p": parts, "b": self.body, "k": str(_checksum(header, parts, self.body)).encode()}


def pack_of(fields: dict[bytes, bytes]) -> Pack | None:
    """The pack that was stored with these fields, None if they are not what was stored."""
    header, parts, body = (fields.get(name, b"") for name in (b"h", b"p", b"b"))
    if fields.get(b"k") != str(_checksum(header, parts, body)).encode():
        return None
    said = json.loads(header)
    lives = tuple((client_id, incarnation) for client_id, incarnation in said["lives"])
    return Pack(said["first_row"], lives, decode_columns(parts), body)


def _checksum(header: bytes, parts: bytes, body: bytes) -> int:
    return zlib.crc32(body, zlib.crc32(parts, zlib.crc32(header)))


def packed(chunks: Sequence[StoredChunk]) -> Pack | None:
    """One pack of chunks that follow one another; None where their bodies differ in their fields, or a lane skips rows.

    Rows of a lane follow one another inside a pack, so that a gap can only be before it.
    """
    try:
        table = pa.Table.from_batches([_batch(chunk.body) for chunk in chunks])
    except (pa.ArrowException, OSError):
        return None
    batch = table.combine_chunks().to_batches()[0]
    lives = tuple(dict.fromkeys(chunk.stream for chunk in chunks))
    number_of = {life: number for number, life in enumerate(lives)}
    parts: Columns = {
        "rows": np.array([chunk.rows for chunk in chunks], np.int64),
        "life": np.array([number_of[chunk.stream] for chunk in chunks], np.int64),
        "message_number": np.array([chunk.message_number for chunk in chunks], np.int64),
        "stored_unix_s": np.array([chunk.stored_unix_s for chunk in chunks], np.float64),
        "held_s": np.array([chunk.held_s for chunk in chunks], np.float64),
    }
    lane = (np.repeat(parts["life"], parts["rows"]) << 32) + batch.column("lane").to_numpy().astype(np.int64)
    if len(lane) != len(batch) or not _lanes_go_on(lane, batch.column("sequence").to_numpy()):
        return None
    return Pack(chunks[0].first_row, lives, parts, _stream_of(batch))


def _lanes_go_on(lane: np.ndarray, sequence: np.ndarray) -> bool:
    order = np.argsort(lane, kind="stable")
    same = np.diff(lane[order]) == 0
    return bool((np.diff(sequence[order])[same] == 1).all())


def _batch(body: bytes) -> pa.RecordBatch:
    with pa.ipc.open_stream(pa.py_buffer(body)) as reader:
        return reader.read_next_batch()


def _stream_of(batch: pa.RecordBatch) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, batch.schema) as writer:
        writer.write_batch(batch)
    body: bytes = sink.getvalue().to_pybytes()
    return body


def unpacked(pack: Pack) -> list[StoredChunk]:
    """The chunks that it was made of. Raises ValidationError if its body is no Arrow stream of its rows."""
    try:
        batch = _batch(pack.body)
    except (pa.ArrowException, OSError) as error:
        raise ValidationError(f"a pack at row {pack.first_row} is not an Arrow IPC stream of rows: {error}") from error
    told = zip(pack.firsts.tolist(), *(pack.parts[name].tolist() for name in PART_COLUMNS), strict=True)
    return [
        StoredChunk(
            first_row=first_row,
            rows=rows,
            client_id=pack.lives[life][0],
            incarnation=pack.lives[life][1],
            message_number=message_number,
            stored_unix_s=stored_unix_s,
            held_s=held_s,
            body=_stream_of(batch.slice(first_row - pack.first_row, rows)),
        )
        for first_row, rows, life, message_number, stored_unix_s, held_s in told
    ]
