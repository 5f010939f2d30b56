"""Does the monitor see what roles say over HTTP, and does what it knew survive a role that is away?"""

import json
import math
import os
import socket
import threading
from dataclasses import replace

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from sojourn.monitor import DurationRecord, Evaluation, Monitor, Progress, read_durations, read_progress, scrape
from sojourn.monitor.reckoning import Reckoner
from sojourn.monitor.recorder import Recorder
from sojourn.monitor.scrape import Reading, Sample, Scraper, announcements
from sojourn.monitor.sums import quantile
from sojourn.roles import Announcement
from sojourn.shard_list import FinalCounts, ShardList, TableCounts, write_shard_list


def announce(folder, name, metrics):
    (folder / "roles").mkdir(exist_ok=True)
    said = {"name": name, "pid": os.getpid(), "host": os.uname().nodename, "address": "", "metrics": metrics}
    (folder / "roles" / f"{name}.json").write_text(json.dumps(said))


def test_a_shard_that_has_left_the_run_counts_on_also_in_the_next_launch(tmp_path, start):
    """Its counts stand in the run's list; nobody takes it for a role that is down."""
    replay = start(tmp_path, "replay-0")
    replay.gauge("sojourn_replay_env_steps").set(500)
    replay.gauge("sojourn_replay_actions_started").set(600)
    replay.gauge("sojourn_replay_actions_ended").labels(kind="failed").set(3)
    table = TableCounts(inserted_items=9, sampled_items=8, evicted_items=9)
    counts = FinalCounts(env_steps=70, episodes=2, started=80, ended={"failed": 1}, tables={"replay": table})
    write_shard_list(tmp_path, ShardList(1, 2).without(1, counts))
    with Monitor(tmp_path) as monitor:
        record = monitor.read()
        facts = monitor.durations(record).facts
        for _ in range(2):  # it comes back, and once more after it has left
            write_shard_list(tmp_path, ShardList(2, 2))
            start(tmp_path, "replay-1").gauge("sojourn_replay_env_steps").set(75)
            back = monitor.read()
            write_shard_list(tmp_path, ShardList(1, 2).without(1, counts))
            (tmp_path / "roles" / "replay-1.json").unlink()
            monitor.read()
    assert (record.env_steps, record.episodes) == (570, 2)
    assert (record.roles, record.restarts) == ({"replay-0": True}, {})
    assert (back.env_steps, back.roles, back.restarts) == (575, {"replay-0": True, "replay-1": True}, {})
    assert (facts["started"], facts["ended_failed"], facts["evicted_items"]) == (680, 4, 9)


def test_one_reading_joins_what_every_role_says(tmp_path, start):
    learner = start(tmp_path, "learner-0")
    replay, evaluator = start(tmp_path, "replay-0"), start(tmp_path, "evaluator-0")
    actors = [start(tmp_path, "actor-0"), start(tmp_path, "actor-1")]
    replay.gauge("sojourn_replay_env_steps").set(500)
    replay.gauge("sojourn_replay_items").labels(table="replay").set(400)
    replay.gauge("sojourn_replay_items").labels(table="other").set(7)
    replay.gauge("sojourn_replay_learner_step").set(39)
    learner.gauge("sojourn_learner_step").set(40)
    learner.gauge("sojourn_learner_critic_loss").set(0.5)
    learner.gauge("sojourn_learner_scalar").labels(name="my_term").set(2.0)
    for lag in (0, 1, 5):
        learner.histogram("sojourn_learner_policy_lag_versions").observe(lag)
    for actor, mean, episodes in zip(actors, (-10.0, -30.0), (3, 1), strict=True):
        actor.gauge("sojourn_actor_return_mean").set(mean)
        actor.counter("sojourn_actor_episodes").inc(episodes)
    for _ in range(99):
        actors[0].histogram("sojourn_actor_action_duration_seconds").observe(0.02)
    actors[0].histogram("sojourn_actor_action_duration_seconds").observe(20.0)
    evaluator.counter("sojourn_evaluator_evaluations").inc(2)
    evaluator.gauge("sojourn_evaluator_return_mean").set(-5.0)
    evaluator.gauge("sojourn_evaluator_return_best").set(-4.0)
    evaluator.gauge("sojourn_evaluator_env_steps").set(450)

    with Monitor(tmp_path) as monitor:
        record = monitor.read()

    assert (record.env_steps, record.replay_items, record.learner_step) == (500, 400, 40)
    assert record.policy_lag == 2.0
    assert record.lag_counts["1"] == 2
    assert (record.learner["critic_loss"], record.learner["my_term"]) == (0.5, 2.0)
    assert "step" not in record.learner
    assert record.training_return == -15.0  # episodes count alike: (3 * -10 + 1 * -30) / 4
    assert record.evaluation == Evaluation(2, 0, 450, -5.0, 0.0, -4.0)
    assert 0.01 <= record.duration_p50_s <= 0.1
    assert record.duration_counts["inf"] == 100
    assert record.roles == dict.fromkeys(("actor-0", "actor-1", "evaluator-0", "learner-0", "replay-0"), True)
    assert list(record.roles) == ["actor-0", "actor-1", "evaluator-0", "learner-0", "replay-0"]


