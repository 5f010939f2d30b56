"""The start log against a slow obvious list of what was started, and against what cannot be."""

import json
from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from replay.client_records import Counts, Running
from replay.start_log import StartLog
from replay.start_log_state import StartLogPages, StoredStartLog
from replay.stratum import KEPT_STARTS, Starts, Stratum
from replay.summaries import censored, clusters, remaining_windows, start_times, summary
from replay.versions import Versions
from sojourn.experience import EndKind

LIFE = ("actor-0", 1)


def running(number: int, age_s: float, *, lane: int = 0, ended: EndKind | None = None, **told: float) -> Running:
    told.setdefault("episode_age_s", age_s)
    return Running(lane=lane, action_number=number, age_s=age_s, policy_version=0, ended=ended, **told)


class Log(StartLog):
    """A log of one-step episodes, told in the test's words."""

    def __init__(self, kit: object, kept: int = KEPT_STARTS, *, simulated: bool = False) -> None:
        super().__init__(kept, simulated=simulated)
        self.kit, self._sequence = kit, {}

    def row(self, start_s: float, duration_s: float, *, lane: int = 0, stream=LIFE, late_s: float = 0.0):
        first = self._sequence.get((stream, lane), 0)
        self._sequence[stream, lane] = first + 2
        now_s = start_s + duration_s + late_s
        return self.arrived(stream, self.kit.rows(self.kit.one_steps(lane, first, start_s, duration_s), now_s), now_s, now_s)

    def told(self, now_s: float, *actions: Running, stream=LIFE) -> None:
        self.reported(stream, Counts(started=1_000), actions, now_s)


@pytest.fixture
def log(kit) -> Log:
    return Log(kit)


def test_a_row_is_a_start_at_its_arrival_less_its_age(log):
    log.row(3.0, 2.0, late_s=1.0)
    starts = log.strata[0].starts()

    assert starts.start_s.tolist() == [3.0]
    assert starts.duration_s.tolist() == [2.0]
    assert starts.kind.tolist() == [EndKind.COMPLETED]
    assert starts.first.tolist() == [True]


def test_what_is_left_of_a_window_counts_for_finished_running_and_aborted_starts(log):
    log.row(0.0, 4.0)
    log.told(10.0, running(2, 6.0), running(1, 9.0, lane=1, ended=EndKind.ABORTED))
    log.row(1.0, 1.0, lane=2)
    assert len(remaining_windows(log, 0, episodes=False).time) == 0  # no window has ended

    log.end_window("", 10.0)
    log.row(12.0, 1.0, lane=2)  # of the next window

    table = remaining_windows(log, 0, episodes=False)
    assert table.time.tolist() == [6.0, 9.0, 10.0]  # lane 0's second start at 4; lanes 1 and 2 at 1; lane 0 at 0
    assert table.leaving.tolist() == [1.0, 2.0, 1.0]


def test_a_start_at_the_very_end_of_a_window_belongs_to_the_next(log):
    log.end_window("", 10.0)
    log.row(10.0, 1.0)
    log.end_window("", 15.0)

    assert remaining_windows(log, 0, episodes=False).time.tolist() == [5.0]


def test_an_action_is_in_one_place_when_its_row_comes_before_or_after_its_listing(log):
    log.told(5.0, running(1, 4.0))
    assert [action.start_s for action in log.running(0)] == [1.0]
    log.row(1.0, 6.0)
    assert log.running(0) == []
    log.told(7.1, running(1, 6.1))  # overtaken: it says what was so before the row came
    assert log.running(0) == []
    log.told(9.0, running(2, 1.5))
    assert [action.start_s for action in log.running(0)] == [7.5]


def test_a_report_of_an_end_leaves_the_lanes_next_action_running(log):
    log.told(5.0, running(2, 1.0), running(1, 4.0, ended=EndKind.CRASHED))
    assert [(action.action_number, action.start_s) for action in log.running(0)] == [(2, 4.0)]
    log.told(6.0, running(2, 2.0, ended=EndKind.ABORTED))

    assert log.running(0) == []
    assert len(log.strata[0]) == 2


