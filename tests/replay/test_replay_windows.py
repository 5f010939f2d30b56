"""Which rows make an item, by example: ends of episodes, n steps, sequences, frames, lists."""

import gymnasium as gym
import numpy as np
import pytest
from replay_world import Lane, insert, items_of, rows_of, table, vector_schema

from replay.store import Store
from sojourn.columns import Column, Schema, space_to_json
from sojourn.config.schema import TableSettings
from sojourn.experience import EndKind, Segment


def store_of(schema=None, **tables: TableSettings) -> Store:
    return Store(schema or vector_schema(), tables, seed=0, batch_size=1)


def drawn_by_key(store: Store, name: str, count: int = 400) -> dict[int, dict[str, np.ndarray]]:
    """Every item of a small table, one draw each."""
    columns = store.draw(name, count, 1, 0.0).columns
    keys = columns["info.key"].tolist()
    return {key: {column: values[keys.index(key)] for column, values in columns.items()} for key in sorted(set(keys))}


def test_a_transition_appears_when_the_row_behind_it_arrives():
    store, lane, schema = store_of(replay=table()), Lane(0), vector_schema()
    assert insert(store, schema, lane.segment(1)).new_items == {"replay": 0}
    assert insert(store, schema, lane.segment(1)).new_items == {"replay": 1}
    item = drawn_by_key(store, "replay")[1]
    assert item["observation"].tolist() == [0, 0]
    assert item["next_observation"].tolist() == [0, 1]
    assert (item["reward"].tolist(), item["action"], item["length"]) == ([0.5], 0, 1)


def test_three_step_items_at_a_terminated_end_are_shorter_and_marked():
    store, schema = store_of(replay=table(n_step=3)), vector_schema()
    out = insert(store, schema, Lane(0).segment(4, "terminated"))
    assert (out.first_row, out.rows, out.steps, out.episodes, out.new_items) == (1, 5, 4, 1, {"replay": 4})
    items = drawn_by_key(store, "replay")
    assert list(items) == [1, 2, 3, 4]
    assert [item["length"] for item in items.values()] == [3, 3, 2, 1]
    assert [item["terminated"] for item in items.values()] == [False, True, True, True]
    assert [item["truncated"] for item in items.values()] == [False] * 4
    assert [item["next_observation"][1] for item in items.values()] == [3, 4, 4, 4]
    assert items[3]["reward"].tolist() == [2.5, 3.5, 0.0]
    assert items[3]["mask"].tolist() == [True, True, False]
    assert items[3]["duration_s"].tolist() == [1.0, 1.0, 0.0]
    assert items[3]["info.duration_s"] == 2.0


@pytest.mark.parametrize("end", ["truncated", "cut"])
def test_a_truncation_is_no_termination_and_a_chain_that_just_ends_is_one(end):
    store = store_of(replay=table(n_step=2))
    insert(store, vector_schema(), Lane(0).segment(3, end))
    items = drawn_by_key(store, "replay")
    assert [bool(item["truncated"]) for item in items.values()] == [False, True, True]
    assert not any(item["terminated"] for item in items.values())


def test_items_span_segments_but_never_episodes():
    store, schema, lane = store_of(replay=table(n_step=2)), vector_schema(), Lane(0)
    for steps, end in ((1, ""), (1, ""), (1, "terminated"), (2, "terminated")):
        insert(store, schema, lane.segment(steps, end))
    items = drawn_by_key(store, "replay")
    assert {key: item["next_observation"][1] for key, item in items.items()} == {1: 2, 2: 3, 3: 3, 5: 6, 6: 6}


def test_an_empty_closing_segment_ends_what_came_before():
    store, schema, lane = store_of(replay=table()), vector_schema(), Lane(0)
    insert(store, schema, lane.segment(2))
    out = insert(store, schema, lane.segment(0, "cut"))
    assert (out.steps, out.episodes, out.new_items) == (0, 1, {"replay": 1})
    assert drawn_by_key(store, "replay")[2]["truncated"]


def test_several_tables_with_different_n_share_the_rows():
    store, schema, lane = store_of(one=table(), five=table(n_step=5)), vector_schema(), Lane(0)
    assert insert(store, schema, lane.segment(6)).new_items == {"one": 5, "five": 1}
    assert insert(store, schema, lane.segment(1, "terminated")).new_items == {"one": 2, "five": 6}
    assert store.slab_rows == 8
    store.check()


def test_sequences_start_every_period_and_end_padded():
    store, schema, lane = store_of(replay=table(item="sequence", length=6, period=4)), vector_schema(), Lane(0)
    assert insert(store, schema, lane.segment(6)).new_items == {"replay": 0}
    assert insert(store, schema, lane.segment(5)).new_items == {"replay": 2}
    assert insert(store, schema, lane.segment(2, "terminated")).new_items == {"replay": 1}
    items = drawn_by_key(store, "replay")
    assert {key: item["length"] for key, item in items.items()} == {1: 6, 5: 6, 9: 5}
    last = items[9]
    assert last["observation"].shape == (7, 2)
    assert last["observation"][:, 1].tolist() == [8, 9, 10, 11, 12, 13, 0]
    assert last["mask"].tolist() == [True] * 5 + [False]
    assert last["reward"].tolist() == [8.5, 9.5, 10.5, 11.5, 12.5, 0.0]
    assert last["terminated"].tolist() == [False] * 4 + [True, False]
    assert last["action"].tolist() == [8, 9, 10, 11, 12, 0]
    assert last["policy_version"].tolist() == [8, 9, 10, 11, 12, 0]


