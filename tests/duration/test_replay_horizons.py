"""Items leave at their table's horizon, late ones never enter, and draws say how much of the horizon was left."""

from dataclasses import replace

import numpy as np
import pytest
from pydantic import ValidationError as Impossible

from replay.horizons import share_left
from replay.rules import Rule, columns_of, rule_of
from replay.versions import Versions
from sojourn.config.schema import TableDurationSettings, TableSettings


def test_an_item_leaves_when_its_start_reaches_the_horizon(world):
    table = world(remover="start_age", horizon_s=60.0)
    table.deliver(1.0, 0.0, 1.0)
    table.deliver(20.0, 0.0, 20.0, lane=1)

    assert len(np.unique(table.draw(59.9)["info.key"])) == 2
    assert table.draw(60.0) is None
    assert table.store.facts("replay", 60.0).expired_items == 2
    assert table.store.facts("replay", 60.0).evicted_items == 0
    table.store.check()


def test_what_comes_beyond_the_horizon_never_enters_and_is_counted(world):
    table = world(remover="start_age", horizon_s=60.0)

    assert table.deliver(61.0, 0.0, 61.0) == 0
    assert table.deliver(62.0, 2.5, 59.5, lane=1) == 1
    assert table.store.facts("replay", 62.0).late_items == 1
    table.store.check()


def test_a_draw_says_how_old_the_start_was_when_the_item_came(world):
    table = world(remover="start_age", horizon_s=60.0)
    table.deliver(25.0, 5.0, 20.0)

    columns = table.draw(40.0)

    assert columns["info.start_age_s"] == pytest.approx(20.0)
    assert share_left(columns["info.start_age_s"], 60.0) == pytest.approx(60 / 40)


def test_the_raw_share_and_the_weighted_one_of_a_start_age_ring_are_exact(world):
    """K lanes each of d = 1 and d = 20, H = 60: 59 items of the first a lane, and 40 / 20 of the second."""
    table = world(remover="start_age", horizon_s=60.0, capacity_steps=8_192)
    for second in range(1, 200):
        table.deliver(float(second), second - 1.0, 1.0)
        if second % 20 == 0:
            table.deliver(float(second), second - 20.0, 20.0, lane=1, action=1)
    ages = {
        key: age
        for _ in range(40)
        for key, age in zip(*(table.draw(199.5)[f"info.{name}"] for name in ("key", "start_age_s")), strict=True)
    }
    ages = np.array(list(ages.values()))

    assert np.count_nonzero(ages < 2) == 59  # starts 140 .. 198
    assert np.count_nonzero(ages > 2) == 2  # starts 140 and 160, of which one a 20 s begins
    assert (60 / 59 * 59, share_left(np.array([20.0]), 60.0)[0] * 40) == pytest.approx((60, 60))


def test_versions_have_a_horizon_of_their_own(world):
    table = world(remover="version_age", horizon_versions=3)
    table.deliver(1.0, 0.0, 1.0, versions=5)
    table.deliver(2.0, 1.0, 1.0, versions=8)
    table.deliver(3.0, 0.0, 3.0, lane=1, versions=5)

    columns = table.draw(4.0)
    assert sorted(set(zip(columns["info.policy_version"].tolist(), columns["info.lag"].tolist(), strict=True))) == [
        (5, 0),
        (5, 3),
        (8, 0),
    ]
    assert table.deliver(4.0, 0.0, 4.0, lane=1, versions=4) == 0
    table.store.versions.learn(9, 5.0)
    assert set(table.draw(5.0)["info.policy_version"].tolist()) == {8}
    table.store.check()


def test_stale_items_are_dropped_only_where_the_table_says_so(world):
    for on_stale, made in (("drop", 0), ("gate", 1), ("none", 1)):
        table = world(max_staleness=4, on_stale=on_stale, sampler="fifo")
        table.deliver(1.0, 0.0, 1.0, versions=9)
        assert table.deliver(2.0, 0.0, 2.0, lane=1, versions=4) == made
        assert table.deliver(3.0, 0.0, 2.0, lane=2, versions=5) == 1


def test_late_and_expired_items_are_counted_once_and_on_through_a_restart(world, kit):
    before, after = (world(remover="start_age", horizon_s=60.0) for _ in range(2))
    rows = kit.rows(kit.one_steps(0, 0, 0.0, 61.0), 61.0)
    before.store.append(rows, ("actor-0", 1), 61.0)
    after.store.restore(before.store.counters(), before.store.take_dirty_pages())
    after.store.append(rows, ("actor-0", 1), 61.0, first_row=1)  # its chunk was read back
    after.store.finish_restore()
    after.deliver(70.0, 0.0, 61.0, lane=1)

    assert after.store.facts("replay", 0.0).late_items == 2
    assert after.store.take_fates()["replay"][0].undrawn == 1


def test_draws_follow_a_linear_weight_that_is_known_at_insertion(world):
    table = world(duration=TableDurationSettings(weight="linear", apply="draw"))
    table.deliver(100.0, np.arange(50.0), 1.0)
    table.deliver(100.0, np.arange(50.0), 20.0, lane=1)

    durations = np.concatenate([table.draw(100.0, 256)["info.duration_s"] for _ in range(20)])
    assert np.mean(durations > 2) == pytest.approx(20 / 21, abs=0.01)


