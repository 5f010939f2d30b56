"""What is said of courses in real time; the courses themselves take minutes and are run by `sojourn bench duration-real-time`."""

import pytest

from sojourn.bench.real_scenes import SCENES
from sojourn.bench.real_time import CASES, SLOTS, RealCourse, configuration, cycle_s, read
from sojourn.bench.real_time_page import BEGIN, END, compared, section, write
from sojourn.config import Config

SEEDS = (1, 2, 3, 4)


def course(case: str, seed: int, final: float) -> RealCourse:
    looks = [str(look) for look in SCENES[CASES[case][0]].looks]
    returns, cycles_s = dict.fromkeys(looks, final), dict.fromkeys(looks, 0.05)
    return RealCourse(case, seed, 30.0, returns, cycles_s, date="2026-11-21", machine="x86_64", version="sojourn 0.1.0")


@pytest.mark.parametrize("case", CASES)
def test_every_case_is_a_configuration_that_can_run(case):
    config = Config.model_validate(configuration(case, 3))
    assert config.tables["replay"].duration.weight == case.split(", ")[-1]
    assert config.tables["replay"].on_stale == ("drop" if "drop" in case else "gate")
    assert config.learners.steps == SCENES[CASES[case][0]].looks[-1]
    assert config.run.seed == 3


def test_who_is_ahead_is_said_only_beyond_two_standard_errors():
    assert "a is ahead of b by 0.0200 +- 0.0058" in compared("a", "b", [0.01, 0.02, 0.03])
    assert "b is ahead of a" in compared("a", "b", [-0.01, -0.02, -0.03])
    assert "neither is ahead by two standard errors (+0.0100 +- 0.0173)" in compared("a", "b", [-0.02, 0.01, 0.04])


def test_the_section_compares_weights_of_a_rule_seed_by_seed():
    found = section(
        [course("queue, none", seed, 0.66) for seed in SEEDS] + [course("queue, linear", seed, 0.64) for seed in SEEDS]
    )
    assert "| queue, none | 4 | 0.660 +- 0.000 |" in found
    assert "queue, none is ahead of queue, linear by 0.0200 +- 0.0000" in found
    assert "drop" not in found


def test_few_seeds_are_not_compared():
    found = section([course(case, seed, 0.66) for case in ("queue, none", "queue, linear") for seed in SEEDS[:-1]])
    assert "ahead" not in found


def test_each_environment_has_a_table_of_its_own_looks():
    found = section([course("queue, none", 1, 0.66), course("HalfCheetah, drop, inclusion", 1, -20.0)])
    assert "| arms: rule, weight | seeds | return, 100 |" in found
    assert "| HalfCheetah: rule, weight | seeds | return, 50 |" in found
    assert "| drop, inclusion | 1 | -20.00 +- 0.00 |" in found
    assert "slow arms" not in found


def test_weights_of_two_rules_are_not_compared():
    courses = [course(f"HalfCheetah, {rule}, none", seed, -20.0) for rule in ("queue", "drop") for seed in SEEDS]
    assert "ahead" not in section(courses)


def test_a_mean_action_is_the_time_of_all_slots_over_what_ended_in_the_seconds_before():
    records = [{"elapsed_s": float(second), "env_steps": 40 * second**2} for second in range(11)]
    spoken = [{**record, "learner_step": 10 * index, "training_return": 0.5} for index, record in enumerate(records)]
    assert cycle_s(spoken, 80) == pytest.approx(SLOTS * 4.0 / (40 * (8**2 - 4**2)))


def test_the_page_keeps_what_is_around_the_section(tmp_path):
    page = tmp_path / "duration.md"
    page.write_text(f"before\n{BEGIN}old{END}\nafter\n")
    write(page, [course("drop, none", 1, 0.6)])
    assert page.read_text().startswith(f"before\n{BEGIN}\n")
    assert page.read_text().endswith(f"{END}\nafter\n")
    assert "old" not in page.read_text()


def test_without_a_file_there_are_no_courses(tmp_path):
    assert read(tmp_path / "none.jsonl") == []
