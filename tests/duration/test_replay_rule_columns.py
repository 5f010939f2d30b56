"""What a weight needs to know of an item comes with it, however its columns are read."""

import numpy as np
import pytest

from replay.rules import columns_of

OF_A_DRAW = {"info.probability", "info.times_sampled", "info.task", "info.age_s"}
TABLES = {
    "window": {"duration": {"rule": "window"}},
    "episode_window": {"duration": {"rule": "episode_window"}},
    "start_rate": {"duration": {"rule": "start_rate"}},
    "pool": {"duration": {"weight": "pool"}},
    "start_age": {"remover": "start_age", "horizon_s": 1_000.0},
    "version_age": {"remover": "version_age", "horizon_versions": 100},
    "staleness": {"max_staleness": 100, "on_stale": "drop"},
}


def told(*rows: tuple[int, float]) -> dict[str, np.ndarray]:
    """What a start log knows of one-step episodes, each with the row that closes it: stratum and start of the episode."""
    strata, starts = (np.repeat(values, 2) for values in zip(*rows, strict=True))
    return {"stratum": strata.astype(np.uint16), "episode_start_s": starts.astype(np.float64)}


@pytest.mark.parametrize("rule", TABLES)
def test_a_gather_gives_what_a_draw_gives(world, rule):
    table = world(**TABLES[rule])
    table.deliver(9.0, [1.0, 4.0], [2.0, 5.0], versions=[1, 3], beside=told((2, 0.5), (2, 3.0)))
    table.deliver(12.0, [10.0], [2.0], versions=7, lane=1, beside=told((1, np.nan)))
    drawn = table.draw(20.0, size=3)
    gathered = table.store.gather("replay", drawn["info.key"])

    assert {f"info.{name}" for name in columns_of(table.settings)} <= set(drawn)
    assert set(drawn) - OF_A_DRAW == set(gathered) - OF_A_DRAW
    for name in set(gathered) - OF_A_DRAW:
        assert np.array_equal(gathered[name], drawn[name], equal_nan=gathered[name].dtype.kind == "f"), name


def test_an_items_episode_lasted_until_its_last_action_ended(world):
    table = world(**TABLES["episode_window"])
    table.deliver(9.0, [1.0, 4.0], [2.0, 5.0], beside=told((0, 0.5), (255, 3.0)))
    table.deliver(12.0, [10.0], [2.0], lane=1)  # nobody knows more of it
    drawn = table.draw(20.0, size=64)
    elapsed_s = dict(zip(drawn["info.key"].tolist(), drawn["info.episode_elapsed_s"].tolist(), strict=True))
    stratum = dict(zip(drawn["info.key"].tolist(), drawn["info.stratum"].tolist(), strict=True))

    assert elapsed_s == pytest.approx({1: 2.5, 3: 6.0, 5: np.nan}, nan_ok=True)
    assert stratum == {1: 0, 3: 255, 5: 0}
