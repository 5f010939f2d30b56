"""What the table expects of any sampler. A new one adds a line to SAMPLERS and passes as it is."""

import numpy as np
import pytest

from replay.samplers import SAMPLERS, Sampler
from sojourn.config.schema import TableSettings

CAPACITY = 512
NEVER_HELD = np.inf


def make(name: str, order: str = "completion") -> Sampler:
    return SAMPLERS[name](
        CAPACITY, TableSettings(sampler=name if name in ("prioritised", "uniform") else "fifo", order="completion")
    )


def add(sampler: Sampler, positions: list[int], leaves: list[float] | None = None) -> np.ndarray:
    chosen = np.array(positions, np.int64)
    sampler.add(chosen, np.array(leaves or [1.0] * len(positions)), chosen.astype(np.float64))
    return chosen


@pytest.fixture(params=sorted(SAMPLERS))
def sampler(request: pytest.FixtureRequest) -> Sampler:
    return make(request.param)


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def test_an_empty_one_serves_nothing(sampler, rng):
    assert sampler.ready(NEVER_HELD) == 0
    positions, probability = sampler.draw(1, 3, NEVER_HELD, rng)
    assert len(positions) == len(probability) == 0


def test_draws_are_whole_batches_of_what_was_added(sampler, rng):
    added = add(sampler, [3, 500, 17, 64, 2, 90, 91])
    assert sampler.ready(NEVER_HELD) == 7
    positions, probability = sampler.draw(3, 2, NEVER_HELD, rng)
    assert (positions.dtype, probability.dtype) == (np.int64, np.float64)
    assert len(positions) == len(probability) == 6
    assert np.isin(positions, added).all()
    assert ((probability > 0) & (probability <= 1)).all()
    sampler.check()


def test_what_was_discarded_is_not_drawn(sampler, rng):
    add(sampler, [3, 500, 17, 64])
    sampler.discard(np.array([500, 17, 333]))
    assert sampler.ready(NEVER_HELD) == 2
    assert set(sampler.draw(2, 1, NEVER_HELD, rng)[0].tolist()) <= {3, 64}
    sampler.check()


def test_taken_out_items_can_be_put_back_or_added_again(sampler, rng):
    add(sampler, list(range(8)))
    first, _ = sampler.draw(4, 1, NEVER_HELD, rng)
    if not sampler.takes_out:
        assert sampler.ready(NEVER_HELD) == 8
        return
    assert sampler.ready(NEVER_HELD) == 4
    sampler.put_back(first, np.ones(4), first.astype(float))
    assert sampler.draw(4, 1, NEVER_HELD, rng)[0].tolist() == first.tolist()
    add(sampler, first.tolist())
    assert sampler.ready(NEVER_HELD) == 8
    sampler.check()


def test_updates_of_held_items_keep_them_drawable(sampler, rng):
    added = add(sampler, [5, 6, 7])
    sampler.update(added, np.array([2.0, 3.0, 4.0]))
    assert sampler.ready(NEVER_HELD) == 3
    assert sampler.total > 0
    sampler.check()


def test_the_same_generator_gives_the_same_draws(sampler):
    add(sampler, list(range(100)), [float(leaf + 1) for leaf in range(100)])
    other = make(next(name for name, kind in SAMPLERS.items() if kind is type(sampler)))
    add(other, list(range(100)), [float(leaf + 1) for leaf in range(100)])
    mine, theirs = (each.draw(10, 2, NEVER_HELD, np.random.default_rng(7))[0].tolist() for each in (sampler, other))
    assert mine == theirs


def test_no_more_batches_than_asked_for(sampler, rng):
    add(sampler, list(range(100)))
    assert len(sampler.draw(10, 3, NEVER_HELD, rng)[0]) == 30
