"""Which verdict and which change follow from what was counted, in every regime."""

import pytest

from sojourn.diagnosis import diagnose, told
from sojourn.diagnosis.doctor import Verdict

QUICK = {"1": 700.0, "20": 300.0}  # of the actions learned from; starts are half and half
HALF = {"1": 500.0, "20": 500.0}


@pytest.mark.parametrize(
    ("table", "collected", "weighted", "verdict"),
    [
        ({}, None, None, Verdict.CLEAN),
        ({"sampler": "prioritised"}, None, None, Verdict.CLEAN),
        ({"max_staleness": 1, "on_stale": "drop"}, QUICK, QUICK, Verdict.BIASED),
        ({"max_staleness": 1, "on_stale": "drop"}, QUICK, HALF, Verdict.REPAIRED),
        ({"duration": {"weight": "linear"}}, None, {"1": 48.0, "20": 952.0}, Verdict.BIASED),
    ],
)
def test_the_verdict_follows_the_gap_after_weighting(make_record, make_config, table, collected, weighted, verdict):
    assert diagnose(make_record(collected, weighted), make_config(**table)).verdict is verdict


@pytest.mark.parametrize(
    ("table", "facts", "regime", "change"),
    [
        ({"max_staleness": 1, "on_stale": "drop"}, {}, "staleness drop", "tables.replay.on_stale=none"),
        (
            {"max_staleness": 1, "on_stale": "drop", "duration": {"weight": "none"}},
            {},
            "staleness drop",
            "tables.replay.duration.weight=inclusion",
        ),
        ({"max_staleness": 1, "on_stale": "drop"}, {}, "staleness drop", "tables.replay.max_staleness higher"),
        (
            {"sampler": "uniform", "remover": "start_age", "horizon_s": 60.0, "duration": {"weight": "none"}},
            {},
            "start age",
            "tables.replay.duration.weight=inclusion",
        ),
        (
            {"sampler": "uniform", "remover": "version_age", "horizon_versions": 4},
            {},
            "version age",
            "tables.replay.remover=fifo",
        ),
        ({"sampler": "prioritised", "remover": "lowest_priority"}, {}, "lowest priority", "tables.replay.remover=fifo"),
        ({}, {"windows": 20.0, "window_dispersion": 0.9}, "windows", "tables.replay.duration.rule=window"),
        ({}, {"windows": 20.0, "window_dispersion": 0.001}, "first of many", "carry unfinished actions over"),
        ({}, {"ended_crashed": 900.0}, "censoring", "tables.replay.duration.rule=censoring"),
        ({}, {"ended_failed": 900.0, "ended_crashed": 100.0}, "failures", "return a failed attempt as a result"),
        ({}, {}, "FIFO", "restarts of roles"),
    ],
)
def test_what_is_lost_names_its_regime_and_a_setting(make_record, make_config, table, facts, regime, change):
    diagnosis = diagnose(make_record(QUICK, **facts), make_config(**table))
    assert diagnosis.verdict is Verdict.BIASED
    assert diagnosis.regime.name == regime
    assert any(change in one for one in diagnosis.changes)


@pytest.mark.parametrize(
    ("duration", "change"),
    [
        ({"weight": "linear"}, "tables.replay.duration.weight=inclusion, which is 1 where nothing is lost"),
        ({"rule": "window"}, "tables.replay.duration.rule=auto"),
    ],
)
def test_a_bias_that_weights_make_is_laid_at_their_door(make_record, make_config, duration, change):
    diagnosis = diagnose(make_record(None, {"1": 48.0, "20": 952.0}), make_config(duration=duration))
    assert diagnosis.because.startswith("too many slow actions, durations started and learned from differ by 0.452")
    assert any(one.startswith(change) for one in diagnosis.changes)


def test_actions_that_the_policy_did_not_choose_are_an_alarm_of_their_own(make_record, make_config):
    """A fixed time share for every action: starts and results agree, and neither follows the policy."""
    diagnosis = diagnose(make_record(score_leak=300.0, action_gap=0.4), make_config())
    assert diagnosis.verdict is Verdict.BIASED
    assert "differ from what the policy chose by 0.400" in diagnosis.because
    assert diagnosis.changes[0].startswith("tables.replay.duration.weight=linear")
    assert diagnose(make_record(score_leak=8.0, action_gap=0.02), make_config()).verdict is Verdict.CLEAN
    assert diagnose(make_record(score_leak=50.0, action_gap=0.004), make_config()).verdict is Verdict.CLEAN


def test_a_shift_of_tasks_is_a_gap_of_states(make_record, make_config):
    record = make_record()
    record.labels["expected"]["task"] = {"0": 4_000.0, "1": 4_000.0}
    for name in ("collected", "weighted"):
        record.labels[name]["task"] = {"0": 6_000.0, "1": 2_000.0}
    diagnosis = diagnose(record, make_config())
    assert diagnosis.verdict is Verdict.BIASED
    assert "tasks started and learned from differ by 0.250" in diagnosis.because
    assert any(line.startswith("states     gap 0.250") for line in told(diagnosis))