def test_a_life_that_ends_while_it_runs_something_crashed_then(log):
    log.told(5.0, running(1, 4.0), running(1, 2.0, lane=1))
    log.closed(LIFE)
    log.closed(LIFE)
    starts = log.strata[0].starts()

    assert sorted(starts.duration_s.tolist()) == [2.0, 4.0]
    assert set(starts.kind.tolist()) == {EndKind.CRASHED}
    assert log.odd["never_ended"] == 2
    assert log.running(0) == []


def test_a_life_taken_for_dead_may_still_report_its_ends_once(log):
    log.told(5.0, running(1, 4.0))
    log.closed(LIFE)
    log.told(6.0, running(1, 4.2, ended=EndKind.ABORTED))

    assert len(log.strata[0]) == 1
    assert +log.odd == {}


def test_what_cannot_be_is_counted_and_left_out(log):
    log.reported(LIFE, Counts(started=1, ended=(2, 0, 0, 0, 0)), [], 1.0)
    log.told(2.0, running(1, 0.0, odd=True), running(2, 1e12), running(3, 1.0, episode_age_s=1e300))
    log.told(3.0, running(4, 1.0, ended=EndKind.FAILED), running(4, 1.0, ended=EndKind.FAILED))
    log.row(3.0, 0.0)
    log.end_window("", 9.0)
    log.end_window("", 8.0)

    assert +log.odd == {"end_without_start": 1, "odd_age": 3, "two_ends": 1, "zero_duration": 1, "window_back": 1}
    assert len(log.strata[0]) == 2
    assert log.window_ends("").tolist() == [9.0]


def test_episodes_begin_with_their_first_start_and_steps_know_it(kit, log):
    def step(sequence: int, episode: int, start_s: float, duration_s: float, *, closed: bool = False):
        segment = kit.one_steps(0, sequence, start_s, duration_s)[0]
        changed = {**vars(segment), "episode": episode, "closed": closed, "terminated": np.array([closed])}
        now_s = start_s + duration_s
        return log.arrived(LIFE, kit.rows([type(segment)(**changed)], now_s), now_s, now_s)["episode_start_s"].tolist()

    assert step(0, 0, 10.0, 2.0) == [10.0]
    assert step(1, 0, 13.0, 1.0) == [10.0]
    assert step(2, 0, 15.0, 1.0, closed=True) == [10.0, 10.0]
    assert step(4, 1, 20.0, 1.0) == [20.0]
    assert np.isnan(step(7, 1, 30.0, 1.0)).all()  # rows are missing before it
    assert log.strata[0].starts().first.tolist() == [True, False, False, True, False]


def test_only_an_episodes_first_start_counts_for_windows_of_episodes(kit, log):
    log.row(0.0, 1.0)
    log.told(20.0, running(2, 18.0, episode_age_s=18.0), running(3, 5.0, lane=1, episode_age_s=15.0, ended=EndKind.ABORTED))
    log.row(5.0, 10.0, lane=2)
    log.told(20.0, running(2, 4.0, lane=2, episode_age_s=15.0, ended=EndKind.ABORTED))
    log.end_window("", 20.0)

    # lane 0: episodes at 0 and 2 (no longer listed), lane 1: at 5, its rows are not here; lane 2: at 5, its second action is no first
    assert remaining_windows(log, 0, episodes=True).leaving.sum() == 3.0


ENDS = {"row": None, "crash": EndKind.CRASHED, "abort": EndKind.ABORTED}


@dataclass
class SlowStart:
    start: float
    observed: float
    cut: bool


