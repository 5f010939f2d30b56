"""Draws, removals, leases and priorities of tables, through the store."""

import numpy as np
import pytest
from replay_world import FREE, Lane, insert, items_of, table, vector_schema

from replay.store import Drawn, Store
from sojourn.columns import Column
from sojourn.config.schema import LimiterSettings, TableSettings
from sojourn.errors import ConfigError, ValidationError

SCHEMA = vector_schema()


def filled(settings: TableSettings, steps: int = 10, batch_size: int = 2, **segment: object) -> Store:
    """A store with one table `replay` and one episode of so many steps: keys 1 .. steps."""
    store = Store(SCHEMA, {"replay": settings}, seed=0, batch_size=batch_size)
    insert(store, SCHEMA, Lane(0).segment(steps, "terminated", **segment))
    return store


def keys_of(drawn: Drawn | None) -> list[int]:
    assert drawn is not None
    return drawn.keys.tolist()


# Samplers


def test_draws_follow_priorities_and_report_their_probability():
    store = filled(table(priority_exponent=0.5), steps=4)
    store.update_priorities("replay", np.arange(1, 5, dtype=np.uint64), np.array([0.0, 1.0, 4.0, 9.0], np.float32))
    drawn = store.draw("replay", 6000, 1, 0.0)
    counts = np.bincount(drawn.keys.astype(int), minlength=5)
    assert counts[:2].tolist() == [0, 0]
    assert counts[2:] == pytest.approx([1000, 2000, 3000], abs=1)
    chance = dict(zip(drawn.keys.tolist(), drawn.columns["info.probability"].tolist(), strict=True))
    assert chance == pytest.approx({2: 1 / 6, 3: 2 / 6, 4: 3 / 6})
    assert store.facts("replay", 0.0).total_priority == pytest.approx(6.0)


def test_an_item_of_priority_zero_is_not_drawn_even_where_the_exponent_is_zero():
    store = filled(table(priority_exponent=0.0), steps=2)
    store.update_priorities("replay", np.array([1], np.uint64), np.array([0.0], np.float32))
    assert set(keys_of(store.draw("replay", 50, 1, 0.0))) == {2}
    store.update_priorities("replay", np.array([2], np.uint64), np.array([0.0], np.float32))
    assert store.draw("replay", 1, 1, 0.0) is None


def test_a_priority_of_zero_among_others_is_not_drawn_where_the_exponent_is_zero():
    store = filled(table(priority_exponent=0.0), steps=3)
    store.update_priorities("replay", np.array([1, 2, 3], np.uint64), np.array([4.0, 0.0, 4.0], np.float32))
    assert set(keys_of(store.draw("replay", 50, 1, 0.0))) == {1, 3}


def test_uniform_draws_ignore_priorities():
    store = filled(table(sampler="uniform"), steps=5)
    store.update_priorities("replay", np.array([1], np.uint64), np.array([1000.0], np.float32))
    drawn = store.draw("replay", 500, 1, 0.0)
    assert np.bincount(drawn.keys.astype(int)).tolist() == [0, 100, 100, 100, 100, 100]
    assert set(drawn.columns["info.probability"]) == {0.2}


def test_several_batches_share_one_answer_and_each_is_stratified():
    store = filled(table(sampler="uniform"), steps=8)
    drawn = store.draw("replay", 8, 3, 0.0)
    assert [draw.size for draw in drawn.draws] == [8, 8, 8]
    for batch in range(3):
        assert sorted(drawn.keys[8 * batch : 8 * batch + 8].tolist()) == list(range(1, 9))
    assert sorted(drawn.columns["info.times_sampled"][:8]) == [1] * 8
    assert set(items_of(store, "replay").values()) == {(1.0, 3)}


