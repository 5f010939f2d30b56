"""Does a count close the windows of a pool, or their length? How the results in a window scatter says so."""

import numpy as np
import pytest

from replay.observe import FEWEST_WINDOWS, window_dispersion
from replay.shard import Clock, Shard
from replay.stratum import Starts
from sojourn.config import Config
from sojourn.metrics import Metrics


@pytest.fixture
def shard() -> Shard:
    return Shard(Config(), run_id="run", index=0, incarnation=1, metrics=Metrics("replay"), clock=Clock())


def end_windows(shard: Shard, counts: np.ndarray) -> None:
    """Windows of one pool in which so many actions end."""
    stratum = shard.starts.strata[shard.starts.stratum("pool", "")]
    for end_s, count in enumerate(counts.tolist()):
        ends = np.full(count, float(end_s))
        stratum.add(Starts(ends, np.ones(count), np.zeros(count, np.uint8), np.zeros(count, np.bool_)))
        shard.starts.end_window("pool", end_s + 1.0)


def test_windows_of_a_fixed_length_scatter_as_chance_does(shard):
    end_windows(shard, np.random.default_rng(0).poisson(60, 200))
    assert window_dispersion(shard) == pytest.approx(1.0, abs=4.3 * (2 / 200) ** 0.5)


def test_windows_that_a_count_closes_hold_nearly_the_same(shard):
    end_windows(shard, 48 + np.random.default_rng(0).integers(0, 2, 200))
    assert window_dispersion(shard) < 0.01


def test_a_few_windows_say_nothing(shard):
    end_windows(shard, np.full(FEWEST_WINDOWS, 48))
    assert np.isnan(window_dispersion(shard))
