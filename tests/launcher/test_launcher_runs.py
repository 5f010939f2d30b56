"""Does a whole run under Ray go on by itself when its processes are killed, scale, resume, and leave nothing behind?

One real run of Pendulum for all claims, because starting Ray takes seconds: the fixture `story` tells it and notes what was seen.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import pytest

from replay.client import Manifest, ServiceInfo, service_info
from sojourn.config.load import load_config
from sojourn.errors import INTERRUPTED, SojournError, UnavailableError
from sojourn.launcher import ask_to_scale
from sojourn.parameters.client import latest_version
from sojourn.roles import Announcement, announced, announced_address
from tests.foreign_data import foreign_episodes
from tests.waiting import eventually

DEADLINE_S = 90.0
CROWDED = 4.0  # so many times what is promised of a machine of one's own may pass on one that others use
FAST = [
    "run.seed=3",
    "run.env_steps=1_000_000",
    "network.hidden=[16]",
    "learners.batch_size=32",
    "learners.publish_every_s=0.1",
    "learners.checkpoint_every_s=1",
    "tables.replay.capacity_steps=20_000",
    "tables.replay.limiter.min_size=100",
    "tables.replay.limiter.samples_per_insert=8",
    "actors.replicas=1",
    "actors.flush_age_s=0.2",
    "evaluation.episodes=1",
    "evaluation.every_env_steps=1_000_000",
]
DRIVER = """
import sys
from pathlib import Path
from sojourn.config.load import load_config
from sojourn.errors import SojournError
from sojourn.launcher import serial, train
how, folder, *overrides = sys.argv[1:]
try:
    sys.exit({"ray": train, "serial": serial}[how](load_config(None, overrides), Path(folder), run_id="run"))
except SojournError as error:
    print(error, file=sys.stderr)
    sys.exit(error.exit_code)
"""


pytestmark = pytest.mark.timeout(450)  # the story is long where others use the machine


@dataclass
class Run:
    """A launcher in a process of its own, over one run folder, with a temporary folder of its own."""

    folder: Path
    temporary: Path
    process: subprocess.Popen[str]
    overrides: list[str]
    seen: dict[str, psutil.Process] = field(default_factory=dict)

    def announced(self, name: str) -> Announcement | None:
        try:
            return announced(self.folder, name)
        except UnavailableError:
            return None

    def pid(self, name: str) -> int:
        said = self.announced(name)
        return said.pid if said else 0

    def info(self) -> ServiceInfo | None:
        try:
            return service_info(announced_address(self.folder, "replay-0"), timeout_s=2.0)
        except SojournError:
            return None

    def env_steps(self) -> int:
        info = self.info()
        return info.env_steps if info and not info.recovering else 0

    def learner_step(self) -> int:
        info = self.info()
        return info.learner_step if info and not info.recovering else 0

    def until(self, condition: Callable[[], bool]) -> float:
        """Poll until the condition holds; returns how long that took."""
        began_s = time.monotonic()

        def holds() -> bool:
            assert self.process.poll() is None, f"the launcher ended: {self.process.communicate()}"
            return condition()

        eventually(holds, DEADLINE_S, look_s=0.1, tell=self.logs)
        return time.monotonic() - began_s

    def kill(self, name: str) -> float:
        """kill -9 a role's process; returns the seconds until another one has announced itself."""
        before = self.pid(name)
        os.kill(before, signal.SIGKILL)
        return self.until(lambda: self.pid(name) not in (0, before))

    def times_asked_to_stop(self) -> int:
        """How often its launchers have heard a first interrupt so far."""
        return (self.folder / "logs" / "launcher.log").read_text().count("the run is over: asked to stop")

    def descendants(self) -> list[psutil.Process]:
        return psutil.Process(self.process.pid).children(recursive=True)

    def logs(self) -> str:
        return "\n".join(f"== {file.name}\n{file.read_text()[-2000:]}" for file in sorted((self.folder / "logs").glob("*.log")))