def test_fifo_hands_out_items_once_in_the_order_in_which_they_were_completed():
    store, slow, fast = Store(SCHEMA, {"replay": table(sampler="fifo")}, seed=0, batch_size=2), Lane(0), Lane(1)
    insert(store, SCHEMA, slow.segment(1))  # key 1, waits for its next row
    insert(store, SCHEMA, fast.segment(3))  # keys 2, 3 complete
    insert(store, SCHEMA, slow.segment(1))  # key 1 completes
    assert store.draw("replay", 4, 1, 0.0) is None
    assert keys_of(store.draw("replay", 3, 1, 0.0)) == [2, 3, 1]
    assert store.draw("replay", 1, 1, 0.0) is None
    assert store.facts("replay", 0.0).items == 0


def test_fifo_passes_put_drawn_items_at_the_end_again():
    store = filled(table(sampler="fifo", max_times_sampled=2), steps=3)
    assert keys_of(store.draw("replay", 2, 1, 0.0)) == [1, 2]
    assert keys_of(store.draw("replay", 2, 1, 0.0)) == [3, 1]
    assert keys_of(store.draw("replay", 2, 1, 0.0)) == [2, 3]
    assert store.draw("replay", 1, 1, 0.0) is None


def test_fifo_in_order_of_start_waits_for_actions_that_began_earlier():
    store = Store(SCHEMA, {"replay": table(sampler="fifo", order="start")}, seed=0, batch_size=1)
    insert(store, SCHEMA, Lane(0, sequence=50).segment(2, "terminated"), now_s=60.0)  # began at 50, 51
    insert(store, SCHEMA, Lane(1, sequence=40).segment(2, "terminated"), now_s=60.0)  # began at 40, 41
    store.hold_starts_after(41.0)
    assert not store.sample_blocked("replay", 1)
    assert store.draw("replay", 2, 1, 60.0) is None
    assert keys_of(store.draw("replay", 1, 5, 60.0)) == [4]
    assert store.sample_blocked("replay", 1)
    store.hold_starts_after(np.inf)
    assert keys_of(store.draw("replay", 3, 1, 60.0)) == [5, 1, 2]


@pytest.mark.parametrize("scope", ["episode", "step"])
def test_columns_of_a_few_bytes_do_not_put_the_wider_ones_behind_them_out_of_place(scope):
    told = {"odd": np.uint8, "wide": np.float64, "narrow": np.float32, "wider": np.int64}
    schema = vector_schema(extras=[Column(name, np.dtype(dtype).name, scope=scope) for name, dtype in told.items()])
    store = Store(schema, {"replay": table()}, seed=0)
    insert(store, schema, Lane(0, extras=told).segment(200, "terminated"))
    drawn = store.draw("replay", 300, 1, 0.0)
    assert drawn is not None
    for name, dtype in told.items():
        assert (drawn.columns[name].ravel() == (drawn.keys - 1).astype(dtype)).all()


def test_an_item_leaves_after_max_times_sampled_and_no_batch_draws_it_more_often():
    store = filled(table(max_times_sampled=3), steps=4)
    drawn = [key for _ in range(6) for key in keys_of(store.draw("replay", 2, 1, 0.0))]
    assert np.bincount(drawn).tolist() == [0, 3, 3, 3, 3]
    assert store.draw("replay", 1, 1, 0.0) is None
    assert store.facts("replay", 0.0).items == 0
    store.check()


def test_a_round_for_several_ranks_is_whole_or_nothing():
    store = filled(table(sampler="fifo", consume=True), steps=5)
    assert store.draw("replay", 2, 3, 0.0, all_or_none=True) is None
    assert len(store.draw("replay", 2, 2, 0.0, all_or_none=True).draws) == 2
    assert [draw.size for draw in store.draw("replay", 1, 3, 0.0).draws] == [1]


# Removers


def test_the_oldest_items_leave_a_full_table_and_every_item_stays_for_as_many_others():
    store, lane = Store(SCHEMA, {"replay": table(capacity_steps=64)}, seed=0), Lane(0)
    insert(store, SCHEMA, lane.segment(101))
    assert sorted(items_of(store, "replay")) == list(range(37, 101))
    facts = store.facts("replay", 0.0)
    assert (facts.items, facts.inserted_items, facts.evicted_items, facts.capacity_items) == (64, 100, 36, 64)


