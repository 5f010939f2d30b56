"""The launcher's plain decisions: which parts a run has, when it is over, who gets another life, what a request means."""

import os
from functools import partial
from pathlib import Path

import pytest

from sojourn.config import Config
from sojourn.errors import ConfigError, ContractError, EnvironmentFault, HungError
from sojourn.launcher.control import Asked, ask_to_scale, keep_scale, take_scale_request
from sojourn.launcher.drive import settle_shards
from sojourn.launcher.restarts import (
    LONGEST_WAIT_S,
    MOST_CRASHES,
    MOST_REFUSALS,
    MOST_YOUNG_DEATHS,
    WINDOW_S,
    CrashLoopError,
    Failure,
    GiveUp,
    Lives,
    Restart,
    decide,
    wait_s,
)
from sojourn.launcher.rules import Standing, reason_to_end
from sojourn.launcher.wiring import Part, wire
from sojourn.roles import Address, fixed_address
from sojourn.run_folder import run_config, write_config
from sojourn.shard_list import FinalCounts, ShardList, shard_list, write_shard_list


def found(name: str) -> Address:
    return fixed_address(f"found:{name}")


def config(**sections: object) -> Config:
    return Config.model_validate(sections)


def test_a_run_has_services_learners_actors_of_all_fleets_and_an_evaluator() -> None:
    parts = wire(config(replay={"shards": 2}, actors={"replicas": 2, "fleets": {"slow": {"replicas": 1}}}), found)
    assert [part.name for part in parts] == [
        "replay-0",
        "replay-1",
        "parameters-0",
        "learner-0",
        "actor-0",
        "actor-1",
        "actor-slow-0",
        "evaluator-0",
    ]


def test_clients_are_wired_to_every_shard_and_to_the_parameters() -> None:
    by_name = {part.name: part for part in wire(config(replay={"shards": 2}), found)}
    for name in ("learner-0", "actor-0", "evaluator-0"):
        edges = by_name[name].edges
        assert [address() for address in edges.replay] == ["found:replay-0", "found:replay-1"]
        assert edges.parameters is not None
        assert edges.parameters() == "found:parameters-0"


def test_a_run_with_fewer_shards_than_before_keeps_the_others_without_inserts(tmp_path: Path) -> None:
    for shards, listed in ((1, ShardList(1, 1)), (4, ShardList(4, 4)), (2, ShardList(2, 4))):
        settle_shards(config(replay={"shards": shards}), tmp_path)
        assert shard_list(tmp_path) == listed
    write_shard_list(tmp_path, shard_list(tmp_path).without(2, FinalCounts(env_steps=5)))
    parts = wire(config(replay={"shards": 2}), found, partial(shard_list, tmp_path))
    assert [part.name for part in parts if part.role == "replay"] == ["replay-0", "replay-1", "replay-3"]  # 2 has left
    clients = [part for part in parts if part.role not in ("replay", "parameters")]
    assert {part.edges.shards().taking for part in clients} == {2}
    assert {len(part.edges.shards().addresses) for part in clients} == {4}
    assert {tuple(part.edges.shards().here) for part in clients} == {(0, 1, 3)}


def test_services_that_run_elsewhere_are_not_started() -> None:
    parts = wire(config(replay={"addresses": ["there:1"]}, parameters={"address": "there:2"}), found)
    assert [part.role for part in parts] == ["learner", "actor", "evaluator"]
    assert [address() for address in parts[0].edges.replay] == ["there:1"]


@pytest.mark.parametrize(
    ("standing", "words"),
    [
        (Standing(), None),
        (Standing(env_steps=999, learner_step=49, elapsed_s=119.0, return_mean=-201.0), None),
        (Standing(env_steps=1000), "1,000 environment steps were accepted, run.env_steps=1000"),
        (Standing(learner_step=50), "50 learner steps were made, learners.steps=50"),
        (Standing(elapsed_s=120.0), "run.minutes=2"),
        (Standing(return_mean=-200.0), "reached -200.0, run.target_return=-200"),
    ],
)
def test_a_run_ends_by_the_first_rule_that_holds(standing: Standing, words: str | None) -> None:
    settings = config(run={"env_steps": 1000, "minutes": 2, "target_return": -200}, learners={"steps": 50})
    reason = reason_to_end(settings, standing)
    assert reason is None if words is None else words in (reason or "")


def failures(error: BaseException, *at_s: float) -> list[Failure]:
    return [Failure(error, second) for second in at_s]


def test_an_impossible_configuration_ends_the_run_at_its_first_failure() -> None:
    decision = decide("learner-0", failures(ConfigError("no such device"), 0.0), "log", now_s=0.0)
    assert isinstance(decision, GiveUp)
    assert str(decision.error) == "learner-0: no such device"
    assert decision.error.exit_code == ConfigError.exit_code