@contextmanager
def launched(how: str, folder: Path, *overrides: str) -> Iterator[Run]:
    """Start a launcher; whatever the test does, it and its processes are gone afterwards."""
    folder.mkdir(exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix="sj-", dir="/tmp"))  # short: Ray's sockets lie below it
    given = [*FAST, *overrides]
    command = [sys.executable, "-c", DRIVER, how, str(folder), *given]
    environment = {**os.environ, "TMPDIR": str(temporary)}
    process = subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    run = Run(folder, temporary, process, given)
    try:
        yield run
    finally:
        if process.poll() is None:
            left = run.descendants()
            process.kill()
            for each in left:
                if each.is_running():
                    each.kill()
        process.communicate()
        shutil.rmtree(temporary)


@dataclass(frozen=True)
class Counts:
    """Where the run stood."""

    env_steps: int
    learner_step: int
    policy_version: int


@dataclass
class Story:
    """What was seen of a run: its first start with kills, scaling and one Ctrl-C, then its resume with two."""

    folder: Path
    first_step_s: float = 0.0
    back_s: dict[str, float] = field(default_factory=dict)
    around_kill: dict[str, tuple[Counts, Counts]] = field(default_factory=dict)
    actors_up: bool = False
    actors_down: bool = False
    stop_s: float = 0.0
    exit_code: int = -1
    words: str = ""
    left: list[str] = field(default_factory=list)
    at_stop: Counts | None = None
    resumed: Counts | None = None
    second_stop_s: float = 0.0
    second_exit_code: int = -1
    second_left: list[str] = field(default_factory=list)


def counts(run: Run) -> Counts:
    """Asks until all services answer: one of them may just be coming back."""
    found: list[Counts] = []

    def all_answer() -> bool:
        info = run.info()
        if info is None or info.recovering:
            return False
        try:
            version = latest_version(announced_address(run.folder, "parameters-0"))
        except SojournError:
            return False
        found.append(Counts(info.env_steps, info.learner_step, version))
        return True

    run.until(all_answer)
    return found[-1]


def advance(run: Run, before: Counts) -> Counts:
    """Wait until actors, learner and publication all went on."""
    seen = [before]

    def went_on() -> bool:
        seen.append(counts(run))
        now = seen[-1]
        return all(new > old for new, old in zip(vars(now).values(), vars(before).values(), strict=True))

    run.until(went_on)
    return seen[-1]


def interrupt(run: Run, times: int) -> tuple[float, int, str, list[str]]:
    """Ctrl-C so many times. Returns how long it took, the exit code, what was said, and what was left behind."""
    processes = run.descendants()
    began_s = time.monotonic()
    for _ in range(times):
        heard = run.times_asked_to_stop()
        run.process.send_signal(signal.SIGINT)
        if times > 1:  # signals of one number merge while pending
            eventually(lambda before=heard: run.times_asked_to_stop() > before or run.process.poll() is not None, DEADLINE_S)
    out, err = run.process.communicate(timeout=DEADLINE_S)
    took_s = time.monotonic() - began_s
    psutil.wait_procs(processes, timeout=DEADLINE_S)  # SIGKILL was sent; a crowded machine takes its time
    left = [repr(process) for process in processes if process.is_running()]
    left += [str(path) for path in run.temporary.iterdir()]
    return took_s, run.process.returncode, out + err, left


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory) -> Story:
    folder = tmp_path_factory.mktemp("launcher") / "run"
    told = Story(folder)
    with launched("ray", folder) as run:
        told.first_step_s = run.until(lambda: run.learner_step() > 0)
        for name in ("actor-0", "learner-0", "replay-0", "parameters-0"):
            before = counts(run)
            told.back_s[name] = run.kill(name)
            told.around_kill[name] = before, advance(run, before)
        config = load_config(None, run.overrides)
        ask_to_scale(folder, config, {"actors": 2})
        told.actors_up = run.until(lambda: run.pid("actor-1") > 0) < DEADLINE_S
        ask_to_scale(folder, config, {"actors": 1})
        told.actors_down = run.until(lambda: run.pid("actor-1") == 0) < DEADLINE_S
        told.at_stop = counts(run)
        told.stop_s, told.exit_code, told.words, told.left = interrupt(run, times=1)
    with launched("ray", folder) as again:
        told.resumed = counts(again)
        advance(again, told.resumed)
        psutil.Process(again.pid("actor-0")).suspend()  # so that the clean end takes its time
        told.second_stop_s, told.second_exit_code, _, told.second_left = interrupt(again, times=2)
    return told


def test_the_first_gradient_step_comes_soon(story: Story) -> None:
    assert story.first_step_s < CROWDED * 20.0


