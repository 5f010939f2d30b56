"""How fast are others at the same work? Measures them turn by turn beside ours, and writes docs/benchmarks.md. `make bench-peers` starts it."""

import argparse
import sys
from collections.abc import Sequence
from importlib import import_module

from benchmarks.peers.beside import beside
from benchmarks.peers.environments import ENVIRONMENTS, ROOT, NotInstallableError, python_of
from benchmarks.peers.page import write
from benchmarks.peers.peers import LEARNER, REPLAY, ROLLOUT, Peer
from sojourn.bench.speed.figure import append, read
from sojourn.bench.speed.page import number
from sojourn.bench.speed.run import measure

BENCHES = {"replay": REPLAY, "rollout": ROLLOUT, "learner": LEARNER}
RESULTS = ROOT / "docs" / "results" / "peers.jsonl"
PAGE = ROOT / "docs" / "benchmarks.md"


def main() -> int:
    """Every bench asked for, then the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("benches", nargs="*", help=f"of {', '.join(BENCHES)}; none: all")
    parser.add_argument("--row", action="append", default=[], help="only this row; may be repeated")
    parser.add_argument(
        "--quick", action="store_true", help="one short turn at a reduced size, to see that it works; nothing is written"
    )
    given = parser.parse_args()
    if unknown := set(given.benches) - set(BENCHES):
        parser.error(f"unknown bench {unknown.pop()!r}; there are {', '.join(BENCHES)}")
    left_out: dict[str, str] = {}
    for bench in given.benches or BENCHES:
        compare(bench, installable(BENCHES[bench], left_out), given.row, given.quick)
    if not given.quick:
        write(PAGE, [peer for peers in BENCHES.values() for peer in peers], read(RESULTS), left_out)
    return 0


def installable(peers: Sequence[Peer], left_out: dict[str, str]) -> list[Peer]:
    """Those whose packages can be had here; why the others' cannot is written down."""
    found = []
    for peer in peers:
        try:
            python_of(peer.environment)
        except NotInstallableError as error:
            left_out[peer.who] = str(error)
            print(f"{peer.who} is left out: {error}", flush=True)
        else:
            found.append(peer)
    return found


def compare(bench: str, peers: Sequence[Peer], rows: Sequence[str], quick: bool) -> None:
    """Measure what peers have of a bench, ours beside it."""
    wanted = {row for peer in peers for row in peer.rows if not rows or row in rows}
    scenes = [beside(scene, peers, ENVIRONMENTS) for scene in import_module(f"sojourn.bench.speed.{bench}").SCENES]
    if not wanted:
        return
    for figure in measure(bench, scenes, "make bench-peers", names=wanted, quick=quick):
        print(f"{figure.name:22} {figure.who:34} {number(figure.median):>12} {figure.unit}", flush=True)
        if not quick:
            append(RESULTS, figure)


if __name__ == "__main__":
    sys.exit(main())