@settings(deadline=None, max_examples=40)
@given(plan=st.lists(st.tuples(st.integers(1, 9), st.sampled_from(list(ENDS))), min_size=1, max_size=40), lanes=st.integers(1, 9))
def test_windows_and_censoring_equal_the_slow_list(kit, plan, lanes):
    log, starts = StartLog(), []
    now = [0.0] * lanes
    sequence = [0] * lanes
    for place, (length, how) in enumerate(plan):
        lane = place % lanes
        begin, now[lane] = now[lane], now[lane] + length
        starts.append(SlowStart(begin, float(length), how != "row"))
        if ENDS[how] is None:
            log.arrived(
                LIFE, kit.rows(kit.one_steps(lane, sequence[lane], begin, float(length)), now[lane]), now[lane], now[lane]
            )
            sequence[lane] += 2
        else:
            log.reported(LIFE, Counts(started=99), [running(place, float(length), lane=lane, ended=ENDS[how])], now[lane])
    end = max(now) + 1.0
    log.end_window("", end)
    x = np.arange(0.5, 12.0)

    windows = remaining_windows(log, 0, episodes=False)
    assert [windows.leaving[windows.time >= v].sum() for v in x] == [sum(end - s.start >= v for s in starts) for v in x]
    table = censored(log, 0)
    assert [table.events[table.time >= v].sum() for v in x] == [sum(s.cut and s.observed >= v for s in starts) for v in x]
    assert [table.leaving[table.time >= v].sum() for v in x] == [sum(s.observed >= v for s in starts) for v in x]


def test_a_stratum_keeps_the_latest_starts_and_grows_to_its_bound_only():
    stratum = Stratum("", "", kept=3_000)
    for first in range(0, 10_000, 700):
        values = np.arange(first, first + 700, dtype=np.float64)
        stratum.add(Starts(values, values, np.zeros(700, np.uint8), np.ones(700, bool)))

    assert stratum.added == 10_500
    assert stratum.starts().start_s.tolist() == list(range(7_500, 10_500))


def test_windows_of_which_starts_were_forgotten_are_left_out(kit):
    log = StartLog(kept=20)
    for window in range(4):
        for place in range(10):
            begin = 100.0 * window + place
            sequence = 2 * (10 * window + place)
            log.arrived(LIFE, kit.rows(kit.one_steps(0, sequence, begin, 0.5), begin + 0.5), begin + 0.5, begin + 0.5)
        log.end_window("", 100.0 * window + 50.0)

    kept = remaining_windows(log, 0, episodes=False)
    assert kept.leaving.sum() == 10.0  # of the third window the first starts may be gone: only the fourth is whole
    assert kept.time.tolist() == [float(left) for left in range(41, 51)]


def test_lane_seconds_run_from_the_first_start_until_what_was_seen_last(log):
    for place in range(5):
        log.row(10.0 + 3.0 * place, 2.0)  # a second's rest between two
    log.told(27.0, running(6, 2.0))

    said = summary(log, Versions(), "one", by_pool=True)["strata"][0]
    assert (said["lane_seconds"], said["completions"], said["span_s"]) == (17.0, 5, 17.0)


def test_strata_are_told_apart_by_pool_and_speed_class(log):
    for place, (pool, speed) in enumerate((("a", ""), ("b", "slow"), ("a", ""))):
        log.opened((f"actor-{place}", 1), pool, speed, 0.0)
        log.row(0.0, 1.0, stream=(f"actor-{place}", 1))
    log.end_window("b", 10.0)

    assert [(one.pool, one.speed_class, len(one)) for one in log.strata] == [("a", "", 2), ("b", "slow", 1)]
    assert [len(remaining_windows(log, number, episodes=False).time) for number in (0, 1)] == [0, 1]
    assert clusters(log, 1) == 1


def test_start_times_hold_every_start_however_few_points_travel(log):
    for place in range(50):
        log.row(float(place), 0.5)
    log.told(60.0, running(51, 5.0))
    said = start_times(log, 0, most=8)

    assert len(said["time"]) == 8
    assert (said["time"][0], said["time"][-1]) == (0.0, 55.0)
    assert (said["count"][0], said["count"][-1]) == (1, 51)


