"""Does the ledger find every lost and every doubled step, and none where there is none?"""

import numpy as np
import pytest

from sojourn.bench.chaos.training import holdings_of
from sojourn.bench.load.ledger import Ledger
from sojourn.bench.load.steps import ACTOR_BITS, Law, durations

LANES, SEGMENT_STEPS = 2, 10


def numbers(actor, *places):
    return (actor << ACTOR_BITS) + np.concatenate([np.arange(part.start, part.stop) for part in places])


@pytest.fixture
def ledger():
    """Two actors offered 60 steps each, in turns of two lanes; of the first, 40 were acknowledged and 10 refused."""
    ledger = Ledger(LANES, SEGMENT_STEPS)
    for actor in (0, 7):
        assert ledger.offer(actor, 60) == actor << ACTOR_BITS
    for first in (0, 10, 20, 30):
        ledger.acknowledge(0, first, 10, refused=False)
    ledger.acknowledge(0, 40, 10, refused=True)
    return ledger


@pytest.mark.parametrize(
    ("found", "lost", "doubled", "strange"),
    [
        ([numbers(0, range(40))], 0, 0, 0),
        ([numbers(0, range(50)), numbers(7, range(60))], 0, 0, 0),  # stored without an acknowledgement: neither lost nor doubled
        ([numbers(0, range(39))], 1, 0, 0),
        ([numbers(0, range(5), range(6, 40))], 1, 0, 0),
        ([numbers(0, range(40)), numbers(0, range(3))], 0, 3, 0),
        ([numbers(0, range(40)), numbers(7, range(2)), numbers(7, range(2))], 0, 2, 0),
        ([numbers(0, range(40)), numbers(0, range(60, 62))], 0, 0, 2),  # never offered
        ([numbers(0, range(40)), numbers(3, range(4))], 0, 0, 4),  # no such actor
        ([], 40, 0, 0),
    ],
)
def test_what_is_found_is_held_against_what_was_acknowledged(ledger, found, lost, doubled, strange):
    verdict = ledger.judge(found)

    assert (verdict.lost, verdict.doubled, verdict.strange) == (lost, doubled, strange)
    assert verdict.clean is (lost == doubled == strange == 0)
    assert (verdict.offered, verdict.acknowledged, verdict.refused) == (120, 40, 10)


@pytest.mark.parametrize(
    ("places", "lost"),
    [
        ((range(20, 40),), 0),  # the first segment of either lane has left
        ((range(20, 30), range(30, 35), range(36, 40)), 1),
        ((range(20, 39),), 1),  # the newest never leave first
        ((range(10, 20), range(30, 40)), 0),  # one lane has left as a whole: it may have
    ],
)
def test_only_what_is_older_than_the_rest_of_its_lane_may_have_left_the_ring(ledger, places, lost):
    found = [numbers(0, *places)]
    assert ledger.judge(found, living=found).lost == lost
    assert ledger.judge(found).lost == 40 - sum(map(len, places))


@pytest.mark.parametrize(("living", "lost"), [((range(22, 40),), 0), ((range(22, 30), range(30, 36), range(37, 40)), 1)])
def test_rows_that_are_only_kept_for_their_chunk_make_no_hole_of_what_left_behind_them(ledger, living, lost):
    """An open lane holds on to a chunk with old rows of other lanes, whose next chunks have left."""
    kept = numbers(0, range(5))
    assert ledger.judge([kept, numbers(0, *living)], living=[numbers(0, *living)]).lost == lost


@pytest.mark.parametrize(
    ("kept", "living", "missing"),
    [
        (range(5), (range(20, 40),), 0),
        (range(5), (range(20, 30), range(31, 40)), 1),
        (range(0), (range(40),), 0),
        (range(38, 39), (), 0),
    ],
)
def test_a_training_runs_steps_are_counted_from_the_oldest_that_lives(kept, living, missing):
    alive = np.concatenate([np.empty(0, np.int64), *(numbers(3, part) for part in living)])
    found = np.concatenate([numbers(3, kept), alive])
    observations = np.arange(len(found) * 3, dtype=np.float32).reshape(-1, 3)
    assert holdings_of(found, observations, alive)[:3] == (missing, 0, len(found))


@pytest.mark.parametrize(("law", "tolerance"), [("constant", 1e-12), ("exponential", 0.02), ("pareto", 0.2)])
def test_laws_of_durations_have_the_mean_that_was_asked_for(law: Law, tolerance: float):
    drawn = durations(law, 0.5, np.random.default_rng(1))(200_000)

    assert drawn.mean() == pytest.approx(0.5, rel=tolerance)
    assert drawn.min() >= 0.0