def test_draws_follow_priority_times_the_share_left(world):
    table = world(
        sampler="prioritised",
        priority_exponent=0.5,
        remover="start_age",
        horizon_s=60.0,
        duration=TableDurationSettings(apply="draw"),
    )
    table.deliver(40.0, 10.0, 30.0)
    table.deliver(40.0, 40.0, 0.0, lane=1)
    columns = table.draw(40.0)
    keys = np.unique(columns["info.key"])
    table.store.update_priorities("replay", keys, np.array([4.0, 9.0], np.float32))

    columns = table.draw(40.0)
    chance = dict(zip(columns["info.key"].tolist(), columns["info.probability"].tolist(), strict=True))
    assert chance[int(keys[0])] / chance[int(keys[1])] == pytest.approx(2.0 * 2.0 / 3.0)


@pytest.mark.parametrize(
    ("settings", "rule"),
    [
        ({}, Rule("one")),
        ({"max_staleness": 4, "sampler": "fifo"}, Rule("one")),
        ({"remover": "start_age", "horizon_s": 60.0}, Rule("start_age", 60.0, ("start_age_s",))),
        ({"remover": "version_age", "horizon_versions": 3}, Rule("version_age", 3.0, ("lag",))),
        ({"max_staleness": 4, "on_stale": "drop"}, Rule("staleness", 4.0, ("start_age_s",), True)),
        ({"duration": {"rule": "window"}}, Rule("window", 0.0, ("stratum",), True)),
        ({"duration": {"rule": "one"}, "max_staleness": 4, "on_stale": "drop"}, Rule("one")),
    ],
)
def test_the_rule_follows_from_the_configuration(settings, rule):
    assert rule_of(TableSettings.model_validate(settings)) == rule


def test_items_carry_what_their_rule_needs_and_nothing_else():
    def carried(weight: str, **duration: str) -> tuple[str, ...]:
        return columns_of(TableSettings.model_validate({"duration": {"weight": weight, **duration}}))

    assert carried("inclusion") == carried("linear") == carried("none") == ()
    assert carried("pool") == carried("linear", rule="window") == ("stratum",)
    assert carried("pool", rule="episode_window") == ("stratum", "episode_elapsed_s")


@pytest.mark.parametrize(
    "settings",
    [
        {"remover": "start_age"},
        {"horizon_s": 60.0},
        {"remover": "version_age", "horizon_s": 60.0},
        {"sampler": "fifo", "duration": {"apply": "draw"}},
        {"duration": {"apply": "draw", "weight": "pool"}},
        {"duration": {"apply": "draw", "rule": "window"}},
        {"duration": {"apply": "draw", "weight": "my.module:weight"}},
        {"duration": {"apply": "draw", "weight": "linear", "applies_to": "policy"}},
        {"max_staleness": 4, "on_stale": "drop", "duration": {"apply": "draw"}},
        {"max_staleness": 4, "on_stale": "drop", "remover": "start_age", "horizon_s": 60.0},
        {"remover": "version_age", "horizon_versions": 3, "duration": {"weight": "pool", "rule": "censoring"}},
    ],
)
def test_what_cannot_work_is_refused(settings):
    with pytest.raises(Impossible):
        TableSettings.model_validate(settings)


def test_what_loses_actions_in_two_ways_is_named_with_what_to_write():
    with pytest.raises(Impossible, match=r"remover: start_age and on_stale: drop lose actions in 2 ways.*duration.weight: none"):
        TableSettings.model_validate({"max_staleness": 4, "on_stale": "drop", "remover": "start_age", "horizon_s": 60.0})


@pytest.mark.parametrize("rule", ["window", "episode_window", "censoring"])
def test_one_weight_is_wrong_for_the_steps_of_an_item_that_was_cut_short(rule):
    for many, key in (({"n_step": 3}, "n_step"), ({"item": "segment", "length": 5}, "length")):
        with pytest.raises(Impossible, match=rf"{rule} weighs items of one step.*write {key}: 1"):
            TableSettings.model_validate({**many, "duration": {"rule": rule}})
        TableSettings.model_validate({**many, key: 1, "duration": {"rule": rule}})
        TableSettings.model_validate({**many, "duration": {"rule": rule, "weight": "none"}})


def test_a_stale_item_is_weighed_by_the_age_of_its_first_step_since_that_steps_version_decides(world, kit):
    """Two steps of 10 s each are one item: its first action began 20 s before, the last one 10 s before."""
    table = world(max_staleness=4, on_stale="drop", item="segment", length=2)
    [step] = kit.one_steps(0, 0, 0.0, 10.0)
    twice = {
        name: np.repeat(getattr(step, name), 2) for name in ("reward", "duration_s", "end_kind", "log_prob", "policy_version")
    }
    ends = {"terminated": np.array([False, True]), "truncated": np.zeros(2, np.bool_), "started_at_s": np.array([0.0, 10.0])}
    shown = {"observation": {"observation": np.zeros((3, 1), np.float32)}, "action": {"action": np.zeros(2, np.int64)}}
    rows = kit.rows([replace(step, **twice, **ends, **shown)], 20.0)
    table.store.append(rows, ("actor-0", 1), 20.0)

    columns = table.draw(20.0)
    assert columns["info.start_age_s"][0] == pytest.approx(20.0)
    assert columns["info.delay_s"][0] == pytest.approx(10.0)


def test_a_versions_period_is_the_mean_time_between_changes():
    versions = Versions()
    assert versions.period_s == 0.0
    for now_s, version in ((0.0, 1), (2.0, 2), (2.5, 2), (6.0, 4), (7.0, 3)):
        versions.learn(version, now_s)

    assert versions.newest == 4
    assert versions.period_s == pytest.approx(2.0)


def test_nothing_left_of_the_horizon_is_no_number_and_never_infinite():
    assert np.isnan(share_left(np.array([60.0, 61.0]), 60.0)).all()
