"""What a learner counts of the actions that it learned from: by duration, by label, and the score's mean."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from learners.consumed import consumed_of
from learners.duration_measures import MOST_WAITING, DurationMeasures
from learners.score_leak import ScoreLeak
from sojourn.algorithms import Update
from sojourn.algorithms.base import StepFacts
from sojourn.config.schema import TableSettings
from sojourn.durations import BUCKETS
from sojourn.metrics import Metrics

RING = TableSettings(sampler="prioritised")
QUEUE = TableSettings(sampler="fifo", consume=True, item="segment", length=2)


@pytest.fixture
def transitions(make_batch):
    """Four items: durations .5 and 20 twice, drawn with chances .1 and .4, duration factors 1 and 3."""
    batch = make_batch(4)
    columns = batch.columns | {"duration_s": np.array([[0.5], [20.0], [0.5], [20.0]]), "action": np.array([1, 2, 9, 2])}
    info = replace(batch.info, probability=np.array([0.1, 0.4, 0.1, 0.4]), table_items=5.0, task=np.array([0, 1, 1, 1]))
    return replace(batch, columns=columns, info=info, factors={"duration": np.array([1.0, 3.0, 1.0, 3.0], np.float32)})


@pytest.fixture
def segments(make_batch):
    """Two segments of two places, of which the second holds one step."""
    batch = make_batch(2)
    shape = (2, 2)
    columns = {
        "duration_s": np.array([[0.5, 20.0], [0.5, 0.0]]),
        "mask": np.array([[True, True], [True, False]]),
        "policy_version": np.full(shape, 3, np.int64),
        "reward": np.array([[1.0, 2.0], [4.0, 0.0]], np.float32),
        "action": np.array([[0, 1], [0, 0]]),
    }
    return replace(batch, columns=columns, loss_weight=np.array([1.0, 2.0], np.float32), factors={})


def shown(metrics: Metrics, series: str, **labels: str) -> float | None:
    return metrics.registry.get_sample_value(series, labels)


def test_a_priority_is_taken_out_of_what_was_collected_and_a_weight_counts_in_what_is_weighted(transitions):
    consumed = consumed_of(transitions, RING, "task", newest_version=5)
    assert consumed.collected.tolist() == [2.0, 0.5, 2.0, 0.5]
    assert consumed.weighted.tolist() == [2.0, 1.5, 2.0, 1.5]
    assert consumed.lag.tolist() == [2.0] * 4
    assert {kind: places.tolist() for kind, places in consumed.labels.items()} == {"action": [1, 2, 8, 2], "task": [0, 1, 1, 1]}


def test_an_n_step_item_stands_for_its_first_action(transitions):
    longer = replace(transitions, columns=transitions.columns | {"duration_s": np.array([[0.5, 99.0]] * 4)})
    consumed = consumed_of(longer, RING, "", newest_version=3)
    assert [BUCKETS[place] for place in consumed.places] == ["0.5"] * 4


def test_a_segment_stands_for_its_steps_and_padding_for_nothing(segments):
    consumed = consumed_of(segments, QUEUE, "", newest_version=3)
    assert [BUCKETS[place] for place in consumed.places] == ["0.5", "20", "0.5"]
    assert consumed.reward.tolist() == [1.0, 2.0, 4.0]
    assert consumed.loss_weight.tolist() == [1.0, 1.0, 2.0]
    assert consumed.of_items(np.array([7.0, 8.0])).tolist() == [7.0, 7.0, 8.0]


def test_sums_by_duration_are_shown_at_a_look_and_never_twice(transitions):
    metrics = Metrics("learner")
    measures = DurationMeasures(metrics, RING, "task")
    measures.updated(Update(torch.tensor([1.0, 2.0, 3.0, 4.0]), {}), transitions, newest_version=5)
    for _ in range(2):
        measures.look()
    assert shown(metrics, "sojourn_learner_bucket_actions_total", bucket="20") == 2
    assert shown(metrics, "sojourn_learner_bucket_collected_total", bucket="20") == 1.0
    assert shown(metrics, "sojourn_learner_bucket_weighted_total", bucket="20") == 3.0
    assert shown(metrics, "sojourn_learner_bucket_td_error_total", bucket="0.5") == 4.0
    assert shown(metrics, "sojourn_learner_bucket_lag_versions_total", bucket="0.5") == 4.0
    assert shown(metrics, "sojourn_learner_label_weighted_total", kind="task", label="1") == 5.0
    assert np.isnan(shown(metrics, "sojourn_learner_score_leak"))


def test_errors_that_are_not_finite_are_left_out_and_only_a_few_batches_wait(transitions):
    metrics = Metrics("learner")
    measures = DurationMeasures(metrics, RING)
    for _ in range(MOST_WAITING + 3):
        measures.updated(Update(torch.tensor([np.nan, 1.0, 1.0, 1.0]), {}), transitions, newest_version=3)
    measures.look()
    assert shown(metrics, "sojourn_learner_bucket_measured_total", bucket="0.5") == MOST_WAITING
    assert shown(metrics, "sojourn_learner_bucket_actions_total", bucket="0.5") == 2 * (MOST_WAITING + 3)


def test_ratios_errors_and_scores_are_of_the_steps_that_count(segments):
    metrics = Metrics("learner")
    measures = DurationMeasures(metrics, QUEUE)
    ratio = torch.tensor([[0.5, 2.0], [1.0, 9.0]])
    steps = StepFacts(
        ratio, torch.tensor([[1.0, 2.0], [3.0, 9.0]]), torch.tensor([[[1.0], [-1.0]], [[0.5], [9.0]]]), choices=True
    )
    measures.updated(Update(torch.ones(2), {}, steps), segments, newest_version=3)
    measures.look()
    assert shown(metrics, "sojourn_learner_bucket_clipped_ratio_total", bucket="0.5") == 1.5
    assert shown(metrics, "sojourn_learner_bucket_td_error_total", bucket="0.5") == 4.0
    terms, weight = np.array([0.5 * 1.0, 2.0 * -1.0, 2.0 * 0.5]), 0.5 + 2.0 + 2.0 * 1.0  # loss weight x ratio x score
    assert shown(metrics, "sojourn_learner_action_gap") == pytest.approx(0.5 * abs(terms.sum()) / weight)
    assert shown(metrics, "sojourn_learner_score_leak") == pytest.approx(3 * terms.mean() ** 2 / terms.var())


def scores(share: float, seed: int, size: int = 4_000) -> np.ndarray:
    """Of a fair coin as the policy, where heads are consumed with this share."""
    heads = np.random.default_rng(seed).random(size) < share
    return np.stack([heads - 0.5, 0.5 - heads], axis=1)


def test_the_score_of_what_the_policy_chose_is_chance_and_of_a_selection_an_alarm():
    clean = [ScoreLeak() for _ in range(40)]
    for seed, leak in enumerate(clean):
        leak.add(scores(0.5, seed), np.ones(4_000), choices=True)
    assert np.mean([leak.statistic for leak in clean]) == pytest.approx(1.0, abs=4.3 * 2**0.5 / 40**0.5)
    biased = ScoreLeak()
    biased.add(scores(0.6, 0), np.ones(4_000), choices=True)
    assert biased.statistic > 100
    assert biased.gap == pytest.approx(0.1, abs=0.02)


def test_a_selection_that_is_weighted_back_leaks_nothing():
    leak = ScoreLeak()
    found = scores(0.8, 1)
    leak.add(found, np.where(found[:, 0] > 0, 0.5 / 0.8, 0.5 / 0.2), choices=True)
    assert leak.statistic < 9.0
    assert leak.gap < 0.02