@pytest.mark.parametrize("name", ["actor-0", "learner-0", "replay-0", "parameters-0"])
def test_a_killed_process_is_replaced_and_the_run_goes_on(story: Story, name: str) -> None:
    assert story.back_s[name] < CROWDED * 10.0
    before, after = story.around_kill[name]
    assert after.env_steps > before.env_steps
    assert after.learner_step > before.learner_step
    assert after.policy_version > before.policy_version


def test_the_lineage_has_every_update_once_through_kills(story: Story) -> None:
    """What a killed learner did beyond its checkpoint is not doubled by the life that did it again."""
    manifest = Manifest(story.folder)
    learned = [batch.learner_step for batch in manifest.batches(manifest.newest_path())]
    assert len(manifest.lives) >= 3
    assert learned == list(range(1, learned[-1] + 1))
    assert learned[-1] >= story.resumed.learner_step


def test_actors_come_and_go_while_it_runs(story: Story) -> None:
    assert story.actors_up
    assert story.actors_down


def test_one_interrupt_ends_the_run_cleanly_with_a_checkpoint(story: Story) -> None:
    assert (story.exit_code, story.words) == (0, "")
    assert story.stop_s < CROWDED * 20.0
    assert list((story.folder / "checkpoints").iterdir())


def test_an_ended_run_leaves_no_process_and_no_file_outside_its_folder(story: Story) -> None:
    assert story.left == []
    assert list((story.folder / "roles").glob("*.json")) == []


def test_a_resumed_run_goes_on_where_it_was(story: Story) -> None:
    assert story.at_stop is not None
    assert story.resumed is not None
    assert story.resumed.env_steps >= story.at_stop.env_steps
    assert story.resumed.policy_version >= story.at_stop.policy_version


def test_a_second_interrupt_ends_it_at_once_and_leaves_nothing(story: Story) -> None:
    assert story.second_exit_code == INTERRUPTED
    assert story.second_stop_s < CROWDED * 8.0
    assert story.second_left == []


def test_a_serial_run_begins_with_given_experience_and_ends_by_its_steps(tmp_path: Path) -> None:
    foreign_episodes(tmp_path / "given", episodes=3, steps=50)
    with launched("serial", tmp_path / "run", "run.env_steps=500", f"replay.initial={tmp_path / 'given'}") as run:
        out, err = run.process.communicate(timeout=DEADLINE_S)
        assert (run.process.returncode, out, err) == (0, "", "")
        began = json.loads((run.folder / "initial.json").read_text())
        assert (began["steps"], began["finished"]) == (150, True)
        said = (run.folder / "logs" / "serial.log").read_text()
        assert "tells no durations: each of its actions counts as 1 s" in said
        assert said.index("150 steps of") < said.index("actor-0 starts")
        evaluations = (run.folder / "evaluations.jsonl").read_text().splitlines()
        assert json.loads(evaluations[-1])["env_steps"] > 0
        assert list((run.folder / "checkpoints").iterdir())
        assert list(run.temporary.iterdir()) == []


@pytest.mark.parametrize("how", ["serial", "ray"])
def test_a_killed_launcher_leaves_no_process_and_the_run_can_go_on(tmp_path: Path, how: str) -> None:
    folder = tmp_path / "run"
    with launched(how, folder) as run:
        run.until(lambda: run.learner_step() > 0 and any((folder / "checkpoints").glob("step_*")))
        before, left = run.info(), run.descendants()
        run.process.kill()
        run.process.wait()
        _, alive = psutil.wait_procs(left, timeout=DEADLINE_S)
        assert alive == []
        assert list(run.temporary.iterdir()) == []
        assert list((folder / "roles").glob("*.json")) == []
    if how == "ray":
        return  # a resume under Ray is part of the story
    with launched(how, folder) as again:
        again.until(lambda: again.learner_step() > 0)
        assert before is not None
        assert again.env_steps() >= before.env_steps


def test_an_unknown_environment_is_one_line_before_anything_starts(tmp_path: Path) -> None:
    with launched("ray", tmp_path / "run", "environment.id=Pendulun-v1") as run:
        out, err = run.process.communicate(timeout=DEADLINE_S)
    assert run.process.returncode == 3
    assert out == ""
    assert "unknown environment 'Pendulun-v1'; did you mean" in err
    assert len(err.splitlines()) == 1
