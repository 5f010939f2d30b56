"""Where are packs of small chunks kept, and how are chunks and packs read as one sequence? Network I/O through the store; no clock.

Beside the keys of replay/redis_store.py there is:

    <tag>:packs   stream   id `<first row of the last part>-0`; the fields of a `Pack`

A chunk is in `chunks` or in a pack, never in both: the exchange is one script. A reader sees each chunk once, also while chunks are
exchanged under his eyes: he reads a stretch of `chunks` first and the packs of that stretch afterwards, so that what was missing in the
first is in the second, and what is in both is passed over.
"""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from typing import Protocol

from replay.commit import CorruptedChunk, StoredChunk
from replay.packing import Pack, pack_of, unpacked

PACKS = "packs"
ENTRIES_PER_READ = 16  # of about 256 KiB each ...
READ_BYTES = 8 << 20  # ... and fewer where the entries before were larger
BEHIND_ALL = "+"

Entry = tuple[bytes, dict[bytes, bytes]]

# KEYS: owner, chunks, packs.  ARGV: this service's incarnation; id of the pack; how many arguments its fields and values are, and these;
# then ids of the chunks that it takes the place of.
# Returns OK; GONE, and nothing is changed, if one of the chunks is no longer there or a later pack already is; or the error NOTOWNER.
EXCHANGE = """
if redis.call('GET', KEYS[1]) ~= ARGV[1] then
  return redis.error_reply('NOTOWNER another replay service has taken over this shard')
end
local first = 4 + tonumber(ARGV[3])
for i = first, #ARGV do
  if #redis.call('XRANGE', KEYS[2], ARGV[i], ARGV[i]) == 0 then
    return 'GONE'
  end
end
if #redis.call('XRANGE', KEYS[3], ARGV[2], '+', 'COUNT', 1) > 0 then
  return 'GONE'
end
local fields = {}
for i = 4, first - 1 do
  fields[#fields + 1] = ARGV[i]
end
local added = redis.pcall('XADD', KEYS[3], ARGV[2], unpack(fields))
if type(added) == 'table' then
  return string.find(added.err, 'equal or smaller') and 'GONE' or added
end
for i = first, #ARGV do
  redis.call('XDEL', KEYS[2], ARGV[i])
end
return 'OK'
"""


class EntryStore(Protocol):
    """What of `RedisStore` is needed here."""

    owner: int

    def key(self, name: str) -> str: ...

    async def entries(self, name: str, first: str, last: str, count: int, *, newest_first: bool = False) -> list[Entry]: ...

    async def script(self, source: str, names: Sequence[str], arguments: Sequence[str | bytes | int]) -> bytes: ...

    def checked(self, entry: Entry) -> StoredChunk | CorruptedChunk: ...


async def exchange(store: EntryStore, pack: Pack) -> bool:
    """Put a pack into the place of its chunks, at once. False, and nothing is changed, if they are no longer all there.

    Raises NotOwnerError, TierFullError or UnavailableError; after the last it may or may not have happened.
    """
    fields: list[str | bytes | int] = [part for name, value in pack.fields().items() for part in (name, value)]
    ids = [f"{first_row}-0" for first_row in pack.firsts.tolist()]
    arguments = [store.owner, f"{pack.entry_row}-0", len(fields), *fields, *ids]
    return await store.script(EXCHANGE, ("owner", "chunks", PACKS), arguments) == b"OK"


async def chunks_of(store: EntryStore, first_rows: Sequence[int]) -> list[StoredChunk | CorruptedChunk]:
    """The chunks with these first rows, ascending, as far as they are there."""
    wanted, found, after = set(first_rows), [], f"{first_rows[0]}-0"
    while entries := await store.entries("chunks", after, f"{first_rows[-1]}-0", len(first_rows)):
        found += [store.checked(entry) for entry in entries if row_of(entry[0]) in wanted]
        after = f"({entries[-1][0].decode()}"
    return found


async def chunks_and_packs(store: EntryStore, first_row: int = 0) -> AsyncGenerator[StoredChunk | CorruptedChunk | Pack, None]:
    """Every chunk that begins at `first_row` or later, in order, packs whole where nothing of them lies before.

    The next ones are read while the caller uses these.
    """
    after, told_row = f"{first_row}-0", first_row - 1
    reading = asyncio.create_task(store.entries("chunks", after, BEHIND_ALL, 1))
    try:
        while True:
            page = await reading
            last = page[-1][0].decode() if page else BEHIND_ALL
            if page:
                reading = asyncio.create_task(store.entries("chunks", f"({last}", BEHIND_ALL, entries_like(page)))
            waiting = deque(map(store.checked, page))
            async with aclosing(_packs(store, after, last)) as packs:
                async for pack in packs:
                    while waiting and waiting[0].first_row < pack.first_row:
                        yield waiting.popleft()
                    for found in (
                        [pack] if isinstance(pack, CorruptedChunk) or pack.first_row > told_row else _behind(pack, told_row)
                    ):
                        yield found
                    told_row = pack.first_row if isinstance(pack, CorruptedChunk) else pack.entry_row
                    while waiting and waiting[0].first_row <= told_row:
                        waiting.popleft()
            for chunk in waiting:
                yield chunk
                told_row = chunk.first_row
            if not page:
                return
            after = f"({last}"
    finally:
        reading.cancel()


def _behind(pack: Pack, row: int) -> list[StoredChunk]:
    return [chunk for chunk in unpacked(pack) if chunk.first_row > row]


async def _packs(store: EntryStore, after: str, last: str) -> AsyncGenerator[Pack | CorruptedChunk, None]:
    """Those whose last part begins in this stretch of ids."""
    count = 1
    while entries := await store.entries(PACKS, after, last, count):
        for entry in entries:
            yield checked_pack(store, entry)
        count, after = entries_like(entries), f"({entries[-1][0].decode()}"


def checked_pack(store: EntryStore, entry: Entry) -> Pack | CorruptedChunk:
    pack = pack_of(entry[1])
    if pack is not None:
        return pack
    entry_id = entry[0].decode()
    return CorruptedChunk(row_of(entry[0]), f"{store.key(PACKS)} {entry_id}", sum(map(len, entry[1].values())), PACKS)


async def packed_chunk_of(store: EntryStore, row: int) -> StoredChunk | None:
    """The chunk in a pack that holds a row, or None."""
    around = await store.entries(PACKS, f"{row}-0", BEHIND_ALL, 1)
    around += await store.entries(PACKS, "-", f"{row}-0", 1, newest_first=True)
    for pack in map(pack_of, (entry[1] for entry in around)):
        if pack is not None and pack.first_row <= row < pack.first_row + pack.rows:
            return next(chunk for chunk in reversed(unpacked(pack)) if chunk.first_row <= row)
    return None


async def oldest_packed_row(store: EntryStore) -> int:
    """First row of the oldest pack; 0 if there is none. A damaged one may begin anywhere: 1."""
    entries = await store.entries(PACKS, "-", BEHIND_ALL, 1)
    if not entries:
        return 0
    pack = pack_of(entries[0][1])
    return pack.first_row if pack is not None else 1


def entries_like(entries: Sequence[Entry]) -> int:
    """How many entries to read at once, so that some as large as these stay below READ_BYTES."""
    largest = max(len(fields.get(b"b", b"")) for _, fields in entries)
    return max(1, min(ENTRIES_PER_READ, READ_BYTES // max(1, largest)))


def row_of(entry_id: bytes) -> int:
    """Row number of a stream entry's id, `<row>-0`."""
    return int(entry_id.split(b"-")[0])