def test_a_role_that_does_not_answer_is_down_and_the_rest_is_read(tmp_path, start, monkeypatch):
    monkeypatch.setattr(scrape, "TIMEOUT_S", 3.0)  # one of them uses it up
    start(tmp_path, "replay-0").gauge("sojourn_replay_env_steps").set(3)
    with socket.socket() as deaf, socket.create_server(("127.0.0.1", 0)) as silent, Monitor(tmp_path) as monitor:
        deaf.bind(("127.0.0.1", 0))  # a port that nobody else gets, and on which nobody listens
        announce(tmp_path, "actor-0", f"127.0.0.1:{deaf.getsockname()[1]}")
        announce(tmp_path, "learner-0", f"127.0.0.1:{silent.getsockname()[1]}")
        record = monitor.read()
    assert record.roles == {"actor-0": False, "learner-0": False, "replay-0": True}
    assert record.env_steps == 3


def test_a_port_taken_over_by_a_later_role_counts_once(tmp_path, start):
    start(tmp_path, "actor-1").gauge("sojourn_actor_running_actions").set(2)
    later = next(announcements(tmp_path / "roles"))
    announce(tmp_path, "actor-0", later.metrics)
    os.utime(tmp_path / "roles" / "actor-0.json", ns=(0, 0))
    scraper = Scraper(tmp_path)
    readings = scraper.read()
    scraper.close()
    assert readings["actor-0"].samples == ()
    assert any(sample.name == "sojourn_actor_running_actions" for sample in readings["actor-1"].samples)


def test_half_written_announcements_are_left_out(tmp_path):
    announce(tmp_path, "replay-0", "")
    (tmp_path / "roles" / "actor-0.json").write_text('{"name": "act')
    assert [said.name for said in announcements(tmp_path / "roles")] == ["replay-0"]


def reading(name, pid=1, up=True, **series):
    samples = tuple(Sample(f"sojourn_{series_name}", {}, value) for series_name, value in series.items())
    return {name: Reading(Announcement(name, pid, "host"), up, samples if up else ())}


def test_rates_are_differences_over_at_most_ten_seconds():
    reckoner = Reckoner("replay")
    rates = [
        reckoner.record(reading("replay-0", replay_env_steps=steps), 0.0, clock_s).env_steps_per_s
        for clock_s, steps in ((0.0, 0), (1.0, 100), (10.0, 1_000), (20.0, 1_500))
    ]
    assert rates == pytest.approx([0.0, 100.0, 100.0, 50.0])


def test_a_restarted_service_neither_takes_back_steps_nor_shows_a_negative_rate():
    reckoner = Reckoner("replay")
    record = None
    for clock_s, said in enumerate(
        (
            reading("replay-0", replay_env_steps=100),
            reading("replay-0", up=False),
            reading("replay-0", pid=2, replay_env_steps=0),
            {},
        )
    ):
        record = reckoner.record(said, 0.0, float(clock_s))
        assert record.env_steps == 100
        assert record.env_steps_per_s == 0.0
    assert record is not None
    assert record.roles == {}
    after = reckoner.record(reading("replay-0", pid=2, replay_env_steps=130), 0.0, 4.0)
    assert (after.env_steps, after.env_steps_per_s, after.restarts) == (130, 7.5, {"replay-0": 1})


def test_the_latest_evaluation_stands_while_its_evaluator_starts_anew():
    reckoner = Reckoner("replay")
    said = {"evaluator_evaluations_total": 2.0, "evaluator_return_mean": -5.0}
    before = reckoner.record(reading("evaluator-0", **said), 0.0, 0.0).evaluation
    assert before is not None
    after = reckoner.record(reading("evaluator-0", pid=2, evaluator_evaluations_total=0.0, evaluator_return_mean=0.0), 0.0, 1.0)
    assert after.evaluation == before


def test_a_role_that_comes_back_with_its_old_process_id_still_counts_as_restarted():
    reckoner = Reckoner("replay")
    for began in (5.0, 5.0, 9.0):
        record = reckoner.record(reading("actor-0", up_since_seconds=began), 0.0, began)
    assert record.restarts == {"actor-0": 1}


