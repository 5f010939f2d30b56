"""The rows of `sojourn bench parameters`: how long after an optimiser's step do actors act under what it made?

A real parameter service, which keeps each version on disk before anybody sees it; a publisher as a learner has one; watchers in processes
of their own, all on this machine's cores. Blocks for minutes; starts and ends what it needs.
"""

import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path

import numpy as np

from sojourn.algorithms import Policy, build_policy
from sojourn.bench.load.shards import RUN_ID, eventually
from sojourn.bench.row import Size
from sojourn.bench.speed.figure import Row
from sojourn.bench.speed.run import Scene, Work
from sojourn.bench.speed.steps import W1
from sojourn.bench.speed.watching import Watching, silent, watching
from sojourn.config import Config
from sojourn.experience import ParameterSnapshot
from sojourn.parameters.client import Publisher
from sojourn.roles import announced_address

HIDDEN = 490  # two layers of it behind HalfCheetah's observations: 1.0 MB
PUBLICATIONS = 60  # of a turn
PAUSE_S = 0.03  # between the last action under one version and the next publication
DEADLINE_S = 30.0
P50_MS, P99_MS, HANDED_OVER_MS = 50.0, 250.0, 5.0


class Stage:
    """A service, a publisher and watchers."""

    def __init__(self, publisher: Publisher, policy: Policy, watchers: Watching, size: Size) -> None:
        self._publisher, self._policy, self._watchers = publisher, policy, watchers
        self._publications = size.of(PUBLICATIONS, 5)

    def turn(self) -> tuple[float, float, float]:
        """Milliseconds from the optimiser's step to the first action: median and 99th percentile over all; longest publish call's p99."""
        acted_ms: list[float] = []
        handed_over_ms: list[float] = []
        for step in range(self._publications):
            stepped_s = time.monotonic()
            snapshot = ParameterSnapshot(0, step + 1, 0, "sac", self._policy.dump(), published_at_s=stepped_s)
            dumped_s = time.monotonic()
            self._publisher.publish(snapshot)
            handed_over_ms.append(1e3 * (time.monotonic() - dumped_s))
            version = self._publisher.flush(DEADLINE_S)
            acted_ms += [1e3 * (at_s - stepped_s) for at_s in self._watchers.acted(version)]
            time.sleep(PAUSE_S)
        return (*np.percentile(acted_ms, (50, 99)).tolist(), float(np.percentile(handed_over_ms, 99)))


@contextmanager
def service(folder: Path) -> Iterator[str]:
    """A parameter service on a folder; gives its address."""
    with (folder / "parameters.log").open("wb") as log:
        arguments = ["--run-folder", str(folder), "--run-id", RUN_ID]
        process = subprocess.Popen([sys.executable, "-m", "sojourn.parameters", *arguments], stdout=log, stderr=log)
    try:
        eventually((folder / "roles" / "parameters-0.json").exists, "the parameter service")
        yield announced_address(folder, "parameters-0")()
    finally:
        process.terminate()
        process.wait()


def stage(watchers: int, *, one_is_silent: bool = False) -> Callable[[Size], AbstractContextManager[Stage]]:
    """So many watchers, and perhaps one more that never reads."""

    @contextmanager
    def opened(size: Size) -> Iterator[Stage]:
        config = Config.model_validate({"network": {"hidden": (HIDDEN, HIDDEN)}})
        policy = build_policy(config, W1.schema)
        with tempfile.TemporaryDirectory(prefix="sojourn-bench-") as name, ExitStack() as ends:
            target = ends.enter_context(service(Path(name)))
            publisher = Publisher(lambda: target, run_id=RUN_ID, client_id="learner-0")
            ends.callback(publisher.close)
            publisher.publish(ParameterSnapshot(0, 1, 0, "sac", policy.dump(), published_at_s=time.monotonic()))
            if one_is_silent:
                ends.enter_context(silent(target, config))
            yield Stage(
                publisher, policy, ends.enter_context(watching(target, config, size.of(watchers, min(watchers, 2)))), size
            )

    return opened


def _rows(watchers: int, name: str, beside: str = "") -> tuple[Row, ...]:
    who = f"{watchers} watcher{'s' * (watchers > 1)}{beside}"
    what = f"from an optimiser's step to the first action under its 1 MB, {who}"
    return (
        Row(name=f"p50-{name}", what=f"{what}: median", unit="ms", target=P50_MS, higher=False, on=()),
        Row(name=f"p99-{name}", what=f"{what}: 99th percentile", unit="ms", target=P99_MS, higher=False, on=()),
        Row(
            name=f"handed-over-{name}",
            what=f"what the learner's call takes, {who}: 99th percentile",
            unit="ms",
            target=HANDED_OVER_MS,
            higher=False,
            on=(),
        ),
    )


SCENES = (
    *(Scene(stage(watchers), (Work(_rows(watchers, str(watchers)), Stage.turn),)) for watchers in (1, 16, 64)),
    Scene(stage(16, one_is_silent=True), (Work(_rows(16, "16-one-silent", " beside one that never reads"), Stage.turn),)),
)
