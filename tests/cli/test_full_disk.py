"""A disk without room costs a run its curves and its log, never its supervision, and is said in a sentence.

The kernel's limit on a file's size stands in for the disk: a write fails in the same place, with an error of the same kind.
"""

import logging
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from sojourn.config import Config
from sojourn.config.load import load_config
from sojourn.errors import ConfigError
from sojourn.logs import log_to
from sojourn.monitor import read_progress
from sojourn.monitor.durations import DurationReckoner, DurationRecord
from sojourn.monitor.keeping import Keeping
from sojourn.monitor.progress import Progress
from sojourn.run_folder import create_run
from tests.full_disk import full_disk
from tests.waiting import eventually


def durations(record: Progress) -> DurationRecord:
    return DurationReckoner("replay").record(record.time_s, record.elapsed_s)


@pytest.fixture
def _quiet_writers(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """TensorBoard's writer dies of a full disk on a thread of its own (see the next test), and not always before the test is over."""
    monkeypatch.setattr(threading, "excepthook", lambda said: None)
    before = set(threading.enumerate())
    yield
    eventually(lambda: set(threading.enumerate()) <= before)


@pytest.mark.usefixtures("_quiet_writers")
def test_what_cannot_be_kept_is_left_out_and_said_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with Keeping(tmp_path) as keeping:
        with full_disk(10), caplog.at_level(logging.WARNING):
            keeping.keep(Progress(1_001.0, 1.0), durations)
            keeping.keep(Progress(1_002.0, 2.0), durations, last=True)
        keeping.keep(Progress(1_003.0, 3.0), durations, last=True)
    assert [record.time_s for record in read_progress(tmp_path)] == [1_003.0]
    assert [line.getMessage().partition(" (")[0] for line in caplog.records] == ["the run's progress cannot be written"]


def test_a_log_without_room_loses_lines_and_prints_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rooms = logging.getLogger("sojourn.launcher")
    with log_to(tmp_path / "logs" / "launcher.log"):
        with full_disk():
            rooms.warning("lost")
            thread = threading.Thread(target=(tmp_path / "other").write_text, args=("no room",))
            thread.start()
            thread.join()
        rooms.warning("kept")
    assert "kept" in (tmp_path / "logs" / "launcher.log").read_text()
    assert capsys.readouterr().err == ""


def test_a_run_that_cannot_be_written_is_refused_and_leaves_no_folder(tmp_path: Path) -> None:
    config: Config = load_config(None, [f"run.folder={tmp_path}", "run.name=r"])
    with full_disk(), pytest.raises(ConfigError, match=f"the run folder {tmp_path}/r cannot be written: File too large"):
        create_run(config, ["sojourn", "train"])
    assert list(tmp_path.iterdir()) == []
