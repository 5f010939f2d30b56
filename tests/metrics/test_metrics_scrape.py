"""Every role of a real run exports exactly the series that are listed for it."""

import json
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from sojourn.metrics import SERIES, names_of
from tests.waiting import DEADLINE_S, eventually

ROLES = ("replay", "parameters", "learner", "actor", "evaluator")
LABELS = {series.name: set(series.labels) for series in SERIES}


@pytest.fixture(scope="module")
def scraped(tmp_path_factory) -> dict[str, str]:
    """What each role of a serial run serves, once the learner has made its first steps."""
    folder = tmp_path_factory.mktemp("runs")
    small = [
        "tables.replay.limiter.min_size=200",
        "tables.replay.limiter.samples_per_insert=null",
        "learners.batch_size=32",
        "network.hidden=[16]",
    ]
    command = [sys.executable, "-m", "sojourn.cli", "train", "Pendulum-v1", "--serial", f"run.folder={folder}", *small]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as run:
        try:
            texts = wait_for_roles(folder, run)
        finally:
            run.send_signal(signal.SIGINT)
            run.wait(DEADLINE_S)
    return texts


def wait_for_roles(folder: Path, run: subprocess.Popen[bytes]) -> dict[str, str]:
    """What they serve once all are up and the learner has made a step."""

    def look() -> dict[str, str]:
        assert run.poll() is None
        texts = {role: served(folder, role) for role in ROLES}
        return texts if all(texts.values()) and "sojourn_learner_step 0.0" not in texts["learner"] else {}

    return eventually(look, 2 * DEADLINE_S, look_s=0.2)


def served(folder: Path, role: str) -> str:
    """The role's page, "" while it has not announced itself."""
    found = list(folder.glob(f"*/roles/{role}-0.json"))
    if not found:
        return ""
    endpoint = json.loads(found[0].read_text())["metrics"]
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with direct.open(f"http://{endpoint}/metrics", timeout=DEADLINE_S) as page:
        return page.read().decode()


@pytest.mark.parametrize("role", ROLES)
def test_a_live_role_exports_exactly_its_series(scraped, role):
    families = [family for family in text_string_to_metric_families(scraped[role]) if not family.name.endswith("_created")]
    assert {family.name for family in families} == set(names_of(role))
    assert all(family.documentation for family in families)


@pytest.mark.parametrize("role", ROLES)
def test_labels_are_the_declared_ones_with_few_values(scraped, role):
    for family in text_string_to_metric_families(scraped[role]):
        samples = [sample for sample in family.samples if not sample.name.endswith("_created")]
        labels = {label for sample in samples for label in sample.labels} - {"le"}
        assert labels <= LABELS.get(family.name, set()), family.name
        values = {tuple(v for k, v in sample.labels.items() if k != "le") for sample in samples}
        assert len(values) <= 20, f"{family.name} has {len(values)} label values"
