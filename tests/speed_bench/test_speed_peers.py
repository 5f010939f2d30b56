"""A program of others takes its turn beside ours, and the page shows what ours is of its figure."""

from contextlib import nullcontext

import pytest

from benchmarks.peers.beside import PROGRAMS, beside
from benchmarks.peers.page import line, write
from benchmarks.peers.peers import LEARNER, REPLAY, ROLLOUT, Peer
from sojourn.bench.measured import here
from sojourn.bench.speed import learner, replay, rollout
from sojourn.bench.speed.figure import US, Figure, Row
from sojourn.bench.speed.page import marks
from sojourn.bench.speed.run import Scene, Work, measure, rows_of

SAMPLE = Row(name="sample", what="samples", unit="items/s", target=100.0)
BESIDE = Row(name="beside", what="inserts beside it", unit="steps/s")
PROGRAM = """
import sys
sys.path.append({programs!r})
from turns import serve
print("what a library says")
turns = []
serve({{"both": lambda seconds: [turns.append(seconds) or len(turns), seconds], "broken": lambda seconds: sys.exit("it is broken")}})
"""


@pytest.fixture
def other(tmp_path):
    program = tmp_path / "with_other.py"
    program.write_text(PROGRAM.format(programs=str(PROGRAMS)))
    return lambda asked: Peer("Other 1.0", str(program), "", {"sample": asked, "beside": asked})


def scene(order: list[str]) -> Scene[None]:
    return Scene(lambda size: nullcontext(), (Work((SAMPLE, BESIDE), lambda at: order.append("ours") or (1.0, 2.0)),))


def figure(row: Row, who: str, *values: float, bench: str = "replay") -> Figure:
    return Figure(**vars(row), bench=bench, who=who, values=values, **here("make bench-peers"))


def test_a_program_of_others_takes_its_turn_after_each_of_ours(other, tmp_path):
    order: list[str] = []
    figures = list(measure("replay", [beside(scene(order), [other("both")], tmp_path)], "make bench-peers"))
    assert [(found.name, found.who) for found in figures] == [
        ("sample", US),
        ("beside", US),
        ("sample", "Other 1.0"),
        ("beside", "Other 1.0"),
    ]
    assert figures[2].values == (1.0, 2.0, 3.0, 4.0, 5.0)
    assert figures[2].target is None
    assert order == ["ours"] * 5
    assert (tmp_path / "with_other.log").read_text() == "what a library says\n"


def test_a_program_that_ends_instead_of_answering_is_named_with_its_log(other, tmp_path):
    with pytest.raises(RuntimeError, match=r"Other 1\.0 gave no answer; .*with_other\.log"):
        list(measure("replay", [beside(scene([]), [other("broken")], tmp_path)], "make bench-peers"))
    assert "it is broken" in (tmp_path / "with_other.log").read_text()


def test_a_line_says_what_ours_is_of_theirs_and_whether_that_is_enough():
    ours, theirs = figure(SAMPLE, US, 300.0), figure(SAMPLE, "Other 1.0", 190.0, 200.0, 230.0)
    assert line(ours, theirs, None) == "| `sample` | samples | 300 items/s | Other 1.0 | 200 items/s | 190, 230 | 1.5 |\n"
    assert line(ours, theirs, 1.3).endswith("| 1.5; must be 1.3 |\n")
    assert line(ours, theirs, 1.7).endswith("| 1.5; **must be 1.7** |\n")


def test_the_page_has_the_rows_of_others_and_says_who_is_left_out(tmp_path):
    page = tmp_path / "benchmarks.md"
    begin, end = marks("peers")
    page.write_text(f"by hand\n{begin}\n{end}\n")
    write(
        page,
        [],
        [figure(SAMPLE, US, 300.0), figure(BESIDE, US, 1.0), figure(SAMPLE, "Other 1.0", 100.0)],
        {"Third 2.0": "no wheel"},
    )
    shown = page.read_text()
    assert shown.startswith("by hand\n")
    assert "| Other 1.0 |" in shown
    assert "`beside`" not in shown
    assert "Third 2.0 is left out: no wheel" in shown


@pytest.mark.parametrize(("peers", "scenes"), [(REPLAY, replay.SCENES), (ROLLOUT, rollout.SCENES), (LEARNER, learner.SCENES)])
def test_others_are_measured_at_rows_that_there_are(peers, scenes):
    for peer in peers:
        assert set(peer.rows) | set(peer.needed) <= set(rows_of(scenes))
        assert (PROGRAMS / peer.program).exists()
