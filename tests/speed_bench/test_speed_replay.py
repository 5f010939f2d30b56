"""A row of the replay's benchmark goes through a real service, its Redis and a client in a process of its own."""

from sojourn.bench.speed.figure import ALL_ON
from sojourn.bench.speed.replay import SCENES
from sojourn.bench.speed.run import measure, rows_of


def test_sampling_beside_inserts_is_measured_end_to_end():
    sampled, inserted = measure("replay", SCENES, "test", names=["w1-together"], quick=True)
    assert (sampled.name, inserted.name) == ("w1-together", "w1-together-inserted")
    assert sampled.on == ALL_ON
    assert sampled.median > 0.0
    assert inserted.median > 0.0


def test_every_row_has_a_name_of_its_own():
    assert len(rows_of(SCENES)) == sum(len(work.rows) for scene in SCENES for work in scene.works)