def test_a_slow_lanes_items_stay_for_as_many_insertions_as_a_fast_lanes():
    store, slow, fast = Store(SCHEMA, {"replay": table(capacity_steps=64)}, seed=0), Lane(0), Lane(1)
    inserted: dict[int, int] = {}
    for _ in range(12):
        for lane, steps in ((slow, 1), (fast, 15)):
            before = set(items_of(store, "replay")) | set(inserted)
            insert(store, SCHEMA, lane.segment(steps))
            for key in sorted(set(items_of(store, "replay")) - before):
                inserted[key] = len(inserted)
    held = sorted(inserted[key] for key in items_of(store, "replay"))
    assert held == list(range(len(inserted) - 64, len(inserted)))


def test_items_of_lowest_priority_leave_a_full_table():
    store = Store(SCHEMA, {"replay": table(capacity_steps=64, remover="lowest_priority")}, seed=0)
    priority = np.random.default_rng(0).permutation(100) + 1.0
    insert(store, SCHEMA, Lane(0).segment(100, "terminated", priority=priority))
    kept = {key: value for key, (value, _) in items_of(store, "replay").items()}
    assert sorted(kept.values()) == list(range(37, 101))
    store.check()


def test_rows_stay_while_any_table_needs_them():
    tables = {"recent": table(capacity_steps=64), "best": table(capacity_steps=64, remover="lowest_priority")}
    store, lane = Store(SCHEMA, tables, seed=0), Lane(0)
    first = insert(store, SCHEMA, lane.segment(64, priority=np.full(64, 9.0)))
    freed = list(first.freed_chunks)
    for _ in range(20):
        freed += insert(store, SCHEMA, lane.segment(64, priority=np.full(64, 1.0))).freed_chunks
    assert freed[:3] == [129, 193, 257]  # not chunk 1, and not 65: its first row belongs to item 64
    assert min(items_of(store, "recent")) > 1000
    assert sorted(items_of(store, "best"))[0] == 1
    assert store.draw("best", 64, 1, 0.0) is not None
    store.check()


@pytest.mark.parametrize(("frame_stack", "n_step"), [(1, 1), (1, 5), (3, 1), (4, 64)])
def test_rows_that_wait_for_their_item_stay_though_nothing_else_holds_them(frame_stack, n_step):
    schema = vector_schema(frame_stack)
    settings = table(sampler="fifo", n_step=n_step, capacity_steps=1_000)
    store, lane = Store(schema, {"replay": settings}, seed=0, batch_size=1), Lane(0)
    drawn: list[int] = []
    for _ in range(150):
        insert(store, schema, lane.segment(1))
        while (draw := store.draw("replay", 1, 64, 0.0)) is not None:
            drawn += keys_of(draw)
    assert drawn == list(range(1, 151 - settings.n_step))
    store.check()
    assert store.slab_rows <= settings.n_step + frame_stack + 64


def test_capacity_of_sequences_counts_the_steps_between_their_starts():
    store = Store(SCHEMA, {"replay": table(item="sequence", length=8, period=4, capacity_steps=64)}, seed=0)
    insert(store, SCHEMA, Lane(0).segment(200))
    assert store.facts("replay", 0.0).items == store.facts("replay", 0.0).capacity_items == 16


def test_a_thousand_lanes_that_come_and_go_never_exhaust_the_slab():
    store = Store(SCHEMA, {"replay": table(capacity_steps=512)}, seed=0)
    freed = []
    for life in range(60):
        lanes = [Lane(number) for number in range(25)]
        freed += insert(store, SCHEMA, *(lane.segment(3) for lane in lanes), stream=(f"actor-{life}", 1)).freed_chunks
        freed += store.close_stream((f"actor-{life}", 1), 0.0).freed_chunks
        store.check()
    assert store.facts("replay", 0.0).items == 512
    assert len(freed) > 40


