"""What is said of courses in real time; the courses themselves take minutes and are run by `sojourn bench duration-real-time`."""

import pytest

from sojourn.bench.real_time import CASES, LOOKS, RealCourse, configuration, read
from sojourn.bench.real_time_page import BEGIN, END, compared, section, write
from sojourn.config import Config


def course(case: str, seed: int, final: float) -> RealCourse:
    returns = {str(look): final for look in LOOKS}
    return RealCourse(case, seed, 30.0, returns, {str(look): 0.05 for look in LOOKS}, "2026-11-21", "x86_64", "sojourn 0.1.0")


@pytest.mark.parametrize("case", CASES)
def test_every_case_is_a_configuration_that_can_run(case):
    config = Config.model_validate(configuration(case, 3))
    assert config.tables["replay"].duration.weight == case.split(", ")[1]
    assert config.run.seed == 3


def test_who_is_ahead_is_said_only_beyond_two_standard_errors():
    assert "a is ahead of b by 0.0200 +- 0.0058" in compared("a", "b", [0.01, 0.02, 0.03])
    assert "b is ahead of a" in compared("a", "b", [-0.01, -0.02, -0.03])
    assert "neither is ahead by two standard errors (+0.0100 +- 0.0173)" in compared("a", "b", [-0.02, 0.01, 0.04])


def test_the_section_compares_weights_of_a_rule_seed_by_seed():
    found = section(
        [course("queue, none", seed, 0.66) for seed in (1, 2)] + [course("queue, linear", seed, 0.64) for seed in (1, 2)]
    )
    assert "| queue, none | 2 | 0.660 +- 0.000 |" in found
    assert "queue, none is ahead of queue, linear by 0.0200 +- 0.0000" in found
    assert "drop" not in found


def test_the_page_keeps_what_is_around_the_section(tmp_path):
    page = tmp_path / "duration.md"
    page.write_text(f"before\n{BEGIN}old{END}\nafter\n")
    write(page, [course("drop, none", 1, 0.6)])
    assert page.read_text().startswith(f"before\n{BEGIN}\n")
    assert page.read_text().endswith(f"{END}\nafter\n")
    assert "old" not in page.read_text()


def test_without_a_file_there_are_no_courses(tmp_path):
    assert read(tmp_path / "none.jsonl") == []
