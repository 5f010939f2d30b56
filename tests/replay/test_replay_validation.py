"""What the door refuses, and that the sentence holds the values. Nothing of a refused message is stored."""

from dataclasses import replace

import gymnasium as gym
import numpy as np
import pytest
from replay_world import Lane, insert, rows_of, table, vector_schema

from replay.rows import RaggedColumn, Rows
from replay.store import Store
from sojourn.columns import Column, Schema, space_to_json
from sojourn.errors import ConfigError, ValidationError
from sojourn.experience import EndKind

TOKENS = Column("tokens", "int32", (), 3)
COST = Column("cost", "float32")
PARTS = Column("parts", "float64", (), 3)
SCHEMA = vector_schema(extras=(TOKENS, COST, PARTS))
LISTS = {
    "tokens": lambda sequence: np.arange(sequence % 3),
    "cost": lambda sequence: 0.0,
    "parts": lambda sequence: np.full(sequence % 3, 0.5),
}
ACTOR = ("actor", 1)


def a_lane(**fields: int) -> Lane:
    return Lane(extras=LISTS, **fields)


def a_store() -> Store:
    return Store(SCHEMA, {"replay": table()}, seed=0, batch_size=1)


def changed(rows: Rows, column: str, row: int, value: object) -> Rows:
    """The rows with one value changed."""
    values = (rows.columns.get(column) if column in rows.columns else getattr(rows, column)).copy()
    values[row] = value
    if column in rows.columns:
        return replace(rows, columns={**rows.columns, column: values})
    return replace(rows, **{column: values})


@pytest.mark.parametrize(
    ("column", "row", "value", "sentence"),
    [
        ("reward", 1, np.nan, r"row 1 \(lane 0, sequence 1\): reward nan is not finite"),
        ("reward", 2, -np.inf, r"sequence 2\): reward -inf is not finite"),
        ("observation", 3, np.inf, r"row 3 \(lane 0, sequence 3\): observation holds inf"),
        ("duration_s", 0, -0.5, r"duration_s -0.5 does not lie in \[0, 1e\+09\]"),
        ("duration_s", 0, np.nan, "duration_s nan does not lie"),
        ("duration_s", 0, 1e300, r"duration_s 1e\+300 does not lie"),
        ("start_age_s", 1, -3.0, "start_age_s -3.0 does not lie"),
        ("priority", 1, -1.0, "priority -1.0 is negative"),
        ("priority", 1, np.inf, "priority inf is negative or infinite"),
        ("log_prob", 0, np.nan, r"row 0 \(lane 0, sequence 0\): log_prob nan is not finite"),
        ("log_prob", 2, -np.inf, "log_prob -inf is not finite"),
        ("policy_version", 1, -1, "policy_version -1 does not lie in"),
        ("policy_version", 1, 1 << 62, "policy_version 4611686018427387904 does not lie in"),
        ("cost", 1, np.inf, r"row 1 \(lane 0, sequence 1\): cost holds inf"),
        ("kind", 0, 9, "kind 9 has bits that mean nothing"),
        ("kind", 3, 2, "kind 2 says how a step ended, but the row is no step"),
        ("kind", 1, 1 | EndKind.ABORTED << 4, "end kind 3 has no row"),
        ("kind", 1, 3, "kind 3 ends the episode, but its closing observation does not follow"),
        ("sequence", 2, 7, "sequence 7 does not follow the row before it"),
        ("episode", 1, 4, "episode 4 begins before the one before it was closed"),
        ("lane", 0, 70_000, "lane 70000 is not below 65536"),
    ],
)
def test_a_bad_value_is_refused_with_its_place(column, row, value, sentence):
    store = a_store()
    rows = changed(rows_of(SCHEMA, a_lane().segment(3, "terminated"), now_s=9.0), column, row, value)
    with pytest.raises(ValidationError, match=sentence):
        store.validate(rows, ACTOR)
    assert store.slab_rows == 0


def test_a_list_with_a_value_that_is_not_finite_is_refused_with_its_place():
    rows = rows_of(SCHEMA, a_lane().segment(3, "terminated"))
    values = rows.ragged["parts"].values.copy()  # lists of 0, 1, 2 and (closing row) 0 elements
    values[1] = np.nan
    parts = replace(rows.ragged["parts"], values=values)
    with pytest.raises(ValidationError, match=r"row 2 \(lane 0, sequence 2\): parts holds nan"):
        a_store().validate(replace(rows, ragged={**rows.ragged, "parts": parts}), ACTOR)


