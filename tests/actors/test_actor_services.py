"""Actors against the real replay and parameter services: nothing is lost or doubled, and processes end as they should."""

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest

from actors import role as actor_role
from replay import actor_connection
from replay import role as replay_role
from replay.client import LearnerConnection, service_info, shard_for
from sojourn.config import Config
from sojourn.config.load import dump_config
from sojourn.errors import ContractError
from sojourn.parameters import role as parameters_role
from sojourn.roles import replay_shards, shards_in
from sojourn.shard_list import ShardList, write_shard_list
from tests.waiting import DEADLINE_S, eventually


@pytest.fixture(autouse=True)
def _time_to_drain(monkeypatch: pytest.MonkeyPatch) -> None:
    """A starved machine delivers for longer than SIGTERM leaves."""
    monkeypatch.setattr(actor_role, "DRAIN_S", DEADLINE_S)
    monkeypatch.setattr(actor_connection, "FAREWELL_S", DEADLINE_S)


def served(config: Config) -> Config:
    """A configuration with a small table that draws without limits, kept in memory."""
    table = {"capacity_steps": 50_000, "limiter": {"min_size": 1, "samples_per_insert": None}}
    fields = config.model_dump()
    fields |= {"tables": {"replay": table}, "replay": {"durability": "memory"}}
    return Config.model_validate(fields)


@pytest.fixture
def services(roles: Any) -> Callable[[Config], Any]:
    def start(config: Config) -> Any:
        roles.start(parameters_role.run, config, "parameters")
        roles.start(replay_role.run, config, "replay")
        roles.publish(config)
        return roles

    return start


def info_of(config: Config, run_folder: Path) -> Any:
    return service_info(replay_shards(config, run_folder).addresses[0], DEADLINE_S)


def drawn(config: Config, run_folder: Path) -> Any:
    """One large batch of whatever the table holds."""
    table = config.tables["replay"]
    connection = LearnerConnection(
        replay_shards(config, run_folder).addresses,
        run_id="run",
        client_id="learner-0",
        table="replay",
        table_settings=table,
        learner=config.learners.model_copy(update={"batch_size": 512, "prefetch": 1, "batches_per_message": 1}),
        total_env_steps=1000,
    )
    try:
        return connection.sample(DEADLINE_S)
    finally:
        connection.close()


@pytest.mark.parametrize("rollout", ["lockstep", "asynchronous"])
def test_every_completed_step_reaches_the_replay_once_and_items_bootstrap_across_segments(
    services: Any, configured: Callable[..., Config], rollout: str
):
    config = served(configured({"length": 7}, environments=2, segment_steps=4, rollout=rollout, flush_age_s=0.05))
    run = services(config)
    stop, running = run.start(actor_role.run, config, "actor")
    eventually(lambda: info_of(config, run.run_folder).env_steps >= 100)
    stop.set()
    running.result(DEADLINE_S)
    info = info_of(config, run.run_folder)
    (client,) = [client for client in info.clients if client.client_id == "actor-0"]
    assert client.started == client.ended
    batch = drawn(config, run.run_folder)
    before, after = batch.columns["observation"], batch.columns["next_observation"]
    np.testing.assert_array_equal(after[:, :2], before[:, :2])  # the same seed and episode
    np.testing.assert_array_equal(after[:, 2], before[:, 2] + 1)
    np.testing.assert_array_equal(batch.columns["reward"][:, 0], after[:, 2])
    np.testing.assert_array_equal(batch.columns["terminated"], after[:, 2] == 7)
    assert not batch.columns["truncated"][batch.columns["terminated"]].any()


@pytest.mark.parametrize("rollout", ["lockstep", "asynchronous"])
def test_an_actor_that_belongs_to_another_shard_ends_its_stream_and_begins_a_new_life_there(
    services: Any, configured: Callable[..., Config], rollout: str
):
    config = served(configured({"length": 7}, environments=2, segment_steps=4, rollout=rollout, flush_age_s=0.05))
    run = services(config)
    run.start(replay_role.run, config, "replay", index=1)
    write_shard_list(run.run_folder, ShardList(taking=1, known=2))
    stop, running = run.start(actor_role.run, config, "actor", shards=partial(shards_in, run.run_folder))

    def infos() -> list[Any]:
        return [service_info(address, DEADLINE_S) for address in shards_in(run.run_folder).addresses]

    assert [shard_for("actor-0", range(taking)) for taking in (1, 2)] == [0, 1]
    eventually(lambda: infos()[0].env_steps >= 50)
    write_shard_list(run.run_folder, ShardList(taking=2, known=2))
    eventually(lambda: infos()[1].env_steps >= 50)
    stop.set()
    running.result(DEADLINE_S)
    for info in infos():
        (client,) = info.clients
        assert (client.started, info.gaps, info.refused) == (client.ended, 0, 0)
        assert info.episodes > 0


def test_stacks_are_rebuilt_as_the_policy_saw_them(services: Any, configured: Callable[..., Config]):
    config = served(configured({"length": 7, "frame_stack": 3}, segment_steps=4))
    run = services(config)
    stop, running = run.start(actor_role.run, config, "actor")
    eventually(lambda: info_of(config, run.run_folder).env_steps >= 50)
    stop.set()
    running.result(DEADLINE_S)
    steps = drawn(config, run.run_folder).columns["observation"][:, :, 2]  # oldest frame first
    newest = steps[:, -1]
    np.testing.assert_array_equal(steps, np.stack([np.maximum(newest - back, 0) for back in (2, 1, 0)], axis=1))


