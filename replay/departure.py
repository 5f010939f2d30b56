"""When does a retired shard leave the run, and what does it leave behind? Once nothing in it is wanted any more. No I/O.

A shard that has left is started again on its own files when the run grows: fences, row numbers and counts go on. So only a shard with a
durable tier leaves; at level `memory` nothing but its process remembers what it must not store twice.
"""

from dataclasses import fields

from replay.answers import INITIAL, Stream
from replay.fences import field_of
from replay.ingest import Ingest
from replay.shard import Shard
from sojourn.metrics import END_KINDS
from sojourn.shard_list import FinalCounts, TableCounts

SILENCE_S = 600.0  # a life that says nothing for so long will not finish: its actor died, and has another life elsewhere


def end_silent_lives(shard: Shard, ingest: Ingest, now_s: float) -> None:
    """Cut the lanes of lives that will not be finished, so that their last steps can be drawn and leave; a file's rest comes later."""
    for stream in unfinished(shard):
        if stream[0] != INITIAL and now_s - heard_at_s(shard, stream) > SILENCE_S:
            ingest.finish(stream)


def is_spent(shard: Shard, ingest: Ingest) -> bool:
    """Whether it holds nothing, and nobody is about to insert."""
    return shard.tier is not None and ingest.idle and not unfinished(shard) and not held(shard)


def unfinished(shard: Shard) -> list[Stream]:
    """Lives of actors whose last message has not come."""
    return [stream for stream in shard.fences.open_streams() if field_of(stream) in shard.lives]


def heard_at_s(shard: Shard, stream: Stream) -> float:
    """When a life last spoke, as far as this life of the service knows."""
    record = shard.clients.get(stream[0])
    return record.heard_at_s if record is not None and record.incarnation == stream[1] else shard.born_s


def held(shard: Shard) -> int:
    """Items that may still be drawn, leased ones included."""
    if shard.store is None:
        return 0
    facts = [shard.store.facts(table, shard.clock.now_s()) for table in shard.config.tables]
    return sum(table.items + table.leased_items for table in facts)


def final_counts(shard: Shard) -> FinalCounts:
    """What it has counted over all its lives."""
    counts, clients, store = shard.counts, shard.clients.totals, shard.store
    told = [store.facts(table, shard.clock.now_s()) for table in shard.config.tables] if store else []
    return FinalCounts(
        env_steps=store.env_steps if store else 0,
        episodes=store.episodes if store else 0,
        learner_step=counts.learner_step,
        duplicates=counts.duplicates,
        refused=counts.refused,
        gaps=counts.message_gaps + (store.gaps if store else 0),
        fenced=counts.fenced,
        started=clients.started,
        ended=dict(zip(END_KINDS, clients.ended, strict=True)),
        windows=sum(map(shard.starts.windows, shard.starts.pools)),
        tables={
            facts.name: TableCounts(**{field.name: getattr(facts, field.name) for field in fields(TableCounts)}) for facts in told
        },
    )
