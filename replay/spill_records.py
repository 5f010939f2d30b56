"""How messages lie in a spill file: one record each, with checksums over header and body. Reads a file; writes nothing.

The first record, number 0, holds what the life said in Hello, so that a later life can deliver the rest in its name; the others are
messages, in order:

    magic 8 | number u64 | steps u32 | final u8 | made_unix_s f64 | length u64 | CRC-32 of the body u32 | CRC-32 of all before u32 | body

Little-endian.
"""

import os
import struct
import time
import zlib
from collections.abc import Iterator
from dataclasses import dataclass

from replay.outage_buffer import Message

MAGIC = b"SJSPILL1"
FIELDS = struct.Struct("<8sQIBdQI")
CHECK = struct.Struct("<I")
HEADER_BYTES = FIELDS.size + CHECK.size
SEARCH_BYTES = 1 << 20  # how much is read at once when a damaged header hides where the next record begins


@dataclass(frozen=True)
class Place:
    """Where a message lies. made_at_s: on the owner's clock.  offset: of its body, -1 if the record cannot be read."""

    number: int
    steps: int
    final: bool
    made_at_s: float
    offset: int
    length: int
    body_crc: int


@dataclass(frozen=True)
class Torn:
    """Bytes of a file that are no whole record."""

    start: int
    end: int


def encode(message: Message, made_unix_s: float) -> bytes:
    """A record's bytes."""
    head = FIELDS.pack(
        MAGIC, message.number, message.steps, message.final, made_unix_s, len(message.rows), zlib.crc32(message.rows)
    )
    return b"".join((head, CHECK.pack(zlib.crc32(head)), message.rows))


def decode(header: bytes, at: int) -> Place | None:
    """What a header at byte `at` says; None if it is none or damaged. The message's age goes on over lives and never runs backwards."""
    if len(header) < HEADER_BYTES or CHECK.unpack_from(header, FIELDS.size)[0] != zlib.crc32(header[: FIELDS.size]):
        return None
    magic, number, steps, final, made_unix_s, length, body_crc = FIELDS.unpack_from(header)
    made_at_s = time.monotonic() - max(0.0, time.time() - made_unix_s)
    return Place(number, steps, bool(final), made_at_s, at + HEADER_BYTES, length, body_crc) if magic == MAGIC else None


def records(file: int, size: int) -> Iterator[Place | Torn]:
    """What lies in the first `size` bytes of an open file, in order. Bodies are not read."""
    at = 0
    while at < size:
        place = decode(os.pread(file, HEADER_BYTES, at), at)
        if place is None or place.offset + place.length > size:
            torn = Torn(at, next_header(file, at + 1, size))
            yield torn
            at = torn.end
        else:
            yield place
            at = place.offset + place.length


def next_header(file: int, start: int, size: int) -> int:
    """Where the next whole header begins; `size` if there is none."""
    while start < size:
        part = os.pread(file, SEARCH_BYTES, start)
        found = part.find(MAGIC)
        if found < 0:
            start += max(1, len(part) - len(MAGIC) + 1)
            continue
        start += found
        if decode(os.pread(file, HEADER_BYTES, start), start) is not None:
            return start
        start += 1
    return size


def body_of(file: int, place: Place) -> bytes | None:
    """A record's body, or None if it is not what was written."""
    if place.offset < 0:
        return None
    body = os.pread(file, place.length, place.offset)
    return body if len(body) == place.length and zlib.crc32(body) == place.body_crc else None
