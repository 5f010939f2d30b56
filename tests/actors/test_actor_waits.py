"""With `objective: per_second` durations and waits of a lane add up to the time that passed."""

import numpy as np
import pytest

from actors.lane import Lane
from actors.outcomes import Beginning, Outcome
from actors.slot_wire import SlotWire
from actors.stacking import Observations
from sojourn.columns import Column, Schema
from sojourn.config.schema import EnvironmentSettings
from sojourn.experience import IDLE, EndKind, Segment

SCHEMA = Schema(
    {"type": "Box", "shape": [1], "dtype": "float32", "low": "-inf", "high": "inf"},
    {"type": "Discrete", "n": 2, "start": 0},
    extras=(Column(IDLE, "float32"),),
)


class World:
    """One lane whose clock goes on by what it is told."""

    def __init__(self, *, segment_steps: int = 3, simulated_clock: bool = False) -> None:
        self.segments: list[Segment] = []
        self.now_s = 100.0
        self.lane = Lane(
            0,
            SCHEMA,
            EnvironmentSettings(),
            Observations(SCHEMA, 1),
            segment_steps=segment_steps,
            emit=self.segments.append,
            finished=lambda total, steps: None,
            simulated_clock=simulated_clock,
        )

    def begin(self, reset_s: float) -> None:
        self.now_s += reset_s
        self.lane.begin(Beginning({"observation": np.zeros(1, np.float32)}, {}, reset_s), self.now_s)

    def start(self, after_s: float = 0.0) -> None:
        self.now_s += after_s
        self.lane.start({"action": np.int64(1)}, -0.5, 9, self.now_s)

    def complete(self, duration_s: float, *, terminated: bool = False) -> None:
        self.now_s += duration_s
        outcome = Outcome({"observation": np.ones(1, np.float32)}, 1.0, terminated, False, duration_s, {})
        self.lane.complete(outcome, self.now_s)

    def waits(self) -> list[float]:
        return [float(wait) for segment in self.segments for wait in segment.extras[IDLE]]

    def total_s(self) -> float:
        return sum(self.waits()) + sum(float(segment.duration_s.sum()) for segment in self.segments)


def test_a_wait_belongs_to_the_action_before_it_and_a_reset_to_the_one_that_ended_the_episode():
    world = World()
    world.begin(7.0)
    world.start()
    world.complete(1.0)
    world.start(after_s=0.25)
    world.complete(2.0, terminated=True)
    assert world.segments == []  # how long the reset takes is not known yet
    world.begin(4.0)
    world.start(after_s=0.5)
    assert world.waits() == [0.25, 4.5]


@pytest.mark.parametrize("segment_steps", [1, 2, 5])
def test_durations_and_waits_add_up_to_the_time_that_passed(segment_steps):
    world = World(segment_steps=segment_steps)
    world.begin(1.0)
    began_s = world.now_s
    for step in range(7):
        world.start(after_s=0.5 if step else 0.0)
        world.complete(1.0 + step, terminated=step % 3 == 2)
        if step % 3 == 2:
            world.begin(2.0)
    world.start(after_s=0.25)
    world.lane.flush()
    assert world.total_s() == pytest.approx(world.now_s - began_s)
    assert len(world.waits()) == 7


def test_the_time_of_an_action_that_was_lost_is_not():
    world = World()
    world.begin(1.0)
    began_s = world.now_s
    world.start()
    world.complete(1.0)
    world.start(after_s=0.5)
    world.now_s += 3.0
    world.lane.lose(EndKind.CRASHED, world.now_s)
    world.begin(2.0)
    world.start(after_s=0.25)
    assert world.waits() == [5.75]
    assert world.total_s() == pytest.approx(world.now_s - began_s)


def test_what_waits_for_leave_is_sent_after_a_while_and_the_rest_is_charged_to_the_next_row():
    world = World(segment_steps=1)
    world.begin(1.0)
    began_s = world.now_s
    world.start()
    world.complete(1.0)
    world.lane.flush_aged(1.0, world.now_s + 0.5)
    assert world.segments == []
    world.now_s += 1.5
    world.lane.flush_aged(1.0, world.now_s)
    assert world.waits() == [1.5]
    world.start(after_s=2.0)
    world.complete(1.0)
    world.start(after_s=0.25)
    assert world.waits() == [1.5, 2.25]
    assert world.total_s() == pytest.approx(world.now_s - began_s)


def test_a_reset_is_waited_for_however_long_it_takes():
    world = World()
    world.begin(1.0)
    world.start()
    world.complete(1.0, terminated=True)
    world.lane.flush_aged(1.0, world.now_s + 60.0)
    assert world.segments == []


def test_nothing_is_held_back_at_the_end_of_a_life():
    world = World()
    world.begin(1.0)
    world.start()
    world.complete(1.0, terminated=True)
    world.lane.close(world.now_s + 0.5)
    assert world.waits() == [0.5]
    world.lane.check()


def test_rows_of_a_running_action_keep_the_waits_that_are_known():
    world = World(segment_steps=9)
    world.begin(1.0)
    world.start()
    world.complete(1.0)
    world.start(after_s=0.5)
    world.lane.flush()
    assert world.waits() == [0.5]
    world.complete(1.0)
    world.start(after_s=0.25)
    world.lane.flush()
    assert world.waits() == [0.5, 0.25]


def test_on_a_simulated_clock_only_resets_take_time_between_actions():
    world = World(simulated_clock=True)
    world.begin(3.0)
    world.start()
    world.complete(1.0, terminated=True)
    world.begin(4.0)
    world.start(after_s=9.0)
    assert world.waits() == [4.0]


def test_how_long_a_simulated_reset_took_travels_from_the_process_of_a_slot():
    wire = SlotWire(SCHEMA)
    answer = wire.decode_answer(wire.encode_beginning(Beginning({"observation": np.zeros(1, np.float32)}, {}, 2.5)))
    assert isinstance(answer, Beginning)
    assert answer.duration_s == 2.5