def test_a_last_sequence_that_would_add_no_step_is_not_made():
    store = store_of(replay=table(item="sequence", length=6, period=2))
    insert(store, vector_schema(), Lane(0).segment(8, "terminated"))
    assert sorted(items_of(store, "replay")) == [1, 3]  # steps 0..5 and 2..7; one from step 4 would hold 4..7


def test_the_next_episodes_sequences_are_counted_from_its_own_start():
    store, schema, lane = store_of(replay=table(item="sequence", length=4, period=3)), vector_schema(), Lane(0)
    insert(store, schema, lane.segment(2, "terminated"))
    insert(store, schema, lane.segment(8, "terminated"))
    assert {key: item["length"] for key, item in drawn_by_key(store, "replay").items()} == {1: 2, 4: 4, 7: 4, 10: 2}


def test_an_episode_no_longer_than_the_burn_in_makes_no_sequence():
    store, schema, lane = store_of(replay=table(item="sequence", length=6, period=3, burn_in=2)), vector_schema(), Lane(0)
    assert insert(store, schema, lane.segment(2, "terminated")).new_items == {"replay": 0}
    assert insert(store, schema, lane.segment(3, "terminated")).new_items == {"replay": 1}


def test_segments_lie_end_to_end():
    store = store_of(replay=table(item="segment", length=3))
    insert(store, vector_schema(), Lane(0).segment(8, "truncated"))
    items = drawn_by_key(store, "replay")
    assert {key: item["length"] for key, item in items.items()} == {1: 3, 4: 3, 7: 2}
    assert items[7]["truncated"].tolist() == [False, True, False]


def test_the_recurrent_state_before_the_first_step_comes_with_a_sequence():
    schema = vector_schema(core_state=(Column("core_state.h", "float32", (2,)),))
    store = store_of(schema, replay=table(item="segment", length=2))
    segment = Lane(0).segment(4, "terminated")
    segment.core_state["core_state.h"] = np.arange(8, dtype=np.float32).reshape(4, 2)
    insert(store, schema, segment)
    assert {key: item["core_state.h"].tolist() for key, item in drawn_by_key(store, "replay").items()} == {1: [0, 1], 3: [4, 5]}


def test_stacked_frames_repeat_the_first_of_the_episode():
    schema = vector_schema(frame_stack=3)
    store, lane = store_of(schema, replay=table()), Lane(0)
    insert(store, schema, lane.segment(2, "terminated"))
    insert(store, schema, lane.segment(4))
    items = drawn_by_key(store, "replay")
    assert items[1]["observation"].shape == (3, 2)
    assert items[1]["observation"][:, 1].tolist() == [0, 0, 0]
    assert items[2]["observation"][:, 1].tolist() == [0, 0, 1]
    assert items[2]["next_observation"][:, 1].tolist() == [0, 1, 2]
    assert items[4]["observation"][:, 1].tolist() == [3, 3, 3]
    assert items[6]["observation"][:, 1].tolist() == [3, 4, 5]
    assert items[6]["next_observation"][:, 1].tolist() == [4, 5, 6]


def test_sequences_of_stacked_frames():
    schema = vector_schema(frame_stack=2)
    store = store_of(schema, replay=table(item="segment", length=3))
    insert(store, schema, Lane(0).segment(4, "terminated"))
    items = drawn_by_key(store, "replay")
    assert items[1]["observation"][:, :, 1].tolist() == [[0, 0], [0, 1], [1, 2], [2, 3]]
    assert items[4]["observation"][:, :, 1].tolist() == [[2, 3], [3, 4], [0, 0], [0, 0]]


def test_lists_come_padded_with_their_lengths():
    schema = vector_schema(extras=(Column("tokens", "int32", (), 5), Column("prompt", "uint8", (), 3, "episode")))
    extras = {"tokens": lambda sequence: np.arange(sequence + 1), "prompt": lambda sequence: np.array([7, 8])}
    store = store_of(schema, replay=table(n_step=2))
    insert(store, schema, Lane(0, extras=extras).segment(3, "terminated"))
    items = drawn_by_key(store, "replay")
    assert items[2]["tokens"].tolist() == [[0, 1, 0, 0, 0], [0, 1, 2, 0, 0]]
    assert items[2]["tokens.length"].tolist() == [2, 3]
    assert items[3]["tokens"].tolist() == [[0, 1, 2, 0, 0], [0, 0, 0, 0, 0]]
    assert items[3]["tokens.length"].tolist() == [3, 0]
    assert (items[2]["prompt"].tolist(), items[2]["prompt.length"]) == ([7, 8, 0], 2)


