"""Does the page on planted mistakes keep its reasons, and does it want one for each survivor?"""

import json
from pathlib import Path

from benchmarks.mutants.page import ROW, write

ROOT = Path(__file__).parents[2]
SURVIVOR = {
    "file": "replay/limiter.py",
    "function": "f",
    "sound": "def f(x):\n    return x | 1 < 2",
    "mutated": "def f(x):\n    return x | 1 <= 2",
}


def test_a_survivor_needs_a_reason_which_the_page_keeps(tmp_path):
    page = tmp_path / "mutants.md"
    (tmp_path / "limiter.json").write_text(
        json.dumps({"cpu_s": 1, "mutants": {"replay/limiter.py": 10}, "survivors": [SURVIVOR]})
    )

    assert write(page, tmp_path, ["limiter"], "1.0") == 1
    [row] = ROW.finditer(page.read_text())
    assert row["sound"] == r"return x \| 1 < 2"
    page.write_text(page.read_text().replace(row[0], row[0][:-1] + "never above two |"))
    assert write(page, tmp_path, ["limiter"], "1.0") == 0
    assert "never above two" in page.read_text()


def test_too_few_killed_are_no_success(tmp_path):
    (tmp_path / "limiter.json").write_text(json.dumps({"cpu_s": 1, "mutants": {"replay/limiter.py": 6}, "survivors": [SURVIVOR]}))
    page = tmp_path / "mutants.md"
    write(page, tmp_path, ["limiter"], "1.0")
    page.write_text(page.read_text().replace("|  |", "| never above two |"))
    assert write(page, tmp_path, ["limiter"], "1.0") == 1
    assert write(page, tmp_path, ["limiter", "targets"], "1.0") == 0  # not written: a part is missing


def test_every_survivor_of_the_page_has_a_reason():
    reasons = [row["reason"].strip() for row in ROW.finditer((ROOT / "docs" / "mutants.md").read_text())]
    assert reasons
    assert all(reasons)
