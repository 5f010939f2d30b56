"""Does the doctor see a bias in a real run, name the setting that mends it, and call the mended run clean? Live and afterwards."""

import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from sojourn.monitor import DurationRecord, read_durations

DEADLINE_S = 80.0
ENOUGH = 500  # actions learned from
ARMS = """
environment:
  id: sojourn/Arms-v0
  kwargs: {clock: real, seconds_per_unit: 0.01, law: lognormal, spread: 0.3}
algorithm: {name: vtrace, learning_rate: 0.0001}
network: {hidden: [16]}
actors: {replicas: 12, segment_steps: 1, flush_age_s: 0.02}
learners: {batch_size: 8, prefetch: 1, batches_per_message: 1, publish_every_s: 0.0}
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
        (folder / "arms.yaml").write_text(ARMS)
        self.folder = folder / "runs" / name
        command = [sys.executable, "-m", "sojourn.cli", "train", "arms.yaml", "--serial", f"run.name={name}", *overrides]
        self.process = subprocess.Popen(command, cwd=folder, stdout=subprocess.DEVNULL)

    def wait_until_it_knows_enough(self) -> DurationRecord:
        until_s = time.monotonic() + DEADLINE_S
        while time.monotonic() < until_s and self.process.poll() is None:
            for record in read_durations(self.folder):
                if sum(record.buckets["actions"].values()) >= ENOUGH:
                    return record
            time.sleep(0.2)
        raise AssertionError(f"{self.folder} recorded too little within {DEADLINE_S:g} s; exit {self.process.poll()}")

    def stop(self) -> None:
        self.process.send_signal(signal.SIGINT)
        assert self.process.wait(30) == 0


@pytest.fixture
def train(here):
    """train(name, *overrides) starts a run in the present folder."""
    started = []

    def start(name, *overrides):
        started.append(Training(here, name, *overrides))
        return started[-1]

    yield start
    for one in started:
        one.process.kill()
        one.process.wait()


def soon(ask, holds):
    """What `ask` gives once it is as it must be: on a crowded machine updates are rare at first, and then nothing is late."""
    until_s = time.monotonic() + DEADLINE_S
    while not holds(answer := ask()):
        assert time.monotonic() < until_s, answer
        time.sleep(0.5)
    return answer


def test_a_run_that_drops_slow_results_is_biased_and_clean_once_the_advice_is_taken(train, sojourn):
    biased, mended = train("biased"), train("mended", "tables.replay.on_stale=none")
    for run in (biased, mended):
        run.wait_until_it_knows_enough()
    code, live, _ = soon(lambda: sojourn("doctor", "biased"), lambda said: said[0] == 1)
    assert live.startswith("runs/biased  running  sojourn/Arms-v0 vtrace")
    for run in (biased, mended):
        run.stop()
    code, said, _ = sojourn("doctor", "biased")
    assert code == 1
    assert re.search(r"verdict +BIASED: too many quick actions, durations started and learned from differ by 0\.\d+", said), said
    assert re.search(r"change +tables\.replay\.on_stale=none", said)
    assert float(re.search(r"score leak ([\d.]+)", said)[1]) > 9.0
    code, said, _ = sojourn("doctor", "mended")
    assert (code, "verdict    CLEAN" in said) == (0, True), said


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
