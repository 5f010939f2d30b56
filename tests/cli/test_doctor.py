"""Does the doctor see a bias in a real run, name the setting that mends it, and call the mended run clean?"""

import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.waiting import DEADLINE_S, eventually

PATIENCE_S = 120.0  # on a crowded machine updates are rare, and then few results are late: the bias takes longer to show
ARMS = """
environment:
  id: sojourn/Arms-v0
  kwargs: {clock: real, seconds_per_unit: 0.03, law: lognormal, spread: 0.3}
algorithm: {name: vtrace, learning_rate: 0.0001}
network: {hidden: [16]}
actors: {replicas: 12, segment_steps: 1, flush_age_s: 0.02}
learners: {batch_size: 4, prefetch: 1, batches_per_message: 1, publish_every_s: 0.0}
replay: {durability: memory, insert_window: 1}
tables:
  replay:
    item: segment
    length: 1
    sampler: fifo
    consume: true
    capacity_steps: 100_000
    max_staleness: 0
    on_stale: drop
    limiter: {samples_per_insert: null, min_size: 1}
    duration: {weight: none}
evaluation: {every_env_steps: 1_000_000}
"""


class Training:
    """A serial run in a process of its own."""

    def __init__(self, folder: Path, name: str, *overrides: str) -> None:
        command = [sys.executable, "-m", "sojourn.cli", "train", "arms.yaml", "--serial", f"run.name={name}", *overrides]
        self.process = subprocess.Popen(command, cwd=folder, stdout=subprocess.DEVNULL)

    def stop(self) -> None:
        self.process.send_signal(signal.SIGINT)
        assert self.process.wait(DEADLINE_S) == 0


@pytest.fixture
def train(here):
    """train(name, *overrides) starts a run in the present folder."""
    (here / "arms.yaml").write_text(ARMS)
    started = []

    def start(name, *overrides):
        started.append(Training(here, name, *overrides))
        return started[-1]

    yield start
    for one in started:
        one.process.kill()
        one.process.wait()


def is_biased(code, said):
    """Whether it names the bias, what mends it, and the alarm of the scores."""
    leak = re.search(r"score leak ([\d.]+)", said)
    return (
        code == 1
        and re.search(r"verdict +BIASED: too many quick actions, durations started and learned from differ by 0\.\d+", said)
        and re.search(r"change +tables\.replay\.on_stale=none", said)
        and leak is not None
        and float(leak[1]) > 9.0
    )


def is_clean(code, said):
    return (code, "verdict    CLEAN" in said) == (0, True)


def test_a_run_that_drops_slow_results_is_biased_and_clean_once_the_advice_is_taken(train, sojourn):
    biased, mended = train("biased"), train("mended", "tables.replay.on_stale=none")
    live = []

    def says(name, wanted):
        """Once, live: what it says, if the exit code and the words are as they must be; chance may look like a bias for a moment."""
        assert biased.process.poll() is mended.process.poll() is None
        live.append(sojourn("doctor", name))
        code, said, _ = live[-1]
        return wanted(code, said) and said

    said = eventually(lambda: says("biased", is_biased), PATIENCE_S, look_s=0.5, tell=lambda: live[-1])
    assert said.startswith("runs/biased  running  sojourn/Arms-v0 vtrace")
    eventually(lambda: says("mended", is_clean), PATIENCE_S, look_s=0.5, tell=lambda: live[-1])
    for run in (biased, mended):
        run.stop()
    code, said, _ = sojourn("doctor", "biased")
    assert (code, "verdict    BIASED" in said) == (1, True), said


def test_a_run_without_records_is_refused_with_a_sentence(here, sojourn):
    folder = here / "runs" / "young"
    folder.mkdir(parents=True)
    (folder / "config.yaml").write_text(sojourn("config")[1])
    (folder / "run.json").write_text('{"run_id": "1", "name": "young", "created_at": "", "commands": []}')
    code, _, error = sojourn("doctor", "young")
    assert code == 2
    assert "has recorded nothing of durations yet" in error
    assert "Traceback" not in error
    assert sojourn("doctor", "old")[0] == 2