def test_an_episode_that_is_cut_after_its_rows_were_sent_still_gives_every_item(
    services: Any, configured: Callable[..., Config], tmp_path: Path
):
    environment = {"length": 100, "fault": "nan", "fault_at": 3, "faults_in_a_row": 2}
    config = served(configured(environment, segment_steps=2))  # both good steps are sent before the third one fails
    run = services(config)
    _, running = run.start(actor_role.run, config, "actor")
    assert "observation holds nan" in str(running.exception(DEADLINE_S))
    info = info_of(config, run.run_folder)
    assert info.env_steps == 4
    assert info.tables[0].facts.items == 4
    batch = drawn(config, run.run_folder)
    last = batch.columns["observation"][:, 2] == 1
    assert last.any()
    assert not batch.columns["terminated"].any()
    np.testing.assert_array_equal(batch.columns["next_observation"][last][:, 2], 2)


def test_an_actor_with_another_schema_is_refused_in_one_sentence(services: Any, configured: Callable[..., Config]):
    config = served(configured({"length": 7}))
    run = services(config)
    stop, running = run.start(actor_role.run, config, "actor")
    eventually(lambda: info_of(config, run.run_folder).env_steps > 0)
    stop.set()
    running.result(DEADLINE_S)
    other = served(Config.model_validate({"environment": {"id": "Pendulum-v1"}, "network": {"hidden": [8]}}))
    with pytest.raises(ContractError):
        actor_role.run(run.context(other, "actor"))


def test_a_life_without_the_folder_of_the_former_one_has_other_seeds(
    services: Any, configured: Callable[..., Config], tmp_path: Path
):
    config = served(configured({"length": 3}))
    run = services(config)
    before = 0
    for _ in range(2):
        stop, running = run.start(actor_role.run, config, "actor")
        eventually(lambda least=before + 60: info_of(config, run.run_folder).env_steps >= least)
        stop.set()
        running.result(DEADLINE_S)
        shutil.rmtree(tmp_path / "lives")
        before = info_of(config, run.run_folder).env_steps
    assert len(set(drawn(config, run.run_folder).columns["observation"][:, 0].tolist())) == 2


def test_an_actor_that_is_stopped_before_its_shard_answers_leaves_at_once(roles: Any, configured: Callable[..., Config]):
    config = configured({"length": 3})
    stop, running = roles.start(actor_role.run, config, "actor")
    stop.set()
    running.result(DEADLINE_S)


class Process:
    """`python -m actors` of a run."""

    def __init__(self, config: Config, run_folder: Path) -> None:
        (run_folder / "config.yaml").write_text(dump_config(config))
        self.log = run_folder / "actor.log"
        with open(self.log, "wb") as log:
            self.popen = subprocess.Popen(
                [sys.executable, "-m", "actors", "--run-folder", str(run_folder), "--run-id", "run"],
                stdout=log,
                stderr=log,
                env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
            )

    def children(self) -> list[psutil.Process]:
        return psutil.Process(self.popen.pid).children()


@pytest.fixture
def process(services: Any) -> Iterator[Callable[[Config], Process]]:
    started: list[Process] = []

    def start(config: Config) -> Process:
        run = services(config)
        started.append(Process(config, run.run_folder))
        return started[-1]

    yield start
    for one in started:
        one.popen.kill()
        one.popen.wait()


def test_a_hung_environment_ends_the_process_with_its_own_exit_code_after_the_kill_was_delivered(
    process: Any, configured: Callable[..., Config], tmp_path: Path
):
    environment = {"fault": "hang", "fault_at": 3, "step_timeout_s": 2.5, "killed_reward": -3.0}
    config = served(configured(environment))
    actor = process(config)
    assert actor.popen.wait(DEADLINE_S) == 7
    assert "has not returned from step in slot 0 within 2.5 s" in actor.log.read_text()
    assert "Traceback" not in actor.log.read_text()
    assert info_of(config, tmp_path).env_steps == 3
    assert -3.0 in drawn(config, tmp_path).columns["reward"]


def both_hang(config: Config, run_folder: Path) -> bool:
    """Whether both slots are in their third action: an earlier one may be seen too where the machine is slow."""
    return any((client.started, client.running) == (6, 2) for client in info_of(config, run_folder).clients)


def test_sigterm_during_a_long_action_ends_process_and_slots(process: Any, configured: Callable[..., Config], tmp_path: Path):
    config = served(configured({"length": 50, "fault": "hang", "fault_at": 3}, rollout="asynchronous", environments=2))
    actor = process(config)
    eventually(lambda: both_hang(config, tmp_path))
    slots = actor.children()
    assert len(slots) == 2
    actor.popen.send_signal(signal.SIGTERM)
    assert actor.popen.wait(DEADLINE_S) == 0
    assert not any(slot.is_running() for slot in slots)
    info = info_of(config, tmp_path)
    (client,) = [client for client in info.clients if client.client_id == "actor-0"]
    assert info.env_steps == 4
    assert (client.started, client.ended) == (6, 6)


def test_slots_die_with_their_actor_even_in_the_middle_of_a_step(process: Any, configured: Callable[..., Config], tmp_path: Path):
    config = served(configured({"length": 50, "fault": "hang", "fault_at": 3}, rollout="asynchronous", environments=2))
    actor = process(config)
    eventually(lambda: both_hang(config, tmp_path))
    slots = actor.children()
    actor.popen.kill()
    eventually(lambda: not any(slot.is_running() and slot.status() != psutil.STATUS_ZOMBIE for slot in slots))