def test_more_open_lanes_than_blocks_break_the_longest_silent_ones():
    store, schema = Store(SCHEMA, {"replay": table(capacity_steps=64)}, seed=0), SCHEMA
    for number in range(600):
        insert(store, schema, Lane(number).segment(2))
    store.check()
    assert store.facts("replay", 0.0).items > 0
    lane = Lane(0, sequence=2)
    insert(store, schema, lane.segment(3))
    keys = sorted(items_of(store, "replay"))
    assert keys[-2:] == [1201, 1202]  # goes on in a new chain: no item spans the break
    store.check()


def test_a_message_larger_than_the_slab_leaves_its_newest_items():
    store = Store(SCHEMA, {"replay": table(capacity_steps=64)}, seed=0)
    out = insert(store, SCHEMA, *(Lane(number).segment(9_000) for number in range(3)))
    assert out.new_items == {"replay": 3 * 8_999}
    assert sorted(items_of(store, "replay")) == list(range(27_000 - 64, 27_000))
    store.check()


def test_episodes_of_one_step_fill_the_whole_capacity():
    store, lane = Store(SCHEMA, {"replay": table(capacity_steps=2_000)}, seed=0), Lane(0)
    for _ in range(50):
        insert(store, SCHEMA, *(lane.segment(1, "terminated") for _ in range(60)))
    assert store.facts("replay", 0.0).items == 2_000
    assert sorted(items_of(store, "replay"))[0] == 2001  # every other row is an item


def test_survivors_scattered_over_many_blocks_give_way_block_by_block():
    settings = table(remover="lowest_priority", capacity_steps=4_000)
    store, lane, rng = Store(SCHEMA, {"replay": settings}, seed=0), Lane(0), np.random.default_rng(0)
    for _ in range(40):
        priority = np.where(rng.random(2_000) < 0.02, 100.0, 1.0) + rng.random(2_000)
        insert(store, SCHEMA, lane.segment(2_000, priority=priority))
    store.check()
    held = [value for value, _ in items_of(store, "replay").values()]
    assert 500 < len(held) <= 4_000
    assert np.mean(np.array(held) >= 100.0) > 0.1  # five times their share of what came in


def test_long_lists_are_met_by_evicting_earlier():
    schema = vector_schema(extras=(Column("tokens", "int32", (), 4_000),))
    settings = table(capacity_steps=1_000, capacity_bytes=6_000_000)
    store = Store(schema, {"replay": settings}, seed=0)
    lane = Lane(0, extras={"tokens": lambda sequence: np.full(sequence % 4_001, sequence)})
    for _ in range(60):
        insert(store, schema, lane.segment(25))
    store.check()
    assert 64 <= store.facts("replay", 0.0).items < 1_000
    drawn = store.draw("replay", 64, 1, 0.0).columns
    for key, tokens, length in zip(drawn["info.key"], drawn["tokens"][:, 0], drawn["tokens.length"][:, 0], strict=True):
        assert length == (key - 1) % 4_001
        assert tokens.tolist() == [key - 1] * length + [0] * (4_000 - length)


# Priorities


def test_the_actors_estimate_is_the_first_priority_else_the_largest_seen():
    store, lane = Store(SCHEMA, {"replay": table()}, seed=0), Lane(0)
    insert(store, SCHEMA, lane.segment(3, priority=[np.nan, 5.0, np.nan]))
    insert(store, SCHEMA, lane.segment(2, "terminated"))
    assert {key: value for key, (value, _) in items_of(store, "replay").items()} == {1: 1.0, 2: 5.0, 3: 5.0, 4: 5.0, 5: 5.0}
    assert store.facts("replay", 0.0).largest_priority == 5.0


def test_updates_reach_only_items_that_are_still_there():
    store = filled(table(capacity_steps=64), steps=100)
    applied = store.update_priorities("replay", np.array([1, 50, 100, 10_000, 101], np.uint64), np.ones(5, np.float32))
    assert applied == (2, 3)
    assert store.facts("replay", 0.0).late_updates == 3


def test_of_a_key_given_twice_the_last_priority_stays():
    store = filled(table())
    store.update_priorities("replay", np.array([4, 4], np.uint64), np.array([9.0, 0.5], np.float32))
    assert items_of(store, "replay")[4] == (0.5, 0)


