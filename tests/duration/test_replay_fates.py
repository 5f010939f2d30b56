"""Whose items came, and whose were lost before they were drawn? Counted by stratum, through restarts."""

import numpy as np
import pytest

from replay.start_log import StartLog
from replay.start_log_state import StartLogPages, StoredStartLog
from replay.stratum import Fate
from replay.versions import Versions

CAPACITY = 64


def of(stratum: int, episodes: int) -> dict[str, np.ndarray]:
    return {"stratum": np.full(2 * episodes, stratum, np.uint16), "episode_start_s": np.zeros(2 * episodes)}


def test_what_is_evicted_for_room_counts_for_its_stratum_drawn_or_not(world):
    table = world(capacity_steps=CAPACITY)
    table.deliver(1.0, np.zeros(40), 1.0, beside=of(3, 40))
    drawn = len(np.unique(table.draw(2.0, size=8)["info.key"]))
    assert table.store.take_fates() == {"replay": {3: Fate(40)}}
    table.deliver(3.0, np.zeros(CAPACITY), 1.0, beside=of(7, CAPACITY))

    assert table.store.take_fates() == {"replay": {3: Fate(0, 40, 40 - drawn), 7: Fate(CAPACITY)}}
    assert table.store.take_fates() == {"replay": {}}


@pytest.mark.parametrize(
    ("settings", "versions"),
    [({"remover": "start_age", "horizon_s": 60.0}, 0), ({"sampler": "fifo", "max_staleness": 1, "on_stale": "drop"}, 9)],
)
def test_what_comes_too_late_came_and_is_lost(world, settings, versions):
    table = world(**settings)
    table.deliver(61.0, [59.0], [2.0], versions=versions, beside=of(0, 1))
    table.deliver(62.0, [0.0, 1.0], [62.0, 61.0], versions=0, lane=1, beside=of(1, 2))

    assert table.store.take_fates() == {"replay": {0: Fate(1), 1: Fate(2, 2, 2)}}
    assert table.store.facts("replay", 62.0).late_items == 2


def test_what_expires_at_the_horizon_is_lost(world):
    table = world(remover="start_age", horizon_s=60.0)
    table.deliver(1.0, [0.0], [1.0], beside=of(2, 1))
    table.deliver(30.0, [10.0], [20.0], lane=1, beside=of(4, 1))
    assert table.draw(65.0, size=1) is not None

    assert table.store.take_fates() == {"replay": {2: Fate(1, 1, 1), 4: Fate(1)}}


@pytest.mark.parametrize("whole", [True, False])
def test_a_log_goes_on_counting_where_an_earlier_life_stopped(whole):
    log, later = StartLog(), StartLog()
    for number, pool in enumerate(("a", "b")):
        log.opened((pool, 1), pool, "slow", 0.0)
        later.opened(("ba"[number], 1), "ba"[number], "slow", 0.0)  # numbered the other way round
    pages = StartLogPages(log, whole=whole)
    pages.changed(Versions(), 1, 0.0, 0.0)
    log.became({"replay": {0: Fate(9, 5, 2), 1: Fate(4)}, "other": {1: Fate(1)}, "unheard of": {200: Fate(1)}})
    StoredStartLog(pages.changed(Versions(), 1, 1.0, 1.0)).restore(later, Versions(), 0.0, 2.0)
    later.became({"replay": {1: Fate(1, 1, 1)}})

    found = {(stratum.pool, table): fate for stratum in later.strata for table, fate in stratum.fates.items()}
    assert found == {("a", "replay"): Fate(10, 6, 3), ("b", "replay"): Fate(4), ("b", "other"): Fate(1)}


def test_a_log_of_old_without_fates_is_read():
    log = StartLog()
    log.end_window("", 1.0)
    pages = StartLogPages(log, whole=False).changed(Versions(), 1, 0.0, 0.0)
    said = pages["starts"].replace(b'"fates":[],', b"")
    assert b"fates" not in said
    later = StartLog()
    StoredStartLog({"starts": said}).restore(later, Versions(), 0.0, 0.0)

    assert later.windows("") == 1
