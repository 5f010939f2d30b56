"""What replies say about a table, as plain values, and how the facts of several shards become one.

No I/O. A shard's facts are those of the moment of a draw; merged facts are sums over the shards that took part in it.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass

from protos import replay_pb2 as pb
from replay.start_summary import StartSummary, Summaries
from sojourn.errors import ContractError


@dataclass(frozen=True)
class TableFacts:
    """A table at a draw, of one shard or merged over several.

    items: drawable items.  total_priority: sum of p_i ** priority_exponent.  largest_priority: of any item.
    env_steps: accepted, de-duplicated steps.  inserted_items, sampled_items: ever made, ever drawn.
    imported_items: of the inserted ones, what the run began with.
    inclusion_rule: "one" where the table loses nothing.  window_s: the rule's parameter.
    start_log: what the shards' start logs say, in the order of the shards' numbers; () where the weight needs none.
    """

    name: str = ""
    items: int = 0
    total_priority: float = 0.0
    largest_priority: float = 0.0
    env_steps: int = 0
    inserted_items: int = 0
    sampled_items: int = 0
    imported_items: int = 0
    inclusion_rule: str = "one"
    window_s: float = 0.0
    start_log: Summaries = ()


@dataclass(frozen=True)
class ReplayFacts:
    """Counters over all shards, from the latest replies. items: drawable ones of the learner's table."""

    env_steps: int = 0
    items: int = 0
    inserted_items: int = 0
    sampled_items: int = 0
    imported_items: int = 0


def start_summary_of(message: pb.TableFacts, now_s: float) -> StartSummary | None:
    """What the message says of the start log, None if nothing new. Raises ContractError when that is not JSON."""
    if not message.start_log_json:
        return None
    try:
        said = json.loads(message.start_log_json)
    except ValueError as error:
        raise ContractError(f"start log of table {message.name!r} is not JSON: {error}") from error
    return StartSummary.of(said, message.service_now_s - now_s)


def facts_of(message: pb.TableFacts) -> TableFacts:
    """The wire's facts as plain values, without the start log."""
    return TableFacts(
        name=message.name,
        items=message.items,
        total_priority=message.total_priority,
        largest_priority=message.largest_priority,
        env_steps=message.env_steps,
        inserted_items=message.inserted_items,
        sampled_items=message.sampled_items,
        imported_items=message.imported_items,
        inclusion_rule=message.inclusion_rule or "one",
        window_s=message.window_s,
    )


def merge_facts(shards: Sequence[TableFacts]) -> TableFacts:
    """Facts of a table that is spread over shards: sums, and the inclusion rule of those that lose something."""
    if len(shards) == 1:
        return shards[0]
    losing = next((facts for facts in shards if facts.inclusion_rule != "one"), None)
    return TableFacts(
        name=shards[0].name if shards else "",
        items=sum(facts.items for facts in shards),
        total_priority=sum(facts.total_priority for facts in shards),
        largest_priority=max((facts.largest_priority for facts in shards), default=0.0),
        env_steps=sum(facts.env_steps for facts in shards),
        inserted_items=sum(facts.inserted_items for facts in shards),
        sampled_items=sum(facts.sampled_items for facts in shards),
        imported_items=sum(facts.imported_items for facts in shards),
        inclusion_rule=losing.inclusion_rule if losing else "one",
        window_s=losing.window_s if losing else 0.0,
        start_log=losing.start_log if losing else (),
    )


def replay_facts(shards: Sequence[TableFacts]) -> ReplayFacts:
    """What a learner reads between draws."""
    merged = merge_facts(shards)
    return ReplayFacts(merged.env_steps, merged.items, merged.inserted_items, merged.sampled_items, merged.imported_items)