def test_extras_per_step_and_per_episode_and_the_task_label():
    extras = (Column("cost", "float64", (2,)), Column("task", "int32", scope="episode"))
    schema = vector_schema(extras=extras, task_column="task")
    made = {"cost": lambda sequence: np.array([sequence, 1.0]), "task": lambda sequence: 4}
    store = store_of(schema, replay=table(n_step=2))
    insert(store, schema, Lane(0, extras=made).segment(3, "terminated"))
    item = drawn_by_key(store, "replay")[2]
    assert item["cost"].tolist() == [[1.0, 1.0], [2.0, 1.0]]
    assert (item["task"], item["info.task"]) == (4, 4)


def test_a_life_that_ends_open_is_cut_at_its_last_observation():
    store, schema, lane = store_of(replay=table(n_step=3), runs=table(item="segment", length=4)), vector_schema(), Lane(0)
    assert insert(store, schema, lane.segment(6)).new_items == {"replay": 3, "runs": 1}
    out = store.close_stream(("actor", 1), 1.0)
    assert (out.rows, out.new_items) == (0, {"replay": 2, "runs": 1})
    items = drawn_by_key(store, "replay")
    assert {key: (item["length"], bool(item["truncated"])) for key, item in items.items()} == {
        1: (3, False),
        2: (3, False),
        3: (3, True),
        4: (2, True),
        5: (1, True),
    }
    assert items[5]["next_observation"].tolist() == [0, 5]
    assert drawn_by_key(store, "runs")[5]["length"] == 1
    store.check()


def test_a_lane_that_goes_on_behind_missing_rows_is_cut_there():
    store, schema, lane = store_of(replay=table(n_step=2)), vector_schema(), Lane(0)
    insert(store, schema, lane.segment(3))
    lane.segment(2)  # never arrives
    assert insert(store, schema, lane.segment(3)).new_items == {"replay": 2}
    assert store.gaps == 1
    items = drawn_by_key(store, "replay")
    assert {key: item["next_observation"][1] for key, item in items.items()} == {1: 2, 2: 2, 4: 7}
    assert items[2]["truncated"]


def test_behind_missing_rows_no_item_is_made_until_its_frames_are_there():
    schema = vector_schema(frame_stack=3)
    store, lane = store_of(schema, replay=table()), Lane(0)
    insert(store, schema, lane.segment(3))
    lane.segment(1)  # never arrives
    insert(store, schema, lane.segment(5))
    items = drawn_by_key(store, "replay")
    assert sorted(items) == [1, 2, 6, 7]
    assert items[6]["observation"][:, 1].tolist() == [4, 5, 6]


def test_delay_runs_from_the_last_actions_start_until_the_item_could_be_drawn():
    store, schema, lane = store_of(replay=table(n_step=2)), vector_schema(), Lane(0)
    insert(store, schema, lane.segment(2), now_s=5.0)
    insert(store, schema, lane.segment(1), now_s=9.0)
    drawn = store.draw("replay", 1, 1, 20.0).columns
    assert drawn["info.delay_s"].tolist() == [8.0]  # the second action began at 1
    assert drawn["info.age_s"].tolist() == [11.0]
    assert drawn["info.duration_s"].tolist() == [2.0]


def test_time_on_the_way_counts_towards_the_delay():
    schema = vector_schema()
    store = store_of(schema, replay=table())
    store.append(rows_of(schema, Lane(0).segment(1, "terminated"), now_s=3.0), ("actor", 1), 100.0, held_s=4.0)
    assert store.draw("replay", 1, 1, 100.0).columns["info.delay_s"].tolist() == [7.0]


def test_killed_actions_are_delivered_with_their_end_kind():
    store, schema = store_of(replay=table(item="segment", length=3)), vector_schema()
    segment = Lane(0).segment(2, "truncated")
    segment.end_kind[1] = EndKind.KILLED
    insert(store, schema, segment)
    assert drawn_by_key(store, "replay")[1]["end_kind"].tolist() == [0, 1, 0]


def test_images_are_stored_as_they_are():
    space = gym.spaces.Dict(
        {"camera": gym.spaces.Box(0, 255, (4, 5, 3), np.uint8), "arm": gym.spaces.Box(-1, 1, (2,), np.float64)}
    )
    schema = Schema(space_to_json(space), space_to_json(gym.spaces.MultiBinary(3)))
    rng = np.random.default_rng(0)
    frames, arm = rng.integers(0, 256, (6, 4, 5, 3), np.uint8), rng.random((6, 2))
    base = Lane(0).segment(5, "terminated")
    observation = {"observation.camera": frames, "observation.arm": arm}
    fields = {**vars(base), "observation": observation, "action": {"action": rng.integers(0, 2, (5, 3)).astype(np.int8)}}
    store = store_of(schema, replay=table())
    insert(store, schema, Segment(**fields))
    item = drawn_by_key(store, "replay")[3]
    assert (item["observation.camera"] == frames[2]).all()
    assert (item["next_observation.camera"] == frames[3]).all()
    assert item["observation.arm"].dtype == np.float32
    assert item["observation.arm"] == pytest.approx(arm[2], rel=1e-6)
    assert (item["action"] == fields["action"]["action"][2]).all()