@pytest.mark.parametrize("error", [ContractError("another run"), EnvironmentFault("NaN")])
def test_the_same_refusal_again_and_again_ends_the_run_with_its_sentence(error: ContractError | EnvironmentFault) -> None:
    times = [float(second) for second in range(MOST_REFUSALS)]
    assert isinstance(decide("actor-0", failures(error, *times[:-1]), "log", times[-2]), Restart)
    decision = decide("actor-0", failures(error, *times), "log", times[-1])
    assert isinstance(decision, GiveUp)
    assert decision.error.exit_code == error.exit_code


def test_refusals_far_apart_are_forgiven() -> None:
    times = [2 * WINDOW_S * number for number in range(10)]
    assert decide("actor-0", failures(ContractError("another run"), *times), "log", times[-1]) == Restart(0.0)


def test_crashes_are_restarted_ever_later_and_then_given_up() -> None:
    error, waits = RuntimeError("boom"), []
    for number in range(1, MOST_CRASHES):
        decision = decide("replay-0", failures(error, *([0.0] * number)), "log", 0.0)
        assert isinstance(decision, Restart)
        waits.append(decision.after_s)
    assert waits == [0.0, 0.25, 0.5, 1.0, 2.0]
    decision = decide("replay-0", failures(error, *([0.0] * MOST_CRASHES)), "RUN/logs/replay-0.log", 0.0)
    assert isinstance(decision, GiveUp)
    assert "replay-0 failed 6 times in 60 s, last with RuntimeError('boom'); see RUN/logs/replay-0.log" in str(decision.error)


def test_a_hung_environment_always_gets_a_new_process() -> None:
    decision = decide("actor-0", failures(HungError("stuck"), *([0.0] * 50)), "log", 0.0)
    assert decision == Restart(LONGEST_WAIT_S)


def test_lives_that_end_young_wait_longer_until_they_are_a_crash_loop() -> None:
    lives, now_s = Lives().next(100.0), 100.0
    assert lives.wait_s("actor-0", "log") == 0.0  # the first life
    for deaths in range(1, MOST_YOUNG_DEATHS):
        now_s += wait_s(deaths - 1) + 1.0
        lives = lives.next(now_s)
        assert lives.wait_s("actor-0", "log") == wait_s(deaths)
    with pytest.raises(CrashLoopError, match=f"died {MOST_YOUNG_DEATHS} times in a row"):
        lives.next(now_s + LONGEST_WAIT_S + 1.0).wait_s("actor-0", "log")


def test_one_long_life_forgives_all_young_deaths() -> None:
    lives = Lives(young_deaths=8, began_s=100.0).next(100.0 + 60.0)
    assert lives.wait_s("actor-0", "log") == 0.0


def test_a_scale_request_is_taken_once(tmp_path: Path) -> None:
    settings = config(actors={"fleets": {"slow": {}}})
    ask_to_scale(tmp_path, settings, {"actors": 3})
    ask_to_scale(tmp_path, settings, {"actors": 4, "actors.fleets.slow": 2, "replay": 3})  # replaces the first
    assert take_scale_request(tmp_path) == Asked({"": 4, "slow": 2}, shards=3)
    assert not take_scale_request(tmp_path)


def test_a_wanted_number_is_kept_for_the_next_start_and_a_pause_is_not(tmp_path: Path) -> None:
    write_config(tmp_path, config(actors={"replicas": 2, "fleets": {"slow": {}}}))
    keep_scale(tmp_path, Asked({"": 5}))
    keep_scale(tmp_path, Asked({"": 0, "slow": 3}, shards=2))
    kept = run_config(tmp_path)
    assert (kept.actors.replicas, kept.actors.fleets["slow"].replicas, kept.replay.shards) == (5, 3, 2)
    (tmp_path / f".config.yaml.{os.getpid()}").symlink_to("/dev/full")
    keep_scale(tmp_path, Asked({"": 9}))  # a disk without room ends no run
    assert run_config(tmp_path).actors.replicas == 5


@pytest.mark.parametrize(
    ("replicas", "words"), [({"actor": 1}, "this run has actors"), ({"actors": -1}, "got -1"), ({"replay": 0}, "got 0")]
)
def test_an_impossible_scale_request_is_refused(tmp_path: Path, replicas: dict[str, int], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        ask_to_scale(tmp_path, config(), replicas)
    assert not take_scale_request(tmp_path)


def test_part_names_are_those_of_role_contexts() -> None:
    assert [Part("actor", 3).name, Part("actor", 0, "slow").name] == ["actor-3", "actor-slow-0"]