@pytest.mark.parametrize("value", [-1.0, np.nan, np.inf])
def test_priorities_that_are_no_priorities_are_refused_by_value(value):
    store = filled(table())
    with pytest.raises(ValidationError, match=r"priority (-1\.0|nan|inf) of item 3"):
        store.update_priorities("replay", np.array([2, 3], np.uint64), np.array([1.0, value], np.float32))
    assert items_of(store, "replay")[2] == (1.0, 0)


# Leases


def test_leased_items_are_gone_when_consumed_and_come_first_when_handed_back():
    store = filled(table(sampler="fifo", consume=True), steps=6)
    first, second = store.draw("replay", 2, 2, 0.0).draws
    assert (first.draw_id, second.draw_id, first.redelivered) == (1, 2, False)
    assert store.leases("replay")[2].tolist() == [3, 4]
    assert store.facts("replay", 0.0).leased_items == 4
    store.release("replay", [1, 77])
    assert store.consume("replay", [2, 1]) == (2, 1)
    again = store.draw("replay", 2, 2, 0.0)
    assert again.keys.tolist() == [1, 2, 5, 6]
    assert [draw.redelivered for draw in again.draws] == [True, False]
    assert again.columns["info.times_sampled"].tolist() == [2, 2, 1, 1]
    assert store.facts("replay", 0.0).redelivered_items == 2
    assert store.consume("replay", [3, 4, 4]) == (4, 1)
    assert store.facts("replay", 0.0).items == 0
    store.check()


def test_leased_items_outlive_their_tables_capacity():
    settings = table(sampler="fifo", consume=True, capacity_steps=64)
    store, lane = Store(SCHEMA, {"replay": settings}, seed=0, batch_size=4), Lane(0)
    insert(store, SCHEMA, lane.segment(60))
    draw = store.draw("replay", 4, 1, 0.0).draws[0]
    insert(store, SCHEMA, lane.segment(200))
    assert store.consume("replay", [draw.draw_id]) == (4, 0)
    store.check()


def test_items_that_were_handed_back_can_be_evicted_again():
    settings = table(sampler="fifo", consume=True, capacity_steps=64)
    store, lane = Store(SCHEMA, {"replay": settings}, seed=0, batch_size=4), Lane(0)
    insert(store, SCHEMA, lane.segment(20))
    store.release("replay", [store.draw("replay", 4, 1, 0.0).draws[0].draw_id])
    insert(store, SCHEMA, lane.segment(200))
    assert sorted(items_of(store, "replay")) == list(range(156, 220))
    store.check()


# Blocking


def test_a_full_consuming_table_blocks_inserts_until_something_is_consumed():
    store = filled(table(sampler="fifo", consume=True, capacity_steps=64), steps=64)
    assert store.insert_blocked() == ["replay"]
    draw = store.draw("replay", 2, 1, 0.0).draws[0]
    assert store.insert_blocked() == ["replay"]
    store.consume("replay", [draw.draw_id])
    assert store.insert_blocked() == []


def test_the_limiter_blocks_both_ways_through_the_store():
    limiter = LimiterSettings(samples_per_insert=1.0, min_size=4, tolerance=4.0)
    store, lane = Store(SCHEMA, {"replay": table(limiter=limiter)}, seed=0, batch_size=4), Lane(0)
    insert(store, SCHEMA, lane.segment(4))  # three items
    assert store.sample_blocked("replay", 4)
    assert store.draw("replay", 4, 1, 0.0) is None
    insert(store, SCHEMA, lane.segment(1))  # four: surplus 0
    assert len(store.draw("replay", 4, 8, 0.0).draws) == 2  # at 0 and at -4
    assert store.sample_blocked("replay", 4)
    insert(store, SCHEMA, lane.segment(13))  # surplus 13 - 8 = 5
    assert store.insert_blocked() == ["replay"]


