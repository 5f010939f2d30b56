"""What a learner measures: gauges once a second, skipped updates told once, and when it gives up."""

import math

import pytest
import torch

from learners.measures import BROKEN_DOWN_S, LearnerMeasures
from sojourn.algorithms import Update
from sojourn.errors import ConfigError
from sojourn.metrics import Metrics


@pytest.fixture
def metrics() -> Metrics:
    return Metrics("learner")


def update(skipped: float = 0.0, **scalars: float) -> Update:
    measured = {"skipped": torch.tensor(skipped), **{name: torch.tensor(value) for name, value in scalars.items()}}
    return Update(torch.ones(4), measured)


def look(measures: LearnerMeasures, now_s: float) -> None:
    measures.look(now_s, learner_step=7, env_steps=70, policy_version=5)


def test_gauges_are_means_over_the_time_between_two_looks(metrics, make_batch):
    measures = LearnerMeasures(metrics)
    value = metrics.registry.get_sample_value
    assert math.isnan(value("sojourn_learner_critic_loss"))
    for loss in (1.0, 3.0):
        measures.updated(update(critic_loss=loss, surprise=loss), make_batch(), 0.01, newest_version=5)
    look(measures, 100.0)
    assert value("sojourn_learner_critic_loss") == 2.0
    assert value("sojourn_learner_scalar", {"name": "surprise"}) == 2.0
    assert value("sojourn_learner_updates_total") == 2
    assert value("sojourn_learner_step") == 7
    assert value("sojourn_learner_policy_lag_versions_sum") == 2 * (5 - 3)
    assert not measures.due(100.9)
    assert measures.due(101.0)


def test_the_lag_is_never_negative(metrics, make_batch):
    LearnerMeasures(metrics).updated(update(), make_batch(), 0.01, newest_version=2)  # the batch is of version 3
    assert metrics.registry.get_sample_value("sojourn_learner_policy_lag_versions_sum") == 0


def test_skipped_updates_are_counted_and_told_once(metrics, make_batch, caplog):
    measures = LearnerMeasures(metrics)
    for now_s in (1.0, 2.0):
        measures.updated(update(1.0), make_batch(), 0.01, 5)
        measures.updated(update(0.0), make_batch(), 0.01, 5)
        look(measures, now_s)
    assert metrics.registry.get_sample_value("sojourn_learner_skipped_updates_total") == 2
    assert metrics.registry.get_sample_value("sojourn_learner_skipped") == 0.5
    assert caplog.text.count("1 of 2 updates before learner step 7 were not applied") == 1


def test_a_learner_that_skips_everything_gives_up_with_what_to_change(metrics, make_batch):
    measures = LearnerMeasures(metrics)
    for now_s in (0.0, BROKEN_DOWN_S):
        measures.updated(update(1.0), make_batch(), 0.01, 5)
        look(measures, now_s)
    measures.updated(update(1.0), make_batch(), 0.01, 5)
    with pytest.raises(ConfigError, match=r"not finite for 31 s; lower algorithm\.learning_rate"):
        look(measures, BROKEN_DOWN_S + 1.0)


def test_one_applied_update_is_enough_to_go_on(metrics, make_batch):
    measures = LearnerMeasures(metrics)
    for now_s, skipped in ((0.0, 1.0), (BROKEN_DOWN_S, 0.0), (BROKEN_DOWN_S + 5.0, 1.0), (2 * BROKEN_DOWN_S, 1.0)):
        measures.updated(update(skipped), make_batch(), 0.01, 5)
        look(measures, now_s)
    assert metrics.registry.get_sample_value("sojourn_learner_skipped_updates_total") == 3


def test_a_wait_without_updates_is_no_breakdown(metrics, make_batch):
    measures = LearnerMeasures(metrics)
    measures.updated(update(0.0), make_batch(), 0.01, 5)
    look(measures, 0.0)
    look(measures, 10 * BROKEN_DOWN_S)
    measures.updated(update(0.0), make_batch(), 0.01, 5)
    look(measures, 11 * BROKEN_DOWN_S)
    assert metrics.registry.get_sample_value("sojourn_learner_updates_total") == 2