def test_what_a_closing_row_says_of_an_action_is_not_looked_at():
    rows = rows_of(SCHEMA, a_lane().segment(3, "terminated"))
    for column, value in (("log_prob", np.nan), ("cost", np.nan)):
        rows = changed(rows, column, 3, value)
    a_store().validate(rows, ACTOR)


def test_lanes_must_be_sorted():
    rows = rows_of(SCHEMA, a_lane().segment(1), a_lane(number=1).segment(1))
    with pytest.raises(ValidationError, match="lane 0 stands behind a higher one"):
        a_store().validate(replace(rows, lane=rows.lane[::-1].copy()), ACTOR)


def test_an_episode_must_rise_behind_a_closing_row():
    lane = a_lane()
    first = lane.segment(1, "terminated")
    lane.episode = 0
    with pytest.raises(ValidationError, match="episode 0 is not above the one that was closed"):
        a_store().validate(rows_of(SCHEMA, first, lane.segment(1)), ACTOR)


def test_a_nan_action_is_refused_but_not_in_a_closing_row():
    box = space_to_json(gym.spaces.Box(-1, 1, (1,), np.float32))
    schema = Schema(box, box)
    store = Store(schema, {"replay": table()}, seed=0)
    lane = Lane()
    segment = lane.segment(2, "truncated")
    segment.observation["observation"] = np.zeros((3, 1), np.float32)
    segment.action["action"] = np.zeros((2, 1), np.float32)
    rows = rows_of(schema, segment)
    store.validate(changed(rows, "action", 2, np.nan), ACTOR)
    with pytest.raises(ValidationError, match="action holds nan"):
        store.validate(changed(rows, "action", 1, np.nan), ACTOR)


def test_rows_that_were_stored_before_are_refused():
    store, lane = a_store(), a_lane()
    segment = lane.segment(3)
    insert(store, SCHEMA, segment)
    with pytest.raises(ValidationError, match="sequence 0 was stored before"):
        store.validate(rows_of(SCHEMA, segment), ACTOR)
    store.validate(rows_of(SCHEMA, segment), ("actor", 2))  # another life's lane


def test_an_open_episode_goes_on_and_a_closed_one_does_not():
    store, lane = a_store(), a_lane()
    insert(store, SCHEMA, lane.segment(2))
    with pytest.raises(ValidationError, match="episode 5 begins before the lane's last one was closed"):
        store.validate(rows_of(SCHEMA, a_lane(sequence=2, episode=5).segment(1)), ACTOR)
    insert(store, SCHEMA, lane.segment(1, "cut"))
    with pytest.raises(ValidationError, match="episode 0 is not above the lane's last one"):
        store.validate(rows_of(SCHEMA, a_lane(sequence=4).segment(1)), ACTOR)


def test_a_gap_forward_is_accepted():
    store, lane = a_store(), a_lane()
    insert(store, SCHEMA, lane.segment(2))
    store.validate(rows_of(SCHEMA, a_lane(sequence=9).segment(1)), ACTOR)


def test_columns_must_be_those_of_the_schema():
    rows = rows_of(SCHEMA, a_lane().segment(2))
    with pytest.raises(ValidationError, match="the schema says"):
        a_store().validate(replace(rows, ragged={}), ACTOR)
    wide = {**rows.columns, "observation": rows.columns["observation"].astype(np.float64)}
    with pytest.raises(ValidationError, match=r"'observation' is float64 of shape \(2, 2\), the schema says float32"):
        a_store().validate(replace(rows, columns=wide), ACTOR)
    long = {**rows.ragged, "tokens": RaggedColumn(np.zeros(9, np.int32), np.array([0, 4, 4]))}
    with pytest.raises(ValidationError, match="length of tokens 4 is above ragged_max 3"):
        a_store().validate(replace(rows, ragged=long), ACTOR)


def test_an_empty_and_an_oversized_message_are_refused():
    empty = rows_of(SCHEMA, a_lane().segment(0))
    with pytest.raises(ValidationError, match="1 to 65536 rows, got 0"):
        a_store().validate(empty, ACTOR)
    with pytest.raises(ValidationError, match="got 65537"):
        a_store().validate(rows_of(SCHEMA, a_lane().segment(65_537)), ACTOR)


def test_a_task_column_must_be_a_declared_number():
    with pytest.raises(ConfigError, match="task column 'tokens'"):
        Store(vector_schema(extras=(TOKENS,), task_column="tokens"), {"replay": table()}, seed=0)
