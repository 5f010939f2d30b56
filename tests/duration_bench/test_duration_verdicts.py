"""When does a measurement pass, what is kept of it, and what comes of it on the page?"""

from dataclasses import replace

import numpy as np
import pytest

from sojourn.bench.duration import Outcome, append, read, run
from sojourn.bench.page import BEGIN, END, write
from sojourn.bench.row import Row
from sojourn.bench.verdict import Claim, judge


def verdict(claim, values):
    (found,) = judge([claim], [{claim.name: value} for value in values])
    return found


NOISE = np.linspace(-1.0, 1.0, 10) * 0.001  # standard error 0.00021


@pytest.mark.parametrize(
    ("shift", "naive", "agrees"),
    [
        (0.0, 0.9, True),
        (0.0008, 0.9, True),
        (0.001, 0.9, False),  # 4.7 standard errors
        (0.0, 0.501, False),  # too blunt to tell .5 from .501
    ],
)
def test_a_mean_passes_near_the_exact_value_if_it_could_tell_the_wrong_one_apart(shift, naive, agrees):
    assert verdict(Claim("share", 0.5, naive), 0.5 + shift + NOISE).agrees is agrees


@pytest.mark.parametrize(("value", "agrees"), [(0.5, True), (0.5 + 5e-7, True), (0.5 + 2e-6, False)])
def test_without_chance_the_tolerance_decides(value, agrees):
    assert verdict(Claim("share", 0.5), [value] * 10).agrees is agrees


def test_a_number_without_chance_may_differ_by_rounding_from_replicate_to_replicate():
    rounding = [1e-8, 2e-8] * 5
    assert verdict(Claim("difference", 0.0, chance=False), rounding).agrees
    assert not verdict(Claim("difference", 0.0, chance=False), [0.01 + noise for noise in rounding]).agrees


def test_the_standard_error_is_that_of_the_mean_over_replicates():
    values = [1.0, 2.0, 3.0, 6.0]  # sum of squares about 3: 14; variance 14 / 3
    assert verdict(Claim("printed"), values).standard_error == pytest.approx((14 / 3 / 4) ** 0.5)


def outcome(seed=1, quick=False, value=0.5):
    return Outcome("row", seed, quick, 1.0, tuple(judge([Claim("share", 0.5)], [{"share": value}] * 10)))


def test_results_are_read_back_as_they_were_appended(tmp_path):
    file = tmp_path / "results" / "duration.jsonl"
    for kept in (outcome(), outcome(seed=2, value=0.7)):
        append(file, kept)

    assert read(file) == [outcome(), outcome(seed=2, value=0.7)]


class Counting:
    """A row that counts its replicates."""

    def __init__(self, value=0.5):
        self.value, self.replicates = value, 0
        self.row = Row("row", "a row", (Claim("share", 0.5),), self.measure)

    def measure(self, size, rng):
        self.replicates += 1
        return {"share": self.value}

    def run(self, file, **changed):
        arguments = {"seed": 1, "quick": True, "results": file, "again": False, "tell": lambda outcome: None}
        return list(run([self.row], **{**arguments, **changed}))


def test_what_passed_is_not_measured_again_unless_it_is_asked_for(tmp_path):
    counting, file = Counting(), tmp_path / "duration.jsonl"

    assert all(found.passed for found in counting.run(file) + counting.run(file))
    assert counting.replicates == 10
    counting.run(file, again=True)
    counting.run(file, seed=2)
    assert counting.replicates == 30


def test_what_failed_is_measured_again(tmp_path):
    counting, file = Counting(value=0.7), tmp_path / "duration.jsonl"

    assert not counting.run(file)[0].passed
    counting.value = 0.5
    assert counting.run(file)[0].passed


def test_the_page_shows_the_latest_full_size_outcome_and_keeps_what_is_around_it(tmp_path):
    page, row = tmp_path / "duration.md", Counting().row
    page.write_text(f"before\n{BEGIN}\nold\n{END}\nafter\n")

    write(page, {"row": row, "other": row}, [outcome(value=0.4), outcome(), outcome(quick=True, value=0.3)])

    text = page.read_text()
    assert text.startswith("before\n")
    assert text.endswith("after\n")
    assert "| share | 0.5 |  | 0.5 | 0 | agrees |" in text
    assert "old" not in text
    assert "0.3" not in text


def test_the_page_says_when_a_row_disagrees(tmp_path):
    page = tmp_path / "duration.md"
    page.write_text(f"{BEGIN}{END}")

    write(page, {"row": Counting().row}, [replace(outcome(value=0.7), row="row")])

    assert "**DISAGREES**" in page.read_text()
