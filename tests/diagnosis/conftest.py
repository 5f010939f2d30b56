"""Records of durations as runs make them, without a run."""

from collections.abc import Callable
from typing import Any

import pytest

from sojourn.config import Config
from sojourn.monitor import DurationRecord

STARTED = {"1": 500.0, "20": 500.0}


def record_of(
    collected: dict[str, float] | None = None, weighted: dict[str, float] | None = None, scale: float = 8.0, **facts: float
) -> DurationRecord:
    """4,000 quick and 4,000 slow starts and the same learned from, unless said otherwise. collected, weighted: shares in 1,000."""
    expected = {bucket: scale * count for bucket, count in STARTED.items()}
    learned = {bucket: scale * count for bucket, count in (collected or STARTED).items()}
    weights = {bucket: scale * count for bucket, count in (weighted or collected or STARTED).items()}
    squares = {bucket: weights[bucket] ** 2 / max(1.0, learned[bucket]) for bucket in weights}
    actions = sum(learned.values())
    return DurationRecord(
        time_s=0.0,
        elapsed_s=60.0,
        buckets={
            "expected": expected,
            "actions": learned,
            "collected": learned,
            "collected_squares": learned,
            "weighted": weights,
            "weighted_squares": squares,
            "measured": learned,
            "lag_versions": {bucket: 2.0 * count for bucket, count in learned.items()},
            "reward": {bucket: 0.5 * count for bucket, count in learned.items()},
            "td_error": {bucket: 0.1 * count for bucket, count in learned.items()},
            "clipped_ratio": learned,
        },
        labels={"expected": {}, "collected": {}, "weighted": {}},
        facts={"started": sum(expected.values()), "sampled_items": actions, "running": 16.0, **facts},
    )


def config_of(**table: Any) -> Config:
    """A queue that hands out each item once, unless said otherwise. Further keys: settings of the table."""
    queue = {"sampler": "fifo", "consume": True} if "sampler" not in table else {}
    return Config.model_validate({"algorithm": {"name": "vtrace"}, "tables": {"replay": {**queue, **table}}})


@pytest.fixture
def make_record() -> Callable[..., DurationRecord]:
    return record_of


@pytest.fixture
def make_config() -> Callable[..., Config]:
    return config_of