def test_durations_of_lives_that_ended_still_count(tmp_path, start):
    first, second = start(tmp_path, "actor-0"), start(tmp_path, "actor-1")
    first.histogram("sojourn_actor_action_duration_seconds").observe(0.5)
    second.histogram("sojourn_actor_action_duration_seconds").observe(0.5)
    with Monitor(tmp_path) as monitor:
        assert monitor.read().duration_counts["inf"] == 2
        (tmp_path / "roles" / "actor-1.json").unlink()
        start(tmp_path, "actor-0").histogram("sojourn_actor_action_duration_seconds").observe(0.5)
        assert monitor.read().duration_counts["inf"] == 3


@pytest.mark.parametrize(
    ("counts", "share", "value"),
    [
        ({}, 0.5, None),
        ({1.0: 0, math.inf: 0}, 0.5, None),
        ({1.0: 10, math.inf: 10}, 0.5, 0.5),  # the first bucket is even
        ({1.0: 0, 100.0: 10, math.inf: 10}, 0.5, 10.0),  # later ones are even in the logarithm
        ({1.0: 0, 10.0: 5, 100.0: 10, math.inf: 10}, 0.5, 10.0),
        ({1.0: 1, math.inf: 10}, 0.99, 1.0),  # beyond the last bound nobody knows
    ],
)
def test_quantiles_are_interpolated_within_their_bucket(counts, share, value):
    assert quantile(counts, share) == (None if value is None else pytest.approx(value))


def test_records_are_kept_a_thousandth_of_the_run_apart_and_at_every_evaluation(tmp_path):
    kept = []
    evaluation = Evaluation(1, 1, 1, 0.0, 0.0, 0.0)
    with Recorder(tmp_path) as recorder:
        for elapsed_s in (0.0, 1.0, 2.0, 5_000.0, 5_001.0, 5_006.0):
            kept.append(recorder.keep(Progress(elapsed_s, elapsed_s)))
        kept.append(recorder.keep(Progress(5_007.0, 5_007.0, evaluation=evaluation)))
    assert kept == [True, True, True, True, False, True, True]
    assert read_progress(tmp_path)[-1].evaluation == evaluation


def test_records_read_back_and_a_half_written_line_is_left_out(tmp_path):
    record = Progress(1.5, 2.5, env_steps=7, training_return=-1.25, roles={"actor-0": True}, restarts={"actor-0": 2})
    with Recorder(tmp_path) as recorder:
        recorder.keep(record)
    with (tmp_path / "progress.jsonl").open("a") as file:
        file.write('{"time_s": 3.0, "elap')
    assert read_progress(tmp_path) == [record]
    with Recorder(tmp_path) as recorder:  # what is recorded next does not become part of that line
        recorder.keep(record)
    assert read_progress(tmp_path) == [record, record]
    assert read_progress(tmp_path / "nowhere") == []


def test_tensorboard_has_the_curves_over_environment_steps(tmp_path):
    with Recorder(tmp_path) as recorder:
        recorder.keep(Progress(1.0, 1.0, env_steps=10, training_return=-3.0, learner={"critic_loss": 0.5}))
        recorder.keep(replace(Progress(2.0, 2.0, env_steps=20), evaluation=Evaluation(1, 1, 15, -2.0, 0.1, -2.0)))
    events = EventAccumulator(str(tmp_path / "tb")).Reload()
    assert {"return/training", "return/evaluation", "learner/critic_loss"} <= set(events.Tags()["tensors"])
    assert [event.step for event in events.Tensors("throughput/env_steps_per_s")] == [10, 20]


def test_the_monitor_records_and_calls_back_until_it_is_stopped(tmp_path, start):
    start(tmp_path, "replay-0").gauge("sojourn_replay_env_steps").set(3)
    stop, seen = threading.Event(), []

    def on_progress(record):
        seen.append(record)
        stop.set()

    with Monitor(tmp_path) as monitor:
        monitor.run(stop, on_progress)
    assert [record.env_steps for record in seen] == [3]
    assert [record.env_steps for record in read_progress(tmp_path)] == [3]


def test_the_learner_step_stands_while_the_learner_is_away_and_may_fall_back_to_its_checkpoint():
    reckoner = Reckoner("replay")
    steps = [
        reckoner.record({**reading("replay-0", replay_learner_step=told), **learner}, 0.0, float(second)).learner_step
        for second, (told, learner) in enumerate(
            (
                (90, reading("learner-0", learner_step=100)),
                (90, reading("learner-0", up=False)),
                (95, {}),
                (95, reading("learner-0", pid=2, learner_step=0)),
                (95, reading("learner-0", pid=2, learner_step=60)),
            )
        )
    ]
    assert steps == [100, 100, 100, 100, 60]


