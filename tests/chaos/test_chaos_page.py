"""What becomes of trials: which are made again, and what stands on the page?"""

from contextlib import contextmanager
from dataclasses import dataclass

import pytest

from sojourn.bench.chaos.page import BEGIN, END, write
from sojourn.bench.chaos.rows import QUICK, ROWS
from sojourn.bench.chaos.run import Chaos, Trial, append, read
from sojourn.bench.chaos.trial import Found

CLEAN = Found(0, 0, 0, 1_000, 1.0, 2.0, "", "")
LATE = Found(0, 0, 0, 1_000, 1.0, 5.5, "", "")
LOSS = Found(3, 0, 0, 1_000, 1.0, None, "", "no samples within 60 s")


@dataclass
class Coins:
    """A row whose trials are written down beforehand."""

    outcomes: list[Found]
    name: str = "coins"
    fault: str = "a coin is tossed"
    must_hold: str = "it falls"
    seen: str = "a coin"
    trials: int = 5
    alone: bool = False
    needs_root: bool = False
    sampled_within_s: float = 5.0
    opened_times: int = 0

    @contextmanager
    def opened(self, snapshots, seed, most_steps):
        self.opened_times += 1
        yield lambda rng: self.outcomes.pop(0)


def trial(number, found, row="coins"):
    return Trial(row, number, False, found, "2026-01-01", "machine", "version")


def test_only_lacking_trials_are_made_and_each_is_kept_at_once(tmp_path):
    results = tmp_path / "chaos.jsonl"
    for number in (0, 3):
        append(results, trial(number, CLEAN))
    row = Coins([CLEAN] * 3)
    with Chaos(results) as chaos:
        made = chaos.trials(row)
        assert next(made).number == 1
        assert [kept.number for kept in read(results)] == [0, 3, 1]
        assert [later.number for later in made] == [2, 4]
        assert list(chaos.trials(row)) == []
    assert row.opened_times == 1


def test_a_trial_that_did_not_hold_ends_its_world(tmp_path):
    row = Coins([CLEAN, LOSS, CLEAN, CLEAN, CLEAN])
    with Chaos(tmp_path / "chaos.jsonl") as chaos:
        assert [one.held for one in chaos.trials(row)] == [True, False, True, True, True]
    assert row.opened_times == 2


def test_no_trial_begins_after_the_time_is_over(tmp_path):
    with Chaos(tmp_path / "chaos.jsonl", until_s=0.0) as chaos:
        assert list(chaos.trials(Coins([CLEAN]))) == []


@pytest.mark.parametrize(
    ("found", "cells"),
    [
        ([CLEAN, CLEAN], ["2", "0", "0", "1.00, 1.00", "2.00, 2.00", "a coin", "held"]),
        ([CLEAN, LOSS], ["2", "3", "0", "1.00, 1.00", "2.00, 2.00, 1 never", "a coin", "**1 of 2 did not hold**"]),
        ([CLEAN, LATE], ["2", "0", "0", "1.00, 1.00", "3.75, 5.50", "a coin", "**1 of 2 took longer than 5 s**"]),
    ],
)
def test_the_page_sums_up_a_rows_trials(tmp_path, found, cells):
    page = tmp_path / "chaos.md"
    page.write_text(f"before\n{BEGIN}\nstale\n{END}\nafter\n")
    write(page, {"coins": Coins([])}, [trial(number, one) for number, one in enumerate(found)])
    text = page.read_text()
    assert "| " + " | ".join(["a coin is tossed", "it falls", *cells]) + " |" in text
    assert text.startswith("before\n")
    assert text.endswith("after\n")
    assert "stale" not in text


def test_the_quick_rows_are_rows():
    assert set(QUICK) <= set(ROWS)
