"""Rows of a lane become segments that chain, close and cut as docs/architecture.md says."""

import numpy as np
from gymnasium.spaces import Box, Discrete

from actors.segments import SegmentBuilder
from sojourn.columns import Column, Schema, space_to_json
from sojourn.experience import EndKind, Transition

SCHEMA = Schema(
    observation=space_to_json(Box(-1, 1, (2,), np.float64)),
    action=space_to_json(Discrete(3)),
    extras=(Column("cost", "float32"), Column("words", "int32", ragged_max=4)),
)


def observed(value: float) -> dict[str, np.ndarray]:
    return {"observation": np.full(2, value)}


def stepped(number: int, *, terminated: bool = False) -> Transition:
    """The step from observation `number` to `number + 1`."""
    extras = {"cost": np.float32(number), "words": np.arange(number % 4, dtype=np.int32)}
    action = {"action": np.int64(number % 3)}
    return Transition(observed(number), action, number, terminated, False, 0.5, 7.0, EndKind.COMPLETED, -1.0, 4, extras)


def test_open_segments_chain_and_a_closed_one_takes_one_number_more():
    rows = SegmentBuilder(SCHEMA, lane=3, capacity=2)
    rows.begin()
    rows.add(stepped(0))
    rows.add(stepped(1))
    first = rows.take(observed(2), closed=False)
    rows.add(stepped(2, terminated=True))
    second = rows.take(observed(3), closed=True)
    rows.begin()
    rows.add(stepped(0))
    third = rows.take(observed(1), closed=False)
    assert [(s.lane, s.episode, s.first_sequence, len(s), s.closed) for s in (first, second, third)] == [
        (3, 0, 0, 2, False),
        (3, 0, 2, 1, True),
        (3, 1, 4, 1, False),
    ]
    assert first.observation["observation"].tolist() == [[0, 0], [1, 1], [2, 2]]
    assert second.terminated.tolist() == [True]


def test_a_segment_has_the_stored_dtypes_and_all_values_of_its_steps():
    rows = SegmentBuilder(SCHEMA, lane=0, capacity=4)
    rows.begin()
    for number in range(3):
        rows.add(stepped(number))
    segment = rows.take(observed(3), closed=False)
    assert segment.observation["observation"].dtype == np.float32
    assert segment.action["action"].tolist() == [0, 1, 2]
    assert segment.reward.tolist() == [0.0, 1.0, 2.0]
    assert segment.extras["cost"].tolist() == [0.0, 1.0, 2.0]
    assert [words.tolist() for words in segment.extras["words"]] == [[], [0], [0, 1]]
    assert (segment.duration_s.tolist(), segment.started_at_s.tolist()) == ([0.5] * 3, [7.0] * 3)
    assert (segment.log_prob.tolist(), segment.policy_version.tolist()) == ([-1.0] * 3, [4] * 3)


def test_what_was_handed_over_does_not_change_with_later_rows():
    for capacity in (3, 64):  # whole memory handed over; copied
        rows = SegmentBuilder(SCHEMA, lane=0, capacity=capacity)
        rows.begin()
        for number in range(3):
            rows.add(stepped(number))
        segment = rows.take(observed(3), closed=False)
        rows.add(stepped(50))
        rows.take(observed(51), closed=True)
        assert segment.reward.tolist() == [0.0, 1.0, 2.0]
        assert segment.observation["observation"][:, 0].tolist() == [0, 1, 2, 3]


def test_a_cut_marks_the_last_waiting_step_truncated_and_closes():
    rows = SegmentBuilder(SCHEMA, lane=0, capacity=8)
    rows.begin()
    rows.add(stepped(0))
    rows.add(stepped(1))
    segment = rows.cut(observed(2))
    assert segment is not None
    assert (segment.truncated.tolist(), segment.closed) == ([False, True], True)


def test_a_cut_after_everything_was_handed_over_sends_the_closing_observation_alone():
    rows = SegmentBuilder(SCHEMA, lane=0, capacity=8)
    rows.begin()
    rows.add(stepped(0))
    rows.take(observed(1), closed=False)
    segment = rows.cut(observed(1))
    assert segment is not None
    assert (len(segment), segment.closed, segment.first_sequence) == (0, True, 1)
    assert segment.observation["observation"].tolist() == [[1, 1]]


def test_an_episode_without_steps_leaves_nothing_to_cut():
    rows = SegmentBuilder(SCHEMA, lane=0, capacity=8)
    rows.begin()
    assert rows.cut(observed(0)) is None
