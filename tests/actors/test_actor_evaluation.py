"""Evaluations are of whole episodes of published versions; results, the best policy and videos are kept in the run folder."""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import imageio_ffmpeg
import numpy as np
import pytest

from actors import evaluation
from actors.best import Record, append_result, keep_best, read_record
from actors.episodes import Evaluation, evaluate
from actors.video import film_episode
from sojourn.algorithms import build_algorithm
from sojourn.config import Config
from sojourn.environments import describe
from sojourn.errors import EnvironmentFault
from sojourn.experience import ParameterSnapshot
from sojourn.parameters import role as parameters_role
from tests.waiting import DEADLINE_S, eventually


@pytest.fixture(autouse=True)
def _time_for_the_last_policy(monkeypatch: pytest.MonkeyPatch) -> None:
    """A starved machine plays and films for longer than SIGTERM leaves."""
    monkeypatch.setattr(evaluation, "FIRST_S", DEADLINE_S)
    monkeypatch.setattr(evaluation, "FINAL_S", DEADLINE_S)


def lines(run_folder: Path) -> list[dict[str, Any]]:
    file = run_folder / "evaluations.jsonl"
    return (
        [json.loads(line) for line in file.read_text().splitlines(keepends=True) if line.endswith("\n")] if file.exists() else []
    )


def with_evaluation(config: Config, **changed: Any) -> Config:
    settings = config.evaluation.model_copy(update={"episodes": 3, "every_env_steps": 100, **changed})
    return config.model_copy(update={"evaluation": settings})


def test_evaluation_plays_whole_episodes_without_exploration_from_seeds_of_its_own():
    config = Config.model_validate({"environment": {"id": "CartPole-v1"}, "algorithm": "dqn", "network": {"hidden": [8]}})
    schema = describe(config.environment, config)
    policy = build_algorithm(config, schema, "cpu", 1).policy
    first = evaluate(policy, schema, config.environment, episodes=20, seed=5)
    fewer = evaluate(policy, schema, config.environment, episodes=3, seed=5)
    other = evaluate(policy, schema, config.environment, episodes=20, seed=6)
    assert first is not None
    assert fewer is not None
    assert other is not None
    assert len(first.returns) == 20
    assert first.returns[:3] == fewer.returns  # whoever plays beside an episode, nothing is drawn in it
    assert first.returns != other.returns
    assert first.lengths == tuple(int(reached) for reached in first.returns)  # CartPole gives 1 a step


def test_mean_and_standard_deviation_are_over_episodes():
    evaluation = Evaluation((1.0, 2.0, 6.0), (10, 20, 30), 0.5)
    assert (evaluation.return_mean, evaluation.length_mean) == (3.0, 20.0)
    assert evaluation.return_std == pytest.approx(np.sqrt(14 / 3))


def test_an_evaluation_that_is_stopped_has_no_result(configured: Callable[..., Config]):
    config = configured({"length": 100_000})
    schema = describe(config.environment, config)
    policy = build_algorithm(config, schema, "cpu", 1).policy
    asked = iter([False, False, True])
    assert evaluate(policy, schema, config.environment, episodes=1, seed=1, stopped=lambda: next(asked)) is None


def test_the_evaluator_evaluates_the_first_version_then_one_per_interval_then_the_last(
    roles: Any, configured: Callable[..., Config]
):
    config = with_evaluation(configured({"length": 5}))
    roles.start(parameters_role.run, config, "parameters")
    stop, running = roles.start(evaluation.run, config, "evaluator")
    roles.publish(config, learner_step=0)
    eventually(lambda: len(lines(roles.run_folder)) == 1)
    roles.publish(config, env_steps=250, seed=2)
    eventually(lambda: len(lines(roles.run_folder)) == 2)
    last = roles.publish(config, env_steps=299, seed=3)  # not due: no hundred has passed since the last
    stop.set()
    running.result(DEADLINE_S)
    results = lines(roles.run_folder)
    assert [(result["policy_version"], result["env_steps"]) for result in results] == [(1, 0), (2, 250), (3, 299)]
    assert all(result["return_mean"] == 15.0 and result["episodes"] == 3 for result in results)
    assert [result["best"] for result in results] == [True, False, False]
    assert (
        hashlib.sha256(last).hexdigest()
        != json.loads((roles.run_folder / "checkpoints/best/metadata.json").read_text())["sha256"]
    )


def test_the_last_policy_is_filmed_also_where_it_was_evaluated_before_the_end(roles: Any, configured: Callable[..., Config]):
    config = with_evaluation(configured({"length": 5}), video=True)
    config = config.model_copy(update={"environment": config.environment.model_copy(update={"id": "Pendulum-v1", "kwargs": {}})})
    roles.start(parameters_role.run, config, "parameters")
    stop, running = roles.start(evaluation.run, config, "evaluator")
    roles.publish(config, env_steps=50)
    eventually(lambda: len(lines(roles.run_folder)) == 1)
    stop.set()
    running.result(DEADLINE_S)
    assert [path.name for path in (roles.run_folder / "videos").iterdir()] == ["env-steps-000000000050.mp4"]