def lived(kit) -> Log:
    """A log that knows something of every kind: 3,000 starts in two strata, of which 2,500 are kept, what runs, and windows."""
    log, rng = Log(kit, kept=2_500), np.random.default_rng(0)
    log.opened(LIFE, "a", "", 0.0)
    log.opened(("actor-1", 1), "b", "quick", 0.0)
    for start_s in np.arange(0.0, 290.0, 0.1).tolist():
        log.row(start_s, rng.exponential(1.0), lane=int(10 * start_s) % 50)
    log.told(
        299.0, running(7, 2.0, ended=EndKind.CRASHED), running(8, 3.0, lane=1, ended=EndKind.ABORTED), running(9, 3.5, lane=2)
    )
    log.end_window("a", 100.0)
    log.end_window("a", 297.0)
    log.told(299.5, running(3, 0.0, odd=True), running(9, 4.0, lane=2))
    return log


RULES = ("window", "episode_window", "censoring", "start_rate", "staleness")


def test_every_estimate_is_the_same_in_a_later_life_on_another_clock(kit):
    log, versions = lived(kit), Versions()
    for version in range(1, 9):
        versions.learn(version, 40.0 * version)
    pages = StartLogPages(log, whole=True).changed(versions, 77, now_s=300.0, unix_s=5_000.0)
    later, known = Log(kit, kept=2_500), Versions()
    later.opened(("actor-1", 1), "b", "quick", 0.0)  # strata in another order
    later.row(0.0, 1.0, stream=("actor-1", 1))  # what is read back is in the log already
    stored = StoredStartLog(pages)
    stored.restore(later, known, now_s=50.0, unix_s=5_100.0)  # 100 s later, on a clock that stands at 50: 350 s behind

    assert stored.next_row == 77
    assert later.odd == log.odd
    for rule in RULES:
        before, after = summary(log, versions, rule, True), summary(later, known, rule, True)
        assert known.period_s == pytest.approx(versions.period_s)
        strata = {one["pool"]: one for one in after["strata"]}
        for one in before["strata"]:
            moved = 350.0 if rule == "start_rate" else 0.0
            told = strata[one["pool"]]
            assert told.keys() == one.keys()
            for name in one.keys() - {"pool", "speed_class", "time"}:
                assert told[name] == pytest.approx(one[name])
            assert np.array(told.get("time", ())) + moved == pytest.approx(np.array(one.get("time", ())))
    assert [action.start_s for action in later.running(later.stratum("a", ""))] == pytest.approx([295.5 - 350.0])
    assert later.end_window("a", 0.0) == log.end_window("a", 350.0) == 3


def test_rows_read_back_are_judged_by_the_versions_that_their_service_had_heard_of(kit):
    versions, later = Versions(), Versions()
    for version, at_s in ((3, 100.0), (4, 200.0), (6, 290.0)):
        versions.learn(version, at_s)
    stored = StoredStartLog(StartLogPages(lived(kit), whole=False).changed(versions, 77, now_s=300.0, unix_s=5_000.0))
    stored.expect(later, now_s=50.0, unix_s=5_100.0)  # 350 s behind
    later.learn(4, -100.0)

    assert [later.newest_at(at_s - 350.0) for at_s in (99.0, 100.0, 199.0, 200.0, 289.0, 295.0)] == [4, 4, 4, 4, 4, 6]
    assert later.newest == 4
    stored.restore(Log(kit), later, now_s=50.0, unix_s=5_100.0)
    assert later.newest == 6


