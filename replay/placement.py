"""On which shard does a life of an actor insert? Rendezvous hashing. Pure: no I/O, no clock, no randomness.

Every client reckons the same answer from the client's id and the shards' numbers alone. When a shard joins or leaves, only clients
that it gains or loses change theirs. Source: Thaler and Ravishankar, Using name-based mappings to increase hit rates, 1998.
"""

from collections.abc import Iterable
from hashlib import blake2b

RANK_BYTES = 8


def shard_for(client_id: str, shards: Iterable[int]) -> int:
    """The shard whose rank for this client is the highest. shards: numbers of those that take inserts, in any order, at least one."""
    return max(shards, key=lambda shard: (rank(client_id, shard), shard))


def rank(client_id: str, shard: int) -> int:
    """How much a client prefers a shard, evenly distributed over [0, 2^64) and unrelated to its other ranks."""
    return int.from_bytes(blake2b(f"{shard}:{client_id}".encode(), digest_size=RANK_BYTES).digest(), "big")
