"""An actor ends whatever its environments do, and accounts for every action that it started."""

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from actors import evaluation, first_look, role, watchdog
from replay import actor_connection
from sojourn.config import Config
from sojourn.errors import EnvironmentFault, HungError
from sojourn.experience import EndKind
from tests.waiting import DEADLINE_S, UNHURRIED_S, eventually

ROLLOUTS = ["lockstep", "asynchronous"]


def test_what_ends_may_wait_for_fits_into_the_ten_seconds_after_sigterm():
    assert watchdog.GRACE_S + role.DRAIN_S + actor_connection.FAREWELL_S < 10.0
    assert evaluation.FINAL_S + evaluation.AFTERWORD_S < 10.0


@pytest.mark.parametrize("rollout", ROLLOUTS)
def test_stop_during_a_long_action_aborts_it_with_its_elapsed_time_and_delivers_the_rest(
    run_actor: Any, configured: Callable[..., Config], rollout: str
):
    environment = {"length": 500, "fault": "hang", "fault_at": 3}
    actor = run_actor(configured(environment, rollout=rollout, flush_age_s=UNHURRIED_S))  # however slow the machine, one segment
    eventually(lambda: any(action.action_number == 3 for action in list(actor.sink.running)))
    actor.stop.set()
    actor.end()
    (segment,) = actor.sink.segments
    assert (segment.reward.tolist(), segment.truncated.tolist(), segment.closed) == ([1.0, 2.0], [False, True], True)
    assert (actor.sink.total("started"), actor.sink.total("completed"), actor.sink.total("aborted")) == (3, 2, 1)
    assert actor.sink.total("ended_without_row_s") > 0.1
    assert [action.ended for action in actor.sink.running if action.ended is not None] == [EndKind.ABORTED]


@pytest.mark.parametrize("rollout", ROLLOUTS)
def test_stop_between_actions_closes_open_episodes(run_actor: Any, configured: Callable[..., Config], rollout: str):
    actor = run_actor(configured({"length": 100_000}, rollout=rollout, environments=2, segment_steps=8))
    eventually(lambda: {segment.lane for segment in list(actor.sink.segments)} == {0, 1})
    actor.stop.set()
    actor.end()
    for lane in (0, 1):
        last = [segment for segment in actor.sink.segments if segment.lane == lane][-1]
        assert last.closed
        assert not last.terminated.any()
    rows = sum(map(len, actor.sink.segments))
    assert actor.sink.total("completed") == rows
    assert actor.sink.total("started") == rows + actor.sink.total("aborted")


@pytest.mark.parametrize("rollout", ROLLOUTS)
def test_stop_during_a_first_reset_that_does_not_return_leaves_at_once(
    run_actor: Any, configured: Callable[..., Config], tmp_path: Path, rollout: str
):
    environment = {"fault": "hang", "fault_at": 0, "once": str(tmp_path / "came")}
    actor = run_actor(configured(environment, rollout=rollout, environments=2))
    eventually((tmp_path / "came").exists)
    actor.stop.set()
    actor.end()
    assert actor.sink.total("started") == sum(actor.sink.total(kind) for kind in ("completed", "aborted"))


@pytest.mark.parametrize("run", [role.run, evaluation.run])
def test_stop_while_an_environment_is_made_leaves_at_once(
    roles: Any, configured: Callable[..., Config], tmp_path: Path, run: Any
):
    config = configured({"fault": "hang", "fault_at": -1, "once": str(tmp_path / "came")})
    stop, running = roles.start(run, config, "actor")
    eventually((tmp_path / "came").exists)
    stop.set()
    running.result(DEADLINE_S)


def test_an_environment_that_is_never_made_gives_up_the_process(
    configured: Callable[..., Config], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(first_look, "NO_ACTION_ALLOWANCE_S", 0.0)
    config = configured({"fault": "hang", "fault_at": -1, "step_timeout_s": 1.0})
    with pytest.raises(HungError, match="was not made within 1 s"):
        first_look.first_look(config.environment, config, threading.Event())


def test_a_hang_in_lockstep_delivers_the_killed_action_and_the_other_lanes_and_gives_up_the_process(
    run_actor: Any, configured: Callable[..., Config], tmp_path: Any
):
    environment = {"length": 500, "fault": "hang", "fault_at": 3, "once": str(tmp_path / "came"), "step_timeout_s": 2.5}
    actor = run_actor(configured({**environment, "killed_reward": -1.0}, environments=2, flush_age_s=UNHURRIED_S))
    with pytest.raises(HungError, match=r"has not returned from step in slot 0 within 2\.5 s"):
        actor.end()
    hung, other = sorted(actor.sink.segments, key=lambda segment: segment.lane)
    assert (hung.reward.tolist(), hung.duration_s[-1], hung.closed) == ([1.0, 2.0, -1.0], 2.5, True)
    assert hung.end_kind.tolist() == [EndKind.COMPLETED, EndKind.COMPLETED, EndKind.KILLED]
    assert (other.reward.tolist(), other.truncated.tolist(), other.closed) == ([1.0, 2.0], [False, True], True)
    assert (actor.sink.total("killed"), actor.sink.total("started")) == (1, 5)


def test_a_broken_environment_that_does_not_close_gives_up_the_process(
    run_actor: Any, configured: Callable[..., Config], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(watchdog, "NO_ACTION_ALLOWANCE_S", 0.0)
    environment = {"fault": "raise", "fault_at": 3, "slow_close_s": 3600.0, "step_timeout_s": 2.5}
    actor = run_actor(configured(environment, flush_age_s=UNHURRIED_S))
    with pytest.raises(HungError, match=r"has not returned from reset or close within 2\.5 s"):
        actor.end()
    (segment,) = actor.sink.segments
    assert (segment.reward.tolist(), segment.closed, actor.sink.total("failed")) == ([1.0, 2.0], True, 1)


def test_an_environment_past_hope_ends_the_actor_after_its_good_steps_are_delivered(
    run_actor: Any, configured: Callable[..., Config]
):
    actor = run_actor(configured({"fault": "shape", "fault_at": 2, "faults_in_a_row": 2}))
    with pytest.raises(EnvironmentFault, match=r"observation has shape \(4,\)"):
        actor.end()
    assert [segment.reward.tolist() for segment in actor.sink.segments] == [[1.0], [1.0]]
    seeds = [segment.observation["observation"][0, 0] for segment in actor.sink.segments]
    assert seeds[0] != seeds[1]
    assert actor.sink.total("failed") == 2


def test_a_later_life_begins_its_episodes_with_other_seeds(run_actor: Any, configured: Callable[..., Config]):
    seeds = []
    for _ in range(2):
        actor = run_actor(configured({"length": 2}, environments=2))
        assert actor.sink.inserted.wait(DEADLINE_S)
        actor.stop.set()
        actor.end()
        seeds.append({segment.observation["observation"][0, 0] for segment in actor.sink.segments})
    assert not seeds[0] & seeds[1]