def test_only_pages_that_have_grown_are_packed_again(kit):
    log, versions = lived(kit), Versions()
    pages = StartLogPages(log, whole=True)
    kept = pages.changed(versions, 1, 300.0, 300.0)
    assert pages.changed(versions, 1, 300.0, 300.0) == {}
    log.row(300.0, 1.0)
    more = pages.changed(versions, 2, 301.0, 301.0)

    assert [name for name in kept if name.startswith("starts:0:")] == ["starts:0:0", "starts:0:1", "starts:0:2"]
    assert sorted(more) == ["starts", "starts:0:2", "starts:lanes"]
    later = Log(kit, kept=2_500)
    StoredStartLog(kept | more).restore(later, versions, 301.0, 301.0)
    assert later.strata[0].starts().start_s == pytest.approx(log.strata[0].starts().start_s)


def test_pages_that_also_say_when_a_result_could_be_drawn_are_read(kit):
    log, versions = lived(kit), Versions()
    pages = StartLogPages(log, whole=True).changed(versions, 1, 300.0, 300.0)
    for name in [name for name in pages if name.startswith("starts:") and name != "starts:lanes"]:
        times_end = 8 + (len(pages[name]) - 8) // 17 * 16
        seen = np.zeros((times_end - 8) // 16)
        pages[name] = pages[name][:times_end] + seen.tobytes() + pages[name][times_end:]
    header = json.loads(pages["starts"])
    del header["columns"]
    later = Log(kit, kept=2_500)
    StoredStartLog(pages | {"starts": json.dumps(header).encode()}).restore(later, versions, 300.0, 300.0)

    for before, after in zip(log.strata, later.strata, strict=True):
        for told, known in zip(after.starts(), before.starts(), strict=True):
            assert told == pytest.approx(known)


def test_a_log_that_no_weight_needs_keeps_its_counts_alone(kit):
    log, versions = lived(kit), Versions()
    pages = StartLogPages(log, whole=False).changed(versions, 77, 300.0, 5_000.0)
    later = Log(kit)
    later.row(1.0, 1.0)
    StoredStartLog(pages).restore(later, versions, 10.0, 5_010.0)

    assert list(pages) == ["starts"]
    assert (later.odd, later.windows("a"), len(later.strata[0])) == (log.odd, 2, 1)


def test_a_log_is_bounded_whatever_it_is_told(kit):
    log = Log(kit, kept=100)
    for number in range(400):
        stream = (f"actor-{number}", 1)
        log.opened(stream, f"pool-{number}", "", float(number))
        ends = [running(place, 1.0, ended=EndKind.ABORTED) for place in range(3 if number else 3_000)]
        log.reported(stream, Counts(started=10_000), ends, float(number))
        log.end_window("a", float(number))
        log.closed(stream)

    assert len(log.strata) == 256
    assert max(map(len, log.strata)) == 100
    assert len(log.lives) == 256
    assert max(len(life.ended) for life in log.lives.values()) <= 1_024
    assert (len(log.window_ends("a")), log.windows("a")) == (100, 400)
    pages = StartLogPages(log, whole=True).changed(Versions(), 1, 400.0, 400.0)
    assert sum(map(len, pages.values())) < 200_000


def test_an_episode_on_an_environments_clock_is_as_long_as_its_actions_however_soon_they_came(kit):
    """Three steps of 20 s each that arrive a millisecond apart, each message with one step."""
    log = Log(kit, simulated=True)
    elapsed_s = []
    for sequence in range(3):
        now_s = 100.0 + 0.001 * sequence
        segment = kit.one_steps(0, sequence, now_s - 0.001, 20.0)[0]
        changed = {**vars(segment), "episode": 0, "closed": False, "terminated": np.array([False])}
        rows = kit.rows([type(segment)(**{**changed, "observation": {"observation": np.zeros((2, 1), np.float32)}})], now_s)
        beside = log.arrived(LIFE, rows, now_s, now_s)
        elapsed_s.append(now_s - rows.start_age_s[0] + 20.0 - beside["episode_start_s"][0])

    assert elapsed_s == pytest.approx([20.0, 40.0, 60.0])
