"""Learning curves: are courses compared at the same steps, with the intervals of the literature, and run once only?"""

from pathlib import Path

import numpy as np
import pytest

from sojourn.bench.curves import ours, page
from sojourn.bench.curves.course import PEER, SYSTEMS, TASKS, Course, Look, append, read
from sojourn.bench.curves.run import run
from sojourn.bench.curves.statistics import interquartile_mean, interval, interval_of_difference
from sojourn.bench.curves.verdict import standings
from sojourn.config.load import load_config

CHEETAH = "HalfCheetah-v5"


def course(system: str, seed: int, reached: float, seconds: float) -> Course:
    looks = tuple(Look(mark, reached * mark / 100_000, seconds * mark / 100_000) for mark in TASKS[CHEETAH].marks)
    return Course(system=system, environment=CHEETAH, seed=seed, looks=looks)


def test_a_quarter_is_cut_at_either_end():
    assert interquartile_mean(np.array([100.0, 1.0, 2.0, 3.0, 4.0, -50.0, 2.0, 3.0])) == 2.5
    assert interquartile_mean(np.array([1.0, 2.0, 6.0])) == 3.0


def test_the_interval_of_a_bootstrap_is_that_of_all_resamples():
    """Of two values four resamples are equally likely: means 0, 1, 1, 2."""
    assert interval([0.0, 2.0]) == (0.0, 2.0)
    assert interval([5.0, 5.0, 5.0]) == (5.0, 5.0)
    assert interval_of_difference([5.0, 5.0], [3.0, 3.0]) == (2.0, 2.0)


def test_an_evaluation_has_the_time_at_which_its_steps_were_there_and_the_clock_begins_with_the_first():
    progress = [{"env_steps": steps, "elapsed_s": at_s} for steps, at_s in ((0, 3.0), (0, 7.0), (500, 12.0), (1_500, 22.0))]
    evaluations = [
        {"env_steps": 0, "return_mean": -9.0, "learner_step": 0},
        {"env_steps": 1_000, "return_mean": 4.0, "learner_step": 900},
    ]
    assert ours.looks_of(evaluations, progress) == (Look(1_000, 4.0, 10.0),)


def test_a_system_is_judged_by_its_return_and_its_time_at_the_last_mark():
    ours_, theirs = (
        [course(system, seed, r, s) for seed, r, s in runs]
        for system, runs in (
            ("sojourn", [(1, 5_000, 700), (2, 6_000, 800), (3, 5_500, 900)]),
            (PEER, [(1, 5_100, 1_000), (2, 6_100, 1_100), (3, 5_600, 1_050)]),
        )
    )
    sojourn, peer = standings([*ours_, *theirs])
    assert (sojourn.return_mean, sojourn.seconds, peer.return_mean) == (5_500, 800, 5_600)
    assert sojourn.matches
    assert sojourn.soon
    assert sojourn.sooner == pytest.approx(1_050 / 800)


@pytest.mark.parametrize(("reached", "seconds", "matches", "soon"), [(4_000, 700, False, True), (5_600, 1_000, True, False)])
def test_a_lower_return_or_a_late_one_is_told(reached: float, seconds: float, matches: bool, soon: bool):
    runs = [course("sojourn", seed, reached + seed, seconds) for seed in (1, 2, 3)]
    found = standings([*runs, *(course(PEER, seed, 5_500 + seed, 1_050) for seed in (1, 2, 3))])[0]
    assert (found.matches, found.soon) == (matches, soon)


def test_what_was_run_is_read_back_and_not_run_again(tmp_path: Path):
    results = tmp_path / "learning.jsonl"
    done = [course(system, seed, 1.0, 2.0) for seed in (1, 2) for system in ("sojourn", PEER)]
    for one in done:
        append(results, one)
    assert read(results) == done
    assert list(run(["sojourn", PEER], [CHEETAH], [1, 2], results)) == done


def test_the_page_has_a_line_for_each_system_and_a_picture(tmp_path: Path):
    file = tmp_path / "learning.md"
    file.write_text(f"# Learning\n\n{page.BEGIN}\n\nold\n{page.END}\n\nkept\n")
    page.write(file, [course(system, seed, 1_000.0 * seed, 500.0) for system in ("sojourn", PEER) for seed in (1, 2, 3)])
    text = file.read_text()
    assert "| HalfCheetah-v5 | 100,000 | sojourn | 1, 2, 3 | 2,000 |" in text
    assert "old" not in text
    assert "kept" in text
    assert (tmp_path / "curves" / f"{CHEETAH}.png").stat().st_size > 10_000


@pytest.mark.parametrize("environment", TASKS)
@pytest.mark.parametrize("system", SYSTEMS)
def test_every_course_is_a_run_that_can_start(system: str, environment: str):
    file, *overrides = ours.command_line(system, environment, seed=1)
    config = load_config(Path(file), overrides)
    assert config.environment.id == environment
    limiter = config.tables["replay"].limiter
    assert limiter.samples_per_insert == config.learners.batch_size, "one update per environment step"
