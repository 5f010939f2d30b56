"""docs/metrics.md and sojourn/metrics.py say the same, series by series."""

import re
from pathlib import Path

import pytest

from sojourn.metrics import SERIES, Metrics, Series, names_of

PAGE = (Path(__file__).parents[2] / "docs" / "metrics.md").read_text()
HEADINGS = {
    "replay": "Replay service",
    "parameters": "Parameter service",
    "actor": "Actors",
    "evaluator": "Evaluator",
    "learner": "Learners",
}


def row(series: Series) -> str:
    """A series as the page writes it."""
    labels = ", ".join(f"`{label}`" for label in series.labels)
    return f"| `{series.name}` | {series.kind} | {labels} | {series.help} |".replace("|  |", "| |")


def heading(series: Series) -> str:
    return "Every role" if len(series.roles) == len(HEADINGS) else HEADINGS[series.roles[0]]


def test_the_page_has_every_series_under_its_role_and_no_other():
    sections = dict(re.findall(r"^## (.+?)\n(.*?)(?=^## |\Z)", PAGE, flags=re.MULTILINE | re.DOTALL))
    written = {name: re.findall(r"^\| `.*$", text, flags=re.MULTILINE) for name, text in sections.items()}
    assert written == {name: [row(series) for series in SERIES if heading(series) == name] for name in sections}
    assert set(sections) == {"Every role", *HEADINGS.values()}


def test_names_are_unique_and_carry_their_unit():
    names = [series.name for series in SERIES]
    assert sorted(set(names)) == sorted(names)
    assert all(re.fullmatch(r"sojourn_[a-z_]+", name) for name in names)
    timed = [series for series in SERIES if series.kind == "histogram"]
    assert [s.name for s in timed if not re.search(r"_(seconds|versions|bytes|steps)$", s.name)] == []


def test_labels_come_from_small_fixed_sets():
    known = {"outcome", "kind", "table", "call", "client_role", "name", "bucket", "label", "fate"}
    known |= {"pool", "speed_class"}  # of the configured fleets, and at most as many as the start log has strata
    assert {label for series in SERIES for label in series.labels} <= known


@pytest.mark.parametrize("role", HEADINGS)
def test_a_role_gets_its_series_and_nobody_elses(role):
    metrics = Metrics(role)
    families = {family.name for family in metrics.registry.collect()}
    assert families == set(names_of(role))
