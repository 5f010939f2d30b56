"""Do actors spread evenly over shards, and do few of them move when the shards change?"""

import math

from hypothesis import given, settings
from hypothesis import strategies as st

from replay.client import shard_for

ACTORS = 600
shard_sets = st.sets(st.integers(0, 255), min_size=1, max_size=12)
fleets = st.text("abcxyz-", max_size=8)


def placed(fleet: str, shards: set[int]) -> dict[str, int]:
    return {name: shard_for(name, shards) for name in (f"actor-{fleet}-{index}" for index in range(ACTORS))}


@settings(max_examples=60, deadline=None, derandomize=True)
@given(fleets, shard_sets)
def test_every_shard_gets_its_share_within_chance(fleet: str, shards: set[int]):
    homes = list(placed(fleet, shards).values())

    expected, spread = ACTORS / len(shards), math.sqrt(ACTORS / len(shards))  # at most: a count of many rare, independent choices
    assert set(homes) <= shards
    assert all(abs(homes.count(shard) - expected) <= 5.0 * spread for shard in shards)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(fleets, shard_sets, st.integers(0, 255))
def test_a_shard_that_joins_or_leaves_moves_only_its_own_actors(fleet: str, shards: set[int], other: int):
    shards = shards - {other} or {(other + 1) % 256}

    without, with_it = placed(fleet, shards), placed(fleet, shards | {other})

    assert all(with_it[name] in (without[name], other) for name in without)


@given(
    fleets,
    st.lists(st.integers(0, 255), min_size=1, max_size=12, unique=True).flatmap(
        lambda shards: st.tuples(st.just(shards), st.permutations(shards))
    ),
)
def test_the_order_in_which_shards_are_named_does_not_matter(fleet: str, orders: tuple[list[int], list[int]]):
    assert shard_for(fleet, orders[0]) == shard_for(fleet, orders[1])


def test_places_are_the_same_in_every_process_and_version():
    assert [shard_for(f"actor-{index}", range(4)) for index in range(8)] == [2, 2, 0, 3, 0, 3, 2, 0]
