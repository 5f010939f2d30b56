"""What does a doctor say where a rule does not fit its table? Settings that the configuration accepts."""

import pytest

from sojourn.diagnosis.doctor import diagnose


@pytest.mark.parametrize(("items", "shorter"), [({"n_step": 3}, "n_step=1"), ({"item": "segment", "length": 20}, "length=1")])
def test_a_rule_for_items_of_one_step_is_named_with_the_setting_that_makes_them(make_record, make_config, items, shorter):
    record = make_record({"1": 1_000.0}, ended_crashed=900.0)
    changes = " ".join(diagnose(record, make_config(**items)).changes)
    assert f"tables.replay.duration.rule=censoring tables.replay.{shorter}" in changes


def test_items_that_leave_before_their_horizon_are_worth_a_sentence(make_record, make_config):
    config = make_config(sampler="uniform", remover="start_age", horizon_s=60.0)

    early, late = make_record(evicted_items=300.0, expired_items=700.0), make_record(evicted_items=3.0, expired_items=997.0)

    assert any("30.0% of the items that left had to make room" in remark for remark in diagnose(early, config).remarks)
    assert not any("make room" in remark for remark in diagnose(late, config).remarks)