def test_a_run_that_goes_on_counts_from_what_was_recorded_last(tmp_path, start):
    evaluation = Evaluation(3, 6, 400, -7.0, 0.5, -4.0)
    known = Progress(1.0, 60.0, env_steps=500, episodes=5, learner_step=90, policy_version=7, evaluation=evaluation)
    with Recorder(tmp_path) as recorder:
        recorder.keep(known)
    with Monitor(tmp_path) as monitor:
        first = monitor.read()  # nobody answers yet
        service = start(tmp_path, "replay-0")
        service.gauge("sojourn_replay_env_steps").set(0)  # not read back yet
        second = monitor.read()
        service.gauge("sojourn_replay_env_steps").set(520)
        third = monitor.read()
    for record in (first, second):
        assert (record.env_steps, record.episodes, record.learner_step, record.policy_version) == (500, 5, 90, 7)
        assert record.env_steps_per_s == 0.0
        assert record.evaluation == evaluation
    assert third.env_steps == 520
    assert third.elapsed_s < known.elapsed_s  # the launch's own age


def test_sums_by_duration_are_over_shards_and_over_all_lives_of_a_learner(tmp_path, start):
    replays = [start(tmp_path, "replay-0"), start(tmp_path, "replay-1")]
    for replay in replays:
        replay.gauge("sojourn_replay_expected_actions").labels("20").set(50.0)
        replay.gauge("sojourn_replay_expected_labels").labels("task", "3").set(5.0)
        replay.gauge("sojourn_replay_actions_ended").labels("crashed").set(2)
    replays[0].gauge("sojourn_replay_items").labels(table="replay").set(7)
    with Monitor(tmp_path) as monitor:
        for life in range(2):
            learner = start(tmp_path, "learner-0")
            learner.gauge("sojourn_up_since_seconds").set(life + 1.0)
            learner.counter("sojourn_learner_bucket_weighted").labels("20").inc(10.0)
            learner.gauge("sojourn_learner_bucket_reward").labels("20").set(-3.0)
            learner.gauge("sojourn_learner_score_leak").set(4.0 + life)
            progress = monitor.read()
        record = monitor.durations(progress)
    assert record.buckets["expected"] == {"20": 100.0}
    assert record.labels["expected"] == {"task": {"3": 10.0}}
    assert record.buckets["weighted"] == {"20": 20.0}
    assert record.buckets["reward"] == {"20": -6.0}
    assert (record.facts["score_leak"], record.facts["ended_crashed"], record.facts["items"]) == (5.0, 4.0, 7.0)
    assert "bucket_reward" not in progress.learner


def test_a_resumed_runs_sums_by_duration_cover_its_earlier_launches(tmp_path, start):
    stop = threading.Event()
    stop.set()
    for launch in range(2):
        replay, learner = start(tmp_path, "replay-0"), start(tmp_path, "learner-0")
        learner.gauge("sojourn_up_since_seconds").set(launch + 1.0)
        replay.gauge("sojourn_replay_actions_started").set(30.0 + 20.0 * launch)  # the service itself remembers
        replay.gauge("sojourn_replay_expected_labels").labels("task", "3").set(5.0)
        learner.counter("sojourn_learner_bucket_weighted").labels(("1", "20")[launch]).inc(10.0)
        learner.counter("sojourn_learner_bucket_weighted").labels("5").inc(1.0)
        learner.counter("sojourn_learner_sampled_items").inc(256.0)
        with Monitor(tmp_path) as monitor:
            monitor.run(stop, None)

    record = read_durations(tmp_path)[-1]

    assert record.buckets["weighted"] == {"1": 10.0, "5": 2.0, "20": 10.0}
    assert record.labels["expected"] == {"task": {"3": 10.0}}
    assert (record.facts["sampled_items"], record.facts["started"]) == (512.0, 50.0)


def test_durations_are_recorded_ever_further_apart_and_at_the_end_and_read_back(tmp_path, start):
    start(tmp_path, "replay-0").gauge("sojourn_replay_expected_actions").labels("1").set(3.0)
    with Recorder(tmp_path) as recorder:
        kept = []
        for second in range(2_000):
            record = Progress(0.0, float(second))
            if recorder.wants_durations(record):
                recorder.keep_durations(DurationRecord(0.0, float(second)))
                kept.append(second)
    assert kept[:3] == [5, 10, 15]
    assert 20 < kept[-1] - kept[-2] <= 40
    stop = threading.Event()
    stop.set()
    with Monitor(tmp_path) as monitor:
        monitor.run(stop, None)
    assert [record.elapsed_s for record in read_durations(tmp_path)[:2]] == [5.0, 10.0]
    assert read_durations(tmp_path)[-1].buckets["expected"] == {"1": 3.0}
