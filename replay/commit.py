"""What becomes durable together: chunks, fences, pages, deletions, and the script that writes them at once.

Pure: no I/O, no clock. `replay/redis_store.py` sends it.
"""

import json
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

# One transaction of the shard: nothing of it is visible before all of it is.
# KEYS: owner, chunks, fences, pages, packs.
# ARGV: this service's incarnation; first row of the newest chunk that the server must have had before, 0 if any; number of chunks, then id, header, body, checksum of each; number of fences, then field and
#       value of each; number of pages, then name and bytes of each (none: delete it); then ids of chunks and packs to delete.
# Returns OK, or before anything is changed the error NOTOWNER when another service has taken over, or LOST when the server came back
# without the owner or the newest chunk: the client library connects again by itself, so that nobody else would notice. A server
# without room refuses the first write, so that a commit is never half there.
COMMIT = """
local owner = redis.call('GET', KEYS[1])
local newest = tonumber(ARGV[2])
local function top()
  if redis.call('EXISTS', KEYS[2]) == 0 then
    return 0
  end
  local about = redis.call('XINFO', 'STREAM', KEYS[2])
  for i = 1, #about, 2 do
    if about[i] == 'last-generated-id' then
      return tonumber(string.match(about[i + 1], '^%d+'))
    end
  end
end
if not owner or (newest > 0 and top() < newest) then
  return redis.error_reply('LOST the server came back without what it had acknowledged')
end
if owner ~= ARGV[1] then
  return redis.error_reply('NOTOWNER another replay service has taken over this shard')
end
local at = 3
local function repeated(step, act)
  local count = tonumber(ARGV[at])
  at = at + 1
  for _ = 1, count do
    act(at)
    at = at + step
  end
end
repeated(4, function(i) redis.call('XADD', KEYS[2], ARGV[i], 'h', ARGV[i + 1], 'b', ARGV[i + 2], 'k', ARGV[i + 3]) end)
repeated(2, function(i) redis.call('HSET', KEYS[3], ARGV[i], ARGV[i + 1]) end)
repeated(2, function(i)
  if ARGV[i + 1] == '' then
    redis.call('HDEL', KEYS[4], ARGV[i])
  else
    redis.call('HSET', KEYS[4], ARGV[i], ARGV[i + 1])
  end
end)
for i = at, #ARGV do
  redis.call('XDEL', KEYS[2], ARGV[i])
  redis.call('XDEL', KEYS[5], ARGV[i])
end
return redis.status_reply('OK')
"""

# Takes a damaged entry out of the chunks and keeps it for people: field `<id> <h | b | k>` -> bytes as they were found.
# KEYS: owner, chunks or packs, damaged.  ARGV: this service's incarnation, id of the entry.  Returns OK, or the error NOTOWNER.
SET_ASIDE = """
if redis.call('GET', KEYS[1]) ~= ARGV[1] then
  return redis.error_reply('NOTOWNER another replay service has taken over this shard')
end
for _, entry in ipairs(redis.call('XRANGE', KEYS[2], ARGV[2], ARGV[2])) do
  for i = 1, #entry[2], 2 do
    redis.call('HSET', KEYS[3], ARGV[2] .. ' ' .. entry[2][i], entry[2][i + 1])
  end
end
redis.call('XDEL', KEYS[2], ARGV[2])
return redis.status_reply('OK')
"""


@dataclass(frozen=True)
class StoredChunk:
    """One message's rows as they are kept.

    first_row: number of the first row; the others follow.  stored_unix_s: the service's wall clock when it wrote the chunk.
    held_s: age of the body then.
    """

    first_row: int
    rows: int
    client_id: str
    incarnation: int
    message_number: int
    stored_unix_s: float
    held_s: float
    body: bytes

    @property
    def stream(self) -> tuple[str, int]:
        return self.client_id, self.incarnation

    def header(self) -> bytes:
        fields = {name: value for name, value in vars(self).items() if name != "body"}
        return json.dumps(fields, separators=(",", ":")).encode()


@dataclass(frozen=True)
class CorruptedChunk:
    """An entry that is not what was stored. key: which one, for people.  stored_bytes: what it takes.  stream: which holds it.

    first_row: as its id says: of a pack, that of its last part.
    """

    first_row: int
    key: str
    stored_bytes: int
    stream: str = "chunks"


@dataclass(frozen=True)
class Commit:
    """What becomes durable together. fences, pages: field -> value, an empty page is deleted.  freed: first rows of chunks to delete."""

    chunks: Sequence[StoredChunk] = ()
    fences: Mapping[str, str] = field(default_factory=dict)
    pages: Mapping[str, bytes] = field(default_factory=dict)
    freed: Sequence[int] = ()

    def arguments(self, owner: int, newest_row: int) -> list[bytes | str | int]:
        """ARGV of the commit script."""
        arguments: list[bytes | str | int] = [owner, newest_row, len(self.chunks)]
        for chunk in self.chunks:
            header = chunk.header()
            arguments += [f"{chunk.first_row}-0", header, chunk.body, checksum(header, chunk.body)]
        arguments.append(len(self.fences))
        for name, state in self.fences.items():
            arguments += [name, state]
        arguments.append(len(self.pages))
        for name, page in self.pages.items():
            arguments += [name, page]
        return [*arguments, *(f"{first_row}-0" for first_row in self.freed)]


def checksum(header: bytes, body: bytes) -> int:
    """CRC-32 over header and body: 38 microseconds for 256 KiB, where SHA-256 takes 130."""
    return zlib.crc32(body, zlib.crc32(header))
