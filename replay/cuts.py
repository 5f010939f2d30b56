"""Cuts: the state of a shard's tables at one point, kept on the server under a checkpoint's name until two newer ones are there.

Network I/O; no clock. A cut is a copy of the latest snapshot, which the server makes by itself (COPY, of Redis 6.2): nothing of it
travels. Beside the keys of replay/redis_store.py there are:

    <tag>:cuts          hash   label -> JSON of the `Cut`
    <tag>:cut:<label>   hash   the pages as they were, counters among them
"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from replay.redis_store import RedisStore
from sojourn.errors import ValidationError

# Copies the snapshot, lists the cut, and removes those that are not kept any more, at once.
# KEYS: owner, pages, cuts, the new cut, then cuts to remove.  ARGV: this service's incarnation, label, JSON, then labels to remove.
# Returns OK, or before anything is changed the error NOTOWNER, or LOST when the server came back without the snapshot.
MAKE = """
if redis.call('GET', KEYS[1]) ~= ARGV[1] then
  return redis.error_reply('NOTOWNER another replay service has taken over this shard')
end
if redis.call('EXISTS', KEYS[2]) == 0 then
  return redis.error_reply('LOST the server came back without its snapshot')
end
redis.call('COPY', KEYS[2], KEYS[4], 'REPLACE')
redis.call('HSET', KEYS[3], ARGV[2], ARGV[3])
for i = 5, #KEYS do
  redis.call('UNLINK', KEYS[i])
  redis.call('HDEL', KEYS[3], ARGV[i - 1])
end
return redis.status_reply('OK')
"""

# Puts a cut in the place of the snapshot, with some fields laid over it, at once.
# KEYS: owner, pages, the cut.  ARGV: this service's incarnation, then field and value of each; an empty value removes the field.
# Returns OK, or before anything is changed the error NOTOWNER, or LOST when there is no such cut.
GO_BACK = """
if redis.call('GET', KEYS[1]) ~= ARGV[1] then
  return redis.error_reply('NOTOWNER another replay service has taken over this shard')
end
if redis.call('COPY', KEYS[3], KEYS[2], 'REPLACE') == 0 then
  return redis.error_reply('LOST there is no such cut')
end
for i = 2, #ARGV, 2 do
  if ARGV[i + 1] == '' then
    redis.call('HDEL', KEYS[2], ARGV[i])
  else
    redis.call('HSET', KEYS[2], ARGV[i], ARGV[i + 1])
  end
end
return redis.status_reply('OK')
"""


@dataclass(frozen=True)
class Cut:
    """What a shard says of one cut.

    row_number: the last row in it.  env_steps, items: of the shard then.  learner_step: of the checkpoint.
    table, learned_draws: leases of that table whose batches the checkpoint has learned from.
    number: counts the shard's cuts; the larger, the newer.
    """

    label: str
    row_number: int
    env_steps: int
    items: int
    learner_step: int
    table: str
    learned_draws: tuple[int, ...]
    number: int

    @classmethod
    def from_json(cls, text: bytes) -> "Cut":
        fields: dict[str, Any] = json.loads(text)
        return cls(**{**fields, "learned_draws": tuple(fields["learned_draws"])})


def check_label(label: str) -> None:
    """Raise ValidationError for what cannot be part of a key's name."""
    if not re.fullmatch(r"[\w.+=@-]{1,200}", label, re.ASCII):
        raise ValidationError(f"a label is 1 to 200 letters, digits or _ . + = @ -, got {label[:250]!r}")


class Cuts:
    """The cuts of one shard. Every method raises UnavailableError when the server cannot be reached.

    Invariant: a cut that is listed is whole.
    """

    def __init__(self, store: RedisStore) -> None:
        self._store = store

    async def all(self) -> dict[str, Cut]:
        """By label."""
        return {label: Cut.from_json(text) for label, text in (await self._store.hash("cuts")).items()}

    async def make(self, cut: Cut, dropped: Sequence[str]) -> None:
        """Keep the snapshot as it is on the server now, durably; remove the cuts of the dropped labels.

        Raises TierFullError, NotOwnerError or UnavailableError, after which it may or may not be there.
        """
        names = ["owner", "pages", "cuts", *(f"cut:{label}" for label in (cut.label, *dropped))]
        await self._store.durable_script(MAKE, names, [self._store.owner, cut.label, json.dumps(asdict(cut)), *dropped])

    async def go_back(self, label: str, over: Mapping[str, bytes]) -> None:
        """Put a cut in the place of the latest snapshot, with these pages laid over it."""
        told = [part for field in over.items() for part in field]
        await self._store.script(GO_BACK, ["owner", "pages", f"cut:{label}"], [self._store.owner, *told])


def dropped_labels(cuts: Mapping[str, Cut], label: str, kept_label: str) -> list[str]:
    """Which cuts go when a new one is made: all but the kept one, or but the newest if that is not among them."""
    others = {name: cut for name, cut in cuts.items() if name != label}
    newest = max(others, key=lambda name: others[name].number, default="")
    kept = kept_label if kept_label in others else newest
    return [name for name in others if name != kept]
