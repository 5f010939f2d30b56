"""Is the right thing learned under each rule of collection? Two seeds at reduced length, through the real service."""

import json
from dataclasses import replace

import numpy as np
import pytest

from sojourn.bench.learning import CASES, Course, follow, read, run
from sojourn.bench.learning_page import BEGIN, END, TRUTH, by_case, judge, write
from sojourn.bench.three_arms import REWARDS, Learner

SEEDS = (1, 2)


@pytest.fixture(scope="module")
def courses(tmp_path_factory):
    """Queue and drop, until half the simulated time that they differ in."""
    short = [
        replace(CASES[f"{rule}, {weight}"], clock_s=(1_500.0,), updates=(100,))
        for rule in ("queue", "drop")
        for weight in ("none", "linear")
    ]
    return run(short, SEEDS, results=tmp_path_factory.mktemp("learning") / "r.jsonl", again=False, tell=lambda course: None)


def late(courses, case):
    return [course.by_clock["1500"] for course in courses if course.case == case]


def test_from_a_queue_the_better_arm_is_learned_without_a_weight_and_slower_with_durations(courses):
    assert min(late(courses, "queue, none")) > 0.6
    assert min(late(courses, "queue, none")) > max(late(courses, "queue, linear")) + 0.03


def test_where_late_results_are_dropped_the_worse_arm_is_learned_unless_durations_weigh(courses):
    assert max(late(courses, "drop, none")) < 0.35
    assert min(late(courses, "drop, linear")) > 0.5


def test_at_equal_updates_the_order_is_the_same(courses):
    by_updates = {name: np.mean([course.by_updates["100"] for course in found]) for name, found in by_case(courses).items()}
    assert by_updates["queue, none"] > by_updates["queue, linear"] > 0.45 > by_updates["drop, none"]


def course(case, seed, final, ends=0.5):
    return Course(case, seed, 1.0, {"3000": 0.4, "12000": final}, {"100": 0.4, "400": final}, ends, 0.5, 400)


def test_statements_hold_by_two_standard_errors_or_say_that_they_do_not():
    close = [course("queue, none", seed, 0.9) for seed in (1, 2, 3)]
    noisy = [course("queue, linear", seed, final) for seed, final in ((1, 0.95), (2, 0.7), (3, 0.95))]
    assert [statement.holds for statement in judge(by_case(close + noisy))] == [True, False, False]
    clear = [replace(found, by_clock={"12000": 0.7}, by_updates={"400": 0.71}) for found in noisy]
    assert all(statement.holds for statement in judge(by_case(close + clear)))


def test_one_seed_that_finds_the_better_arm_refutes_that_none_does(tmp_path):
    found = [course("drop, none", seed, 0.1) for seed in (1, 2, 3, 4, 5)]
    assert [statement.holds for statement in judge(by_case(found))] == [True]
    found.append(course("drop, none", 6, 0.9))
    assert [statement.holds for statement in judge(by_case(found))] == [False]
    page = tmp_path / "duration.md"
    page.write_text(f"{BEGIN}\n{END}\n")
    write(page, found)
    assert "- **Does not hold:** drop, none: no seed prefers the better arm: the better arm in 1 of 6." in page.read_text()


def test_windows_are_judged_by_the_distance_to_the_balance_of_reward_and_entropy():
    found = [course("window, inclusion", 1, 0.9, TRUTH + 0.01), course("window, none", 1, 0.9, TRUTH + 0.05)]
    found += [course("window, linear", 1, 0.9, TRUTH - 0.3)]
    assert all(statement.holds for statement in judge(by_case(found)))
    policy = np.exp(REWARDS / CASES["window, none"].entropy_cost)
    assert pytest.approx(policy[1] / policy.sum()) == TRUTH


def test_a_course_is_read_back_and_not_run_again(tmp_path):
    results = tmp_path / "results" / "r.jsonl"
    brief = replace(CASES["queue, none"], clock_s=(50.0,), updates=(3,))
    (first,) = run([brief], [5], results=results, again=False, tell=lambda course: None)
    (again,) = run([brief], [5], results=results, again=False, tell=lambda course: None)
    assert again == first == read(results)[0]
    assert len(results.read_text().splitlines()) == 1


def test_equal_seeds_give_equal_courses():
    brief = replace(CASES["queue, linear"], clock_s=(300.0,), updates=(20,))
    one, other = follow(brief, 3), follow(brief, 3)
    assert (one.by_clock, one.by_updates, one.late) == (other.by_clock, other.by_updates, other.late)


def test_the_page_gets_a_section_and_keeps_what_is_around_it(tmp_path):
    page = tmp_path / "duration.md"
    page.write_text(f"before\n{BEGIN}\nold\n{END}\nafter\n")
    write(page, [course("queue, none", seed, 0.9) for seed in (1, 2)])
    text = page.read_text()
    assert text.startswith("before\n")
    assert text.endswith("after\n")
    assert "| queue, none | 0.400 +- 0.000 | 0.900 +- 0.000 | 0.400 +- 0.000 | 0.900 +- 0.000 |" in text
    assert "- queue, none: all seeds prefer the better arm: the better arm in 2 of 2." in text
    assert "old" not in text


def test_the_entropy_gradient_is_that_of_the_entropy():
    learner = Learner(np.random.default_rng(1), 0.1)
    learner.policy = np.array([0.2, 0.5, 0.3])
    logits, small = np.log(learner.policy), 1e-6

    def entropy(logits):
        policy = np.exp(logits) / np.exp(logits).sum()
        return -(policy @ np.log(policy))

    numeric = [(entropy(logits + small * unit) - entropy(logits - small * unit)) / (2 * small) for unit in np.eye(3)]
    np.testing.assert_allclose(learner._entropy_gradient(), numeric, atol=1e-8)


def test_results_are_plain_json(tmp_path):
    results = tmp_path / "r.jsonl"
    brief = replace(CASES["queue, none"], clock_s=(50.0,), updates=(3,))
    run([brief], [1], results=results, again=False, tell=lambda course: None)
    assert json.loads(results.read_text())["case"] == "queue, none"
