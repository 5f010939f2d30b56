"""Where an item came from: the row's own columns in its stored chunk, and what its actor said in Hello. Reads the durable tier."""

from collections.abc import Iterable
from dataclasses import dataclass

from replay.arrow import decode_chunk
from replay.client_records import Identity
from replay.commit import StoredChunk
from replay.fences import field_of
from replay.redis_store import RedisStore
from replay.rows import Rows
from sojourn.columns import Schema


@dataclass(frozen=True)
class Lineage:
    """One item's first step: who made it, where, and with which policy."""

    key: int
    client_id: str
    incarnation: int
    lane: int
    episode: int
    lane_sequence: int
    policy_version: int
    duration_s: float
    identity: Identity


async def lineage(tier: RedisStore, schema: Schema, keys: Iterable[int]) -> list[Lineage]:
    """Of those keys whose chunk is still kept, in order; others are left out. Each chunk is read once."""
    found: list[Lineage] = []
    chunk: StoredChunk | None = None
    for key in sorted(set(keys)):
        if chunk is None or key >= chunk.first_row + chunk.rows:
            chunk = await tier.chunk_of(key)
            if chunk is None:
                continue
            rows = decode_chunk(schema, chunk.body)
            identity = Identity.from_json(await tier.client(field_of(chunk.stream)))
        found.append(lineage_of(key, chunk, rows, identity))
    return found


def lineage_of(key: int, chunk: StoredChunk, rows: Rows, identity: Identity) -> Lineage:
    """Of one row of a chunk."""
    place = key - chunk.first_row
    return Lineage(
        key=key,
        client_id=chunk.client_id,
        incarnation=chunk.incarnation,
        lane=int(rows.lane[place]),
        episode=int(rows.episode[place]),
        lane_sequence=int(rows.sequence[place]),
        policy_version=int(rows.policy_version[place]),
        duration_s=float(rows.duration_s[place]),
        identity=identity,
    )
