"""Does a report say what a run recorded, in one file that needs no other, on light and on dark paper?"""

import json
import math
import re
from html.parser import HTMLParser

import pytest

from sojourn.config.load import load_config
from sojourn.errors import ConfigError
from sojourn.monitor import DurationRecord, Progress
from sojourn.monitor.recorder import Recorder
from sojourn.report import write_report
from sojourn.report.history import active_seconds, read_history, shares
from sojourn.run_folder import create_run


@pytest.fixture
def recorded(tmp_path):
    """A run of three minutes in two launches."""
    config = load_config(None, [f"run.folder={tmp_path}", "run.name=one", "run.expected_return=-200"])
    path = create_run(config, ["sojourn", "train", "<x>.yaml", "replay.redis_url=redis://me:hunter2@host:1"])
    for launch in range(2):
        with Recorder(path) as recorder:
            for second in range(90):
                recorder.keep(record(launch * 90 + second, float(second)))
    with (path / "evaluations.jsonl").open("w") as file:
        for steps in (0, 5_000, 10_000):
            file.write(json.dumps(evaluation(steps)) + "\n")
        file.write('{"env_steps": 15')
    return path


def record(second, elapsed_s):
    return Progress(
        time_s=1e9 + second,
        elapsed_s=elapsed_s,
        env_steps=second * 100,
        env_steps_per_s=100.0,
        learner_step=second * 50,
        updates_per_s=50.0,
        training_return=-1_000.0 + 5 * second,
        replay_items=second * 100,
        replay_capacity_items=20_000,
        replay_oldest_s=float(second),
        replay_age_s=second / 2,
        policy_lag=1.5,
        duration_p50_s=0.002,
        duration_p99_s=0.2,
        restarts={"actor-0": 2},
        duration_counts={"0.001": 0, "0.01": 60, "0.1": 90, "1": 100, "inf": 100},
        lag_counts={"0": 10, "1": 30, "inf": 40},
    )


def durations(second):
    """A thousand quick actions and as many slow ones were started, of the slow ones half were learned from; then as much again."""
    counts = {"0.5": 1_000.0 * second, "20": 500.0 * second}
    every = ("actions", "collected", "collected_squares", "weighted", "weighted_squares", "measured", "lag_versions", "td_error")
    labels = {"action": {"0": 1_000.0 * second, "1": 500.0 * second}}
    return DurationRecord(
        time_s=1e9 + second,
        elapsed_s=float(second),
        buckets={"expected": dict.fromkeys(counts, 1_000.0 * second), **dict.fromkeys(every, counts)},
        labels={"expected": {"action": dict.fromkeys("01", 1_000.0 * second)}, "collected": labels, "weighted": labels},
        facts={"started": 2_000.0 * second, "sampled_items": 1_500.0 * second},
    )


def evaluation(steps):
    mean = -1_000.0 + steps / 20
    return {
        "env_steps": steps,
        "policy_version": steps // 10,
        "episodes": 10,
        "return_mean": mean,
        "return_std": 20.0,
        "best": True,
    }


class Page(HTMLParser):
    """Checks that elements close in order, and gathers what the page would load from elsewhere."""

    VOID = frozenset({"meta", "br", "hr", "img", "link"})

    def __init__(self):
        super().__init__()
        self.open, self.loads, self.elements = [], [], []

    def handle_starttag(self, tag, attributes):
        self.elements.append(tag)
        self.loads += [value for name, value in attributes if name in ("src", "href", "xlink:href") and not value.startswith("#")]
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.elements.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def test_the_page_is_whole_and_needs_no_other_file(recorded):
    path = write_report(recorded)
    page = Page()
    page.feed(path.read_text())
    assert page.open == []
    assert page.loads == []
    assert page.elements.count("svg") == 6
    assert path == recorded / "report.html"
    assert path.stat().st_size < 500_000


def test_the_page_says_what_was_reached(recorded):
    text = write_report(recorded).read_text()
    for said in (
        "<th>environment</th><td>Pendulum-v1</td>",
        "<th>best evaluation</th><td>-500</td>",
        "<th>expected return</th><td>-200</td>",
        "<th>environment steps</th><td>17,900</td>",
        "<th>time</th><td>2 min 58 s</td>",
        "<th>restarts of roles</th><td>actor-0 2</td>",
        "&lt;x&gt;.yaml",
        "prioritised",
        "numpy==",
    ):
        assert said in text
    assert "hunter2" not in text
    assert len(re.findall(r'<tr><td class="number">', text)) == 3


def test_figures_take_the_colour_of_the_page(recorded):
    text = write_report(recorded).read_text()
    assert "prefers-color-scheme: dark" in text
    assert "fill: currentColor" in text
    assert "#0b0c0d" not in text


def test_every_figure_is_a_picture_of_its_own_too(recorded):
    write_report(recorded)
    pictures = sorted((recorded / "plots").iterdir())
    assert [file.stem for file in pictures] == sorted(
        ["learning_curve", "throughput", "policy_lag", "lag_distribution", "duration_distribution", "replay_age"]
    )
    assert all(file.read_bytes().startswith(b"\x89PNG") for file in pictures)


def test_durations_have_a_section_with_the_doctors_words_and_their_figures(recorded):
    with Recorder(recorded) as recorder:
        for second in (5, 10):
            recorder.keep_durations(durations(second))
    text = write_report(recorded).read_text()
    page = Page()
    page.feed(text)
    assert page.open == []
    assert page.elements.count("svg") == 6 + 5
    section = text[text.index("<h2>Durations: started and learned from</h2>") :]
    assert "BIASED: too many quick actions, durations started and learned from differ by 0.167" in section
    assert {"duration_law", "label_shares", "duration_gap", "lag_by_duration", "outcome_by_duration"} <= {
        file.stem for file in (recorded / "plots").iterdir()
    }


def test_a_run_that_recorded_nothing_has_a_report_that_says_so(tmp_path):
    path = create_run(load_config(None, [f"run.folder={tmp_path}"]), ["sojourn"])
    text = write_report(path).read_text()
    assert "Nothing was recorded yet." in text
    assert "None yet." in text


def test_a_folder_that_is_no_run_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="is not a run"):
        write_report(tmp_path)


def test_durations_are_counted_over_all_launches(recorded):
    history = read_history(recorded)
    assert history.counts(lambda one: one.duration_counts)[math.inf] == 200  # 100 in each


def test_launches_follow_each_other_on_the_time_axis():
    records = [Progress(0.0, elapsed_s) for elapsed_s in (0.0, 5.0, 9.0, 1.0, 4.0)]
    assert active_seconds(records) == [0.0, 5.0, 9.0, 10.0, 13.0]


@pytest.mark.parametrize(
    ("counts", "parts"),
    [
        ({}, []),
        ({1.0: 0.0, math.inf: 0.0}, []),
        ({1.0: 0.0, 2.0: 1.0, 4.0: 4.0, math.inf: 4.0}, [("to 2", 0.25), ("to 4", 0.75)]),
        ({1.0: 1.0, math.inf: 2.0}, [("to 1", 0.5), ("over 1", 0.5)]),
    ],
)
def test_cumulative_counts_become_shares_without_empty_ends(counts, parts):
    assert shares(counts) == parts
    assert math.isclose(sum(part for _, part in parts), 1.0 if parts else 0.0)
