"""Another life of the store from counters, pages and stored chunks: same keys, priorities, counts."""

import numpy as np
import pytest
from replay_world import Lane, insert, items_of, pages_of, rows_of, table, vector_schema

from replay.rows import Rows
from replay.store import Page, Store
from sojourn.config.schema import TableSettings
from sojourn.errors import ValidationError

SCHEMA = vector_schema()
ACTOR = ("actor", 1)


def life(**tables: TableSettings) -> Store:
    return Store(SCHEMA, tables, seed=0, batch_size=2)


def append_again(store: Store, chunks: list[tuple[int, Rows]]) -> None:
    for first_row, rows in chunks:
        store.append(rows, ACTOR, 0.0, first_row=first_row)
    store.finish_restore()


def test_rows_behind_the_snapshot_are_counted_on_top():
    first, second, lane = life(replay=table()), life(replay=table()), Lane()
    chunks = []
    for _ in range(2):
        rows = rows_of(SCHEMA, lane.segment(5, "terminated"))
        chunks.append((first.append(rows, ACTOR, 0.0).first_row, rows))
    first.update_priorities("replay", np.array([2, 8], np.uint64), np.array([7.0, 0.25], np.float32))
    first.draw("replay", 4, 1, 0.0)
    before = items_of(first, "replay")
    pages, counters = pages_of(first), first.counters()
    late = rows_of(SCHEMA, lane.segment(4, "terminated"))
    chunks.append((first.append(late, ACTOR, 0.0).first_row, late))

    second.restore(counters, pages)
    append_again(second, chunks)
    after = items_of(second, "replay")
    assert {key: after[key] for key in before} == before
    assert {key: after[key] for key in after if key not in before} == dict.fromkeys((13, 14, 15, 16), (7.0, 0))
    assert (second.env_steps, second.episodes, second.next_row_number) == (14, 3, 18)
    assert second.facts("replay", 0.0).inserted_items == 14
    second.check()


def test_counts_survive_the_trimming_of_their_rows():
    first, lane, chunks = life(replay=table(capacity_steps=64)), Lane(), {}
    for _ in range(10):
        rows = rows_of(SCHEMA, lane.segment(64))
        out = first.append(rows, ACTOR, 0.0)
        chunks[out.first_row] = rows
        for freed in out.freed_chunks:
            del chunks[freed]
    assert sorted(chunks) == [513, 577]
    second = life(replay=table(capacity_steps=64))
    second.restore(first.counters(), pages_of(first))
    append_again(second, sorted(chunks.items()))
    assert (second.env_steps, second.next_row_number) == (640, 641)
    assert items_of(second, "replay") == items_of(first, "replay")


def test_removed_items_do_not_come_back_though_their_rows_do():
    settings = table(sampler="fifo", consume=True)
    first, lane = life(replay=settings), Lane()
    rows = rows_of(SCHEMA, lane.segment(6, "terminated"))
    first.append(rows, ACTOR, 0.0)
    draws = first.draw("replay", 2, 2, 0.0).draws
    first.consume("replay", [draws[0].draw_id])
    second = life(replay=settings)
    second.restore(first.counters(), pages_of(first))
    append_again(second, [(1, rows)])
    assert sorted(items_of(second, "replay")) == [3, 4, 5, 6]
    assert second.leases("replay")[2].tolist() == [3, 4]
    assert second.draw("replay", 2, 1, 0.0).keys.tolist() == [5, 6]
    second.release("replay", [2])
    again = second.draw("replay", 2, 1, 0.0)
    assert (again.keys.tolist(), again.draws[0].redelivered) == ([3, 4], True)
    assert again.draws[0].draw_id > 2
    second.check()


def test_slices_of_a_snapshot_end_although_every_page_changes_meanwhile():
    store, lane = life(replay=table(capacity_steps=20_000)), Lane()
    for _ in range(5):
        insert(store, SCHEMA, lane.segment(4096))
    store.take_dirty_pages()
    slices = 0
    store.draw("replay", 2000, 1, 0.0)
    while len(store.take_dirty_pages(2)) == 2 and slices < 50:
        slices += 1
        store.draw("replay", 2000, 1, 0.0)
    assert slices <= 3


def test_rows_of_sequences_are_in_the_next_snapshot_before_they_make_an_item():
    store, lane = life(runs=table(item="sequence", length=10, period=5)), Lane()
    insert(store, SCHEMA, lane.segment(3))
    store.take_dirty_pages()
    assert store.take_dirty_pages() == []
    insert(store, SCHEMA, lane.segment(1))
    [page] = store.take_dirty_pages()
    assert np.frombuffer(page.body, "<i4", 5, 8 * 4096).tolist() == [-1, 0, 1, 2, 3]


def test_a_page_that_no_stored_chunk_reaches_is_given_as_empty():
    store, lane = life(replay=table(capacity_steps=64)), Lane()
    for _ in range(3):
        insert(store, SCHEMA, lane.segment(4096))
    bodies = {page.number: page.body for page in store.take_dirty_pages()}
    assert sorted(bodies) == [0, 1, 2, 3]
    assert bodies[0] == b""
    assert bodies[2] != b""


def test_a_page_outlives_its_rows_while_a_stored_chunk_reaches_into_it():
    store, lane = life(replay=table(capacity_steps=64)), Lane()
    insert(store, SCHEMA, lane.segment(4000))
    insert(store, SCHEMA, lane.segment(300))  # rows 4001 to 4300, of which the newest are held
    assert {page.number: bool(page.body) for page in store.take_dirty_pages()} == {0: True, 1: True}
    assert insert(store, SCHEMA, lane.segment(300)).freed_chunks == [4001]
    assert {page.number: bool(page.body) for page in store.take_dirty_pages()} == {0: False, 1: True}


def test_a_new_table_and_a_missing_snapshot_begin_afresh():
    rows = rows_of(SCHEMA, Lane().segment(5, "terminated"))
    first = life(replay=table())
    first.append(rows, ACTOR, 0.0)
    second = life(replay=table(), more=table(n_step=2))
    second.restore(first.counters(), pages_of(first))
    append_again(second, [(1, rows)])
    assert sorted(items_of(second, "more")) == [1, 2, 3, 4, 5]
    third = life(replay=table())
    third.restore({}, [])
    append_again(third, [(1, rows)])
    assert (third.env_steps, third.facts("replay", 0.0).inserted_items) == (5, 5)


def test_a_page_of_another_size_is_refused():
    with pytest.raises(ValidationError, match="page 0 of table 'replay' has 7 bytes"):
        life(replay=table()).restore({}, [Page("replay", 0, b"1234567")])


def test_ages_and_delays_are_those_of_the_first_arrival():
    rows = rows_of(SCHEMA, Lane().segment(2, "terminated"), now_s=2.0)
    store = life(replay=table())
    store.restore({}, [])
    store.append(rows, ACTOR, -100.0, held_s=3.0, first_row=1)  # arrived 100 s before this clock began
    store.finish_restore()
    drawn = store.draw("replay", 2, 1, 5.0).columns
    assert drawn["info.age_s"].tolist() == [105.0, 105.0]
    assert drawn["info.delay_s"].tolist() == [5.0, 4.0]
