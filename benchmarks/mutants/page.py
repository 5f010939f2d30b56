"""How are the results of planted mistakes told? docs/mutants.md: shares, and every survivor with the reason why no test fails.

Reasons are written into the page by hand; a page that is written again keeps those whose survivor is still there.
"""

import difflib
import json
import re
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any

LEAST_SHARE = 0.85
PAGE = """# Planted mistakes

Would the tests notice a mistake in a formula? `make mutants` plants small ones, one at a time, into the code that must be exact, and runs
the fast tests of that code: `<` for `<=`, `+` for `-`, another number, `None` for a value or an argument, an argument left out,
another branch. A mistake is *killed* when a test fails, or runs far longer than it should. At least {least:.0%} of each part must be,
and each survivor needs a reason below: `make mutants` fails otherwise. `make mutants PARTS="limiter targets"` runs some parts only; this page
is written when every part has results in `build/mutants/`. Reasons are written by hand, and kept when the page is written again.

The mistakes are those of mutmut {tool}, in every function, the decorated ones too (mutmut itself leaves kernels and properties out); how
they are planted stands in `benchmarks/mutants/planting.py`, what is judged by which tests in `benchmarks/mutants/parts.py`. All of
them, no sample; examples of properties are the same on every run. Kernels run as plain Python, so the million updates of the sum
tree's slowest test are left out. Written on {today}; {seconds:.0f} processor seconds, one worker.

| part | file | mistakes | killed | survive | share killed |
|---|---|---|---|---|---|
{shares}

## Survivors

| where | instead of | stands | why no test fails |
|---|---|---|---|
{survivors}
"""
ROW = re.compile(r"^\| `(?P<where>[^|]*)` \| `(?P<sound>.*?)` \| `(?P<mutated>.*?)` \| (?P<reason>.*) \|$", re.MULTILINE)


def changed(sound: str, mutated: str) -> tuple[str, str]:
    """The lines that differ, each side on one line."""
    marked = list(difflib.ndiff(sound.splitlines(), mutated.splitlines()))
    sides = (" ".join(line[2:].strip() for line in marked if line[0] == sign) for sign in "-+")
    before, after = (side.replace("|", r"\|").replace("`", "'") for side in sides)
    return before, after


def described(file: str, function: str, sound: str, mutated: str) -> str:
    """A survivor as a row of the page, without its reason."""
    before, after = changed(sound, mutated)
    return f"| `{file} {function}` | `{before}` | `{after}` |"


def write(page: Path, results: Path, parts: list[str], tool: str) -> int:
    """Write the page once every part has results. tool: version of mutmut. Returns 1 for too small a share or a survivor without a reason, else 0."""
    missing = [part for part in parts if not (results / f"{part}.json").exists()]
    if missing:
        print(f"{page.name} is not written: no results of {', '.join(missing)} yet")
        return 0
    found = {part: json.loads((results / f"{part}.json").read_text()) for part in parts}
    known = _reasons(page.read_text()) if page.exists() else {}
    rows = [described(**survivor) for result in found.values() for survivor in result["survivors"]]
    page.write_text(
        PAGE.format(
            least=LEAST_SHARE,
            tool=tool,
            today=date.today(),
            seconds=sum(result["cpu_s"] for result in found.values()),
            shares="\n".join(line for part, result in found.items() for line in _shares(part, result)),
            survivors="\n".join(f"{row} {known.get(row, '')} |" for row in rows),
        )
    )
    unexplained = [row for row in rows if not known.get(row)]
    low = [part for part, result in found.items() if share(result) < LEAST_SHARE]
    print(
        f"{page}: {len(rows)} survivors, {len(unexplained)} without a reason; under {LEAST_SHARE:.0%}: {', '.join(low) or 'none'}"
    )
    return int(bool(unexplained or low))


def share(result: dict[str, Any]) -> float:
    """Killed over all of a part."""
    killed: float = 1.0 - len(result["survivors"]) / sum(result["mutants"].values())
    return killed


def _shares(part: str, result: dict[str, Any]) -> Iterator[str]:
    for file, mutants in result["mutants"].items():
        alive = sum(survivor["file"] == file for survivor in result["survivors"])
        yield f"| {part} | `{file}` | {mutants} | {mutants - alive} | {alive} | {1 - alive / mutants:.1%} |"
    if len(result["mutants"]) > 1:
        total, alive = sum(result["mutants"].values()), len(result["survivors"])
        yield f"| **{part}** | all | {total} | {total - alive} | {alive} | **{share(result):.1%}** |"


def _reasons(page: str) -> dict[str, str]:
    """Reasons by row as `described` writes it."""
    return {f"| `{row['where']}` | `{row['sound']}` | `{row['mutated']}` |": row["reason"].strip() for row in ROW.finditer(page)}