def test_inserts_are_never_blocked_while_no_batch_could_be_served():
    limiter = LimiterSettings(samples_per_insert=5.0, min_size=1, tolerance=8.0)
    store = Store(SCHEMA, {"replay": table(sampler="fifo", limiter=limiter)}, seed=0, batch_size=8)
    lane = Lane(0)
    insert(store, SCHEMA, lane.segment(7))  # six items, surplus 25
    assert store.insert_blocked() == []
    insert(store, SCHEMA, lane.segment(3))
    assert store.insert_blocked() == ["replay"]


def test_rows_that_make_no_items_are_not_charged():
    limiter = LimiterSettings(samples_per_insert=1.0, min_size=1, tolerance=8.0)
    store = Store(SCHEMA, {"replay": table(item="segment", length=50, limiter=limiter)}, seed=0, batch_size=8)
    lane = Lane(0)
    for _ in range(49):
        insert(store, SCHEMA, lane.segment(1))
    assert store.insert_blocked() == []
    assert store.facts("replay", 0.0).inserted_items == 0
    assert insert(store, SCHEMA, lane.segment(0, "cut")).new_items == {"replay": 1}


def test_a_limiter_in_seconds_charges_durations_on_both_sides():
    limiter = LimiterSettings(samples_per_insert=1.0, min_size=1, unit="seconds", tolerance=20.0, seconds_cap=8.0)
    store, lane = Store(SCHEMA, {"replay": table(limiter=limiter)}, seed=0, batch_size=2), Lane(0)
    insert(store, SCHEMA, lane.segment(5, duration_s=100.0))  # four items of 8 s, the first is free
    assert store.facts("replay", 0.0).limiter_surplus == 24.0
    assert store.insert_blocked() == ["replay"]
    store.draw("replay", 2, 1, 0.0)
    assert store.facts("replay", 0.0).limiter_surplus == 8.0
    assert store.insert_blocked() == []


def test_facts_tell_ages_and_durations():
    store, lane = Store(SCHEMA, {"replay": table()}, seed=0), Lane(0)
    insert(store, SCHEMA, lane.segment(2, duration_s=3.0), now_s=10.0)
    insert(store, SCHEMA, lane.segment(2, duration_s=6.0), now_s=20.0)
    facts = store.facts("replay", 30.0)
    assert (facts.items, facts.oldest_s) == (3, 20.0)
    assert facts.mean_age_s == pytest.approx((20 + 10 + 10) / 3)
    assert facts.mean_duration_s == pytest.approx((3 + 3 + 6) / 3)


# Refusals at construction


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        (
            table(capacity_steps=1_000_000, capacity_bytes=10_000_000),
            r"tables.replay: capacity_steps 1,000,000 .* lower capacity_steps to",
        ),
        (table(item="segment", length=300), "an item of 300 steps does not fit into capacity_steps 256"),
        (table(sampler="replay.samplers:Nearest"), "cannot find sampler 'replay.samplers:Nearest'"),
        (table(remover="replay.lifo:Lifo"), "cannot import remover 'replay.lifo:Lifo'"),
        (table(sampler="fifo", consume=True, capacity_steps=64), "holds 64 items, fewer than one batch of 256"),
        (
            table(sampler="fifo", consume=True, capacity_steps=512, limiter=LimiterSettings(samples_per_insert=0.5, min_size=1)),
            "samples_per_insert 0.5 would leave items that are never drawn",
        ),
    ],
)
def test_what_cannot_work_is_refused_at_construction(settings, sentence):
    with pytest.raises(ConfigError, match=sentence):
        Store(SCHEMA, {"replay": settings}, seed=0)


def test_an_unknown_table_is_refused_by_name():
    store = filled(table())
    with pytest.raises(ValidationError, match="no table 'repaly'; there are: replay"):
        store.draw("repaly", 1, 1, 0.0)


def test_a_sampler_from_outside_is_taken_by_its_import_path():
    store = filled(table(sampler="replay.samplers:UniformSampler", limiter=FREE), steps=3)
    assert set(keys_of(store.draw("replay", 9, 1, 0.0))) == {1, 2, 3}


def test_the_same_seed_draws_the_same_items():
    assert keys_of(filled(table()).draw("replay", 7, 2, 0.0)) == keys_of(filled(table()).draw("replay", 7, 2, 0.0))
