"""A row is measured turn by turn, judged by its target, kept as a line, and shown on the page."""

from contextlib import contextmanager
from dataclasses import replace

import pytest

from sojourn.bench.measured import here
from sojourn.bench.speed.figure import Figure, Row, append, read
from sojourn.bench.speed.page import line, marks, write
from sojourn.bench.speed.run import TURNS, Scene, Work, measure, rows_of
from sojourn.errors import ConfigError

FAST = Row(name="fast", what="steps of a clock", unit="steps/s", target=100.0, shortfall="it is slow")
SMALL = Row(name="small", what="its memory", unit="MB", target=5.0, higher=False)


def figure(row: Row, *values: float) -> Figure:
    return Figure(**vars(row), bench="replay", values=values, **here("sojourn bench replay"))


def counting(opened: list[str]) -> Scene[list[str]]:
    """A scene whose works give the number of things that were done on it before."""

    @contextmanager
    def scene(size):
        opened.append("open")
        yield opened
        opened.append("closed")

    def turn(of: str):
        def done(at: list[str]) -> tuple[float]:
            at.append(of)
            return (float(len(at)),)

        return done

    return Scene(scene, (Work((FAST,), turn("fast")), Work((SMALL,), turn("small"))))


def test_works_of_a_scene_take_turns_while_it_is_open():
    done: list[str] = []
    figures = list(measure("replay", [counting(done)], "command"))
    assert done == ["open", *["fast", "small"] * TURNS, "closed"]
    assert [found.values for found in figures] == [(2.0, 4.0, 6.0, 8.0, 10.0), (3.0, 5.0, 7.0, 9.0, 11.0)]
    assert figures[0].median == 6.0


def test_only_named_rows_are_measured_and_an_unknown_one_is_refused():
    done: list[str] = []
    assert [found.name for found in measure("replay", [counting(done)], "command", names=["small"], quick=True)] == ["small"]
    assert done == ["open", "small", "closed"]
    with pytest.raises(ConfigError, match="unknown row 'slow'; there are fast, small"):
        list(measure("replay", [counting([])], "command", names=["slow"]))


@pytest.mark.parametrize(
    ("row", "values", "met"),
    [
        (FAST, (99.0, 100.0, 101.0), True),
        (FAST, (99.0, 99.0, 500.0), False),
        (SMALL, (4.0, 5.0, 9.0), True),
        (SMALL, (4.0, 6.0, 9.0), False),
        (replace(FAST, target=None), (0.0,), True),
    ],
)
def test_the_median_is_what_must_reach_the_target(row, values, met):
    assert figure(row, *values).met == met


def test_a_figure_comes_back_from_its_file(tmp_path):
    results = tmp_path / "results" / "speed.jsonl"
    for found in (figure(FAST, 1.0, 2.0), figure(SMALL, 3.0)):
        append(results, found)
    assert read(results) == [figure(FAST, 1.0, 2.0), figure(SMALL, 3.0)]
    assert read(tmp_path / "none.jsonl") == []


def test_a_line_says_what_was_on_and_why_it_falls_short():
    said = line(figure(FAST, 90.0, 80.0, 95.5))
    assert said == (
        "| `fast` | steps of a clock | prioritised, append-only Redis, inclusion | 90 steps/s | 80, 95.5 | 100 "
        "| **falls short**: it is slow |\n"
    )


def test_the_page_shows_the_latest_figure_of_each_row_between_its_marks(tmp_path):
    page = tmp_path / "benchmarks.md"
    begin, end = marks("replay")
    page.write_text(f"by hand\n{begin}\nold\n{end}\nby hand too\n")
    rows = rows_of([counting([])])
    write(page, "replay", rows, [figure(SMALL, 1.0), figure(FAST, 50.0), figure(FAST, 250.0)])
    shown = page.read_text()
    assert shown.startswith("by hand\n")
    assert shown.endswith("by hand too\n")
    assert "old" not in shown
    assert shown.index("`fast`") < shown.index("`small`")
    assert "250 steps/s" in shown
    assert "falls short" not in shown
    assert shown.count("`sojourn bench replay`") == 1
