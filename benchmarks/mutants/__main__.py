"""Would the tests notice a mistake in a formula? Plants small mistakes one by one, and writes docs/mutants.md. `make mutants` starts it."""

import argparse
import json
import os
import subprocess
import sys
from importlib.metadata import version

from benchmarks.mutants.judging import judged
from benchmarks.mutants.page import write
from benchmarks.mutants.parts import PARTS
from benchmarks.mutants.planting import ROOT

RESULTS = ROOT / "build" / "mutants"


def main() -> int:
    """Every part asked for, in a process of its own; then the page. Not 0 for too few killed, or a survivor without a reason."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("parts", nargs="*", help=f"of {', '.join(PARTS)}; none: all")
    parser.add_argument("--within", choices=PARTS, help="judge this part in this process, and write no page")
    given = parser.parse_args()
    RESULTS.mkdir(parents=True, exist_ok=True)
    if given.within:
        (RESULTS / f"{given.within}.json").write_text(json.dumps(judged(PARTS[given.within])))
        return 0
    for name in given.parts or PARTS:
        print(f"{name}: mistakes that no test notices", flush=True)
        surroundings = {**os.environ, "OMP_NUM_THREADS": "1", "NUMBA_DISABLE_JIT": str(int(PARTS[name].interpreted))}
        subprocess.run([sys.executable, "-m", "benchmarks.mutants", "--within", name], cwd=ROOT, env=surroundings, check=True)
    return write(ROOT / "docs" / "mutants.md", RESULTS, list(PARTS), version("mutmut"))


if __name__ == "__main__":
    sys.exit(main())