def test_labels_of_lost_actions_are_not_known_and_make_no_gap(make_record, make_config):
    """Weighting by censoring rightly moves the shares of labels away from those of the rows that arrived."""
    crashed = make_record(QUICK, HALF, ended_crashed=1_600.0)
    crashed.labels["expected"]["action"] = {"0": 5_000.0, "1": 3_000.0}
    crashed.labels["collected"]["action"] = {"0": 5_000.0, "1": 3_000.0}
    crashed.labels["weighted"]["action"] = {"0": 4_000.0, "1": 4_000.0}
    assert diagnose(crashed, make_config(duration={"rule": "censoring"})).verdict is Verdict.REPAIRED


def test_too_little_is_said_to_be_too_little(make_record, make_config):
    diagnosis = diagnose(make_record(QUICK, scale=0.15), make_config())
    assert diagnosis.verdict is Verdict.UNKNOWN
    assert diagnosis.changes == ()
    assert "200 of each are needed" in diagnosis.because


def test_what_is_in_flight_or_waits_is_no_bias(make_record, make_config):
    assert diagnose(make_record({"1": 520.0, "20": 480.0}, items=200.0), make_config()).verdict is Verdict.CLEAN
    assert diagnose(make_record({"1": 520.0, "20": 480.0}, scale=40.0), make_config()).verdict is Verdict.BIASED


def test_remarks_name_what_no_weight_brings_back_what_is_cut_killed_and_discounted(make_record, make_config):
    record = make_record({"1": 1000.0}, weights_capped=400.0, ended_killed=80.0, weight_exponent=0.8)
    config = make_config(max_staleness=1, on_stale="drop")
    floored = config.model_copy(update={"learners": config.learners.model_copy(update={"ess_floor": 0.3})})
    said = " ".join(diagnose(record, floored).remarks)
    assert "50.0% of the starts have durations of which none was ever learned from" in said
    assert "5.0% of the weights are cut at tables.replay.duration.cap" in said
    assert "to the power 0.80" in said
    assert "1.0% of the starts were killed at environment.step_timeout_s=120 and delivered with killed_reward=0" in said
    record = make_record()
    record.buckets["clipped_ratio"] = {"1": 3_900.0, "20": 2_000.0}
    said = " ".join(diagnose(record, make_config()).remarks)
    assert "min(1, ratio) is 0.97 to 1 s and 0.50 to 20 s" in said


def test_what_cannot_be_known_yet_is_not_said_to_be_missing(make_record, make_config):
    """A run that has learned from nothing may have tasks, and its algorithm a policy gradient."""
    record = make_record(scale=0.0, started=0.0)
    lines = list(told(diagnose(record, make_config())))
    assert [line for line in lines if line.startswith(("states", "actions"))] == [
        "states     unknown: nothing was learned from yet",
        "actions    unknown: nothing was learned from yet",
    ]


def test_a_gap_is_told_in_rewards_too(make_record, make_config):
    record = make_record(QUICK, HALF)
    record.buckets["reward"] = {"1": 0.0, "20": 1.0 * record.buckets["measured"]["20"]}
    said = diagnose(record, make_config(max_staleness=1, on_stale="drop")).remarks[0]
    assert said == "the mean reward of an action looks like 0.3 unweighted and 0.5 weighted; over what was started it is 0.5"
    assert not any("mean reward" in one for one in diagnose(make_record(), make_config()).remarks)


def test_several_pools_are_told_apart_by_a_weight_only(make_record, make_config):
    config = make_config()
    pools = config.model_copy(
        update={
            "actors": config.actors.model_copy(update={"fleets": {"slow": config.actors.model_copy(update={"pool": "slow"})}})
        }
    )
    said = " ".join(diagnose(make_record(), pools).remarks)
    assert "actors work in 2 pools" in said


@pytest.mark.parametrize(
    ("came", "slow_undrawn", "told_of"), [(1_000, 520, True), (1_000, 420, False), (100, 90, False), (100_000, 40_500, False)]
)
def test_a_class_that_loses_more_than_another_is_told(make_record, make_config, came, slow_undrawn, told_of):
    """Beyond chance, of some consequence, and of enough items."""
    record = make_record()
    for speed_class, undrawn in (("quick", 0.4 * came), ("slow", slow_undrawn)):
        record.classes.append({"pool": "a", "speed_class": speed_class, "came": came, "lost": 0.9 * came, "undrawn": undrawn})
    diagnosis = diagnose(record, make_config())

    said = [remark for remark in diagnosis.remarks if "before they were ever drawn" in remark]
    assert len(said) == told_of
    if told_of:
        assert (
            "actors a slow were lost before they were ever drawn more often than those of a quick: 52.0% against 40.0%" in said[0]
        )
    assert any(line.split() == ["a", "slow", f"{came:,}", "90.0%", f"{slow_undrawn / came:.1%}"] for line in told(diagnosis))


def test_the_words_hold_the_figures(make_record, make_config):
    record = make_record(QUICK, score_leak=120.0, action_gap=0.2, oldest_action_s=3.0)
    lines = list(told(diagnose(record, make_config(max_staleness=2, on_stale="drop", duration={"weight": "none"}))))
    text = "\n".join(lines)
    assert lines[0] == "regime     staleness drop: results more than 2 versions old are dropped, slow actions first"
    assert lines[1].startswith("verdict    BIASED: too many quick actions, durations started and learned from differ by 0.200")
    assert "starts     8,000   16 in flight (oldest 3 s)   censored 0.2%, of which lost 0.0%   killed 0.0%" in text
    assert "gap 0.200 given the state   score leak 120.0" in text
    assert "to 20 s          50.0%     30.0%     30.0%         2         1       0.5       0.1" in text
