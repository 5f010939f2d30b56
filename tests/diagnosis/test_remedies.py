"""Are the settings that a doctor names accepted by the configuration?"""

import pytest

from sojourn.diagnosis.doctor import diagnose


@pytest.mark.parametrize(("items", "shorter"), [({"n_step": 3}, "n_step=1"), ({"item": "segment", "length": 20}, "length=1")])
def test_a_rule_for_items_of_one_step_is_named_with_the_setting_that_makes_them(make_record, make_config, items, shorter):
    record = make_record({"1": 1_000.0}, ended_crashed=900.0)
    changes = " ".join(diagnose(record, make_config(**items)).changes)
    assert f"tables.replay.duration.rule=censoring tables.replay.{shorter}" in changes