def test_the_best_policy_is_kept_whole_and_replaced_by_a_better_one(tmp_path: Path):
    for version, reached in ((1, 5.0), (2, 9.0)):
        snapshot = ParameterSnapshot(version, 10 * version, 100 * version, "sac", b"tensors %d" % version)
        keep_best(tmp_path, "run", snapshot, Evaluation((reached,), (1,), 0.1))
    best = tmp_path / "checkpoints" / "best"
    metadata = json.loads((best / "metadata.json").read_text())
    assert (best / "policy.safetensors").read_bytes() == b"tensors 2"
    assert (metadata["policy_version"], metadata["return_mean"], metadata["run_id"]) == (2, 9.0, "run")
    assert metadata["sha256"] == hashlib.sha256(b"tensors 2").hexdigest()
    assert sorted(path.name for path in (tmp_path / "checkpoints").iterdir()) == ["best", "best-2"]


def test_a_restarted_evaluator_goes_on_where_the_results_end_even_after_a_torn_line(tmp_path: Path):
    assert read_record(tmp_path) == Record()
    for version, reached in ((1, 5.0), (2, 9.0), (3, 7.0)):
        snapshot = ParameterSnapshot(version, 0, 100 * version, "sac", b"")
        append_result(tmp_path, snapshot, Evaluation((reached,), (1,), 0.1), seed=1, best=False)
    file = tmp_path / "evaluations.jsonl"
    file.write_bytes(file.read_bytes()[:-20])
    assert read_record(tmp_path) == Record(evaluations=2, env_steps=200, policy_version=2, best=9.0)
    append_result(tmp_path, ParameterSnapshot(4, 0, 400, "sac", b""), Evaluation((1.0,), (1,), 0.1), seed=1, best=False)
    assert read_record(tmp_path) == Record(evaluations=3, env_steps=400, policy_version=4, best=9.0)


def test_an_environment_that_fails_costs_one_evaluation_not_the_evaluator(
    roles: Any, configured: Callable[..., Config], tmp_path: Path
):
    config = with_evaluation(configured({"length": 5, "fault": "raise", "once": str(tmp_path / "came")}))
    roles.start(parameters_role.run, config, "parameters")
    roles.start(evaluation.run, config, "evaluator")
    roles.publish(config)
    eventually((tmp_path / "came").exists)
    roles.publish(config, env_steps=100)
    (result,) = eventually(lambda: lines(roles.run_folder))
    assert result["policy_version"] == 2


def test_the_evaluator_leaves_an_environment_that_does_not_return(
    roles: Any, configured: Callable[..., Config], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(evaluation, "FINAL_S", 0.5)
    config = with_evaluation(configured({"length": 5, "fault": "hang", "once": str(tmp_path / "came")}))
    roles.start(parameters_role.run, config, "parameters")
    stop, running = roles.start(evaluation.run, config, "evaluator")
    roles.publish(config)
    eventually((tmp_path / "came").exists)
    stop.set()
    running.result(DEADLINE_S)
    assert lines(roles.run_folder) == []


def test_a_film_has_a_frame_per_step_and_one_before(configured: Callable[..., Config], tmp_path: Path):
    config = configured({"length": 12})
    schema = describe(config.environment, config)
    policy = build_algorithm(config, schema, "cpu", 1).policy
    film_episode(policy, schema, config.environment, tmp_path / "videos" / "a.mp4", seed=1, stopped=lambda: False)
    frames, seconds = imageio_ffmpeg.count_frames_and_secs(str(tmp_path / "videos" / "a.mp4"))
    assert (frames, seconds) == (13, pytest.approx(1.3))
    assert [path.name for path in (tmp_path / "videos").iterdir()] == ["a.mp4"]


def test_where_nothing_can_be_rendered_there_is_one_sentence_and_no_file(tmp_path: Path):
    config = Config.model_validate({"environment": {"id": "acting_environments:Blind"}, "network": {"hidden": [8]}})
    schema = describe(config.environment, config)
    policy = build_algorithm(config, schema, "cpu", 1).policy
    with pytest.raises(EnvironmentFault, match="no video of"):
        film_episode(policy, schema, config.environment, tmp_path / "a.mp4", seed=1, stopped=lambda: False)
    assert list(tmp_path.iterdir()) == []


def test_an_evaluation_that_cannot_be_written_is_given_up_and_the_next_one_is_made(
    roles: Any, configured: Callable[..., Config], caplog: pytest.LogCaptureFixture
):
    config = with_evaluation(configured({"length": 5}))
    roles.start(parameters_role.run, config, "parameters")
    stop, running = roles.start(evaluation.run, config, "evaluator")
    roles.publish(config, learner_step=0)
    eventually(lambda: len(lines(roles.run_folder)) == 1)
    results, aside = roles.run_folder / "evaluations.jsonl", roles.run_folder / "aside"
    results.rename(aside)
    results.mkdir()  # whatever is written there fails
    roles.publish(config, env_steps=250, seed=2)
    eventually(lambda: "evaluation 1 of policy version 2 was given up" in caplog.text)
    results.rmdir()
    aside.rename(results)
    roles.publish(config, env_steps=400, seed=3)
    eventually(lambda: len(lines(roles.run_folder)) == 2)
    stop.set()
    running.result(DEADLINE_S)
    assert [result["policy_version"] for result in lines(roles.run_folder)] == [1, 3]
