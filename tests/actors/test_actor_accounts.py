"""Credits, faults and measures: the small accounts that a rollout keeps."""

import threading
from collections.abc import Callable
from contextlib import closing
from itertools import islice
from typing import Any

import pytest

from actors.credits import StartGate
from actors.faults import FORGIVEN_AFTER_STEPS, Faults
from actors.lockstep import lockstep
from replay.client import Pace
from sojourn.config import Config
from sojourn.errors import EnvironmentFault


@pytest.mark.parametrize(
    ("pace", "started", "allowed"),
    [
        (Pace(gated=False), 50, 4),
        (Pace(gated=True, start_credits=3, counted_starts=10), 10, 3),
        (Pace(gated=True, start_credits=3, counted_starts=10), 12, 1),  # two started since the heartbeat
        (Pace(gated=True, start_credits=3, counted_starts=10), 15, 0),
        (Pace(gated=True, start_credits=100, counted_starts=10), 10, 4),
    ],
)
def test_a_grant_counts_from_the_starts_that_the_service_knew_of(pace: Pace, started: int, allowed: int):
    assert StartGate(lambda: pace, lambda: started).allowed(4) == allowed


def test_faults_in_a_row_are_final_and_an_episode_that_ends_by_itself_ends_the_row():
    faults = Faults("Some-v0", 3)
    faults.note(0, "one", 0)
    faults.note(1, "two", 0)
    faults.went_well()
    faults.note(0, "three", 10)
    faults.note(0, "four", 20)
    faults.check()
    faults.note(2, "five", 30)
    with pytest.raises(EnvironmentFault, match=r"Some-v0 failed 3 times .* the last time in slot 2: five"):
        faults.check()


def test_faults_that_many_completed_actions_lie_between_are_not_in_a_row():
    faults = Faults("Some-v0", 2)
    for fault in range(5):
        faults.note(0, "again", fault * (FORGIVEN_AFTER_STEPS + 1))
    faults.check()


def test_waits_before_a_new_environment_grow_and_end_with_the_actor():
    faults = Faults("Some-v0", 100)
    waits_s = []
    for _ in range(9):
        faults.note(0, "again", 0)
        waits_s.append(faults.wait_s())
    assert waits_s == [0.0, 0.05, 0.1, 0.2, 0.4, 0.8, 1.6, 2.0, 2.0]
    stop = threading.Event()
    stop.set()
    faults.pause(stop)  # returns at once


def test_measures_say_what_the_lanes_counted(acting: Any, configured: Callable[..., Config], tmp_path: Any):
    made = acting(configured({"length": 4, "fault": "raise", "fault_at": 2, "once": str(tmp_path / "came")}))
    with closing(lockstep(made.parts)) as rollout:
        for segment in islice(rollout, 3):  # one step, then two whole episodes
            made.parts.measures.inserted(segment, 0.25)
    for _ in range(2):  # what was counted once is not counted again
        made.parts.measures.refresh(made.parts.board, policy_version=3, policy_age_s=1.5, now_s=0.0)
    read = made.metrics.registry.get_sample_value
    assert read("sojourn_actor_env_steps_total") == 9
    assert read("sojourn_actor_episodes_total") == 2
    assert read("sojourn_actor_return_mean") == 10.0
    assert read("sojourn_actor_episode_length_mean") == 4.0
    assert read("sojourn_actor_actions_ended_total", {"kind": "completed"}) == 9
    assert read("sojourn_actor_actions_ended_total", {"kind": "failed"}) == 1
    assert read("sojourn_actor_actions_started_total") == 10
    assert read("sojourn_actor_slot_restarts_total") == 1
    assert read("sojourn_actor_action_duration_seconds_count") == 9
    assert read("sojourn_actor_insert_blocked_seconds_total") == 0.75
    assert read("sojourn_actor_policy_version") == 3
    assert read("sojourn_actor_inference_seconds_count") == 10
