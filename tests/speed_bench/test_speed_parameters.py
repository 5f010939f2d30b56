"""Publications go through a real service to watchers in processes of their own, one of which may have stopped reading."""

from sojourn.bench.speed.parameters import SCENES
from sojourn.bench.speed.run import measure, rows_of


def test_actions_under_each_version_are_timed_beside_a_watcher_that_never_reads():
    names = ["p50-16-one-silent"]
    median, most, handed_over = measure("parameters", SCENES, "test", names=names, quick=True)
    assert 0.0 < median.median <= most.median
    assert handed_over.median < most.median


def test_every_row_has_a_name_of_its_own():
    assert len(rows_of(SCENES)) == sum(len(work.rows) for scene in SCENES for work in scene.works)
