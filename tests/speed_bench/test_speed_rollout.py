"""A real actor's steps are counted where they arrive, beside the bare simulator on the actor's core."""

import pytest

from sojourn.bench.speed.rollout import SCENES
from sojourn.bench.speed.run import measure


def test_an_actor_is_measured_beside_the_bare_simulator():
    figures = {figure.name: figure.median for figure in measure("rollout", SCENES, "test", names=["lockstep"], quick=True)}
    assert list(figures) == ["lockstep-share", "lockstep", "bare"]
    assert figures["lockstep"] > 0.0
    assert figures["lockstep-share"] == pytest.approx(figures["lockstep"] / figures["bare"])
