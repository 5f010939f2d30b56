"""Does experience outlive an outage that memory cannot bridge: in a checksummed file, once, in order, over lives of the actor?"""

import json
import logging
import os
import resource
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import redis
from hypothesis import given, settings
from hypothesis import strategies as st

from replay.client import ActorConnection, SpillSettings
from replay.embedded import socket_path
from replay.outage_buffer import OutageBuffer
from replay.spill import SpillFile, files_of, spill_path
from sojourn.experience import Segment
from sojourn.metrics import Metrics
from tests.replay_client.outage import Stepping, calls_of, followed, message
from tests.waiting import DEADLINE_S, UNHURRIED_S, eventually

MakeSegment = Callable[..., Segment]
BUDGET_BYTES = 1 << 20


def make_file(folder: Path, budget_bytes: int = BUDGET_BYTES, metrics: Metrics | None = None) -> SpillFile:
    return SpillFile(spill_path(folder, "actor-0", 7, 0), budget_bytes, b"opening", metrics or Metrics("actor"))


def written(folder: Path, *numbers: int) -> Path:
    """A file that a dead life left."""
    file = make_file(folder)
    for number in numbers:
        assert file.append(message(number), made_unix_s=0.0)
    file.close()
    return file.path


def left_behind(path: Path, metrics: Metrics | None = None) -> tuple[SpillFile, bytes]:
    found = SpillFile.left_behind(path, metrics or Metrics("actor"))
    assert found is not None
    return found


def rows_of(file: SpillFile) -> dict[int, int]:
    """Bytes of each message's rows, by number."""
    return {number: len(file.read(number).rows) for number in file.numbers}


def flip(path: Path, at: int) -> None:
    body = bytearray(path.read_bytes())
    body[at] ^= 0xFF
    path.write_bytes(body)


@contextmanager
def largest_file(size_bytes: int) -> Iterator[None]:
    """No file of this process can grow above this: what a full disk does."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size_bytes, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_later_life_finds_what_was_written_and_the_file_goes_with_the_last_acknowledgement(tmp_path: Path):
    path = written(tmp_path, 4, 5, 6)

    file, opening = left_behind(path)
    assert opening == b"opening"
    assert [file.read(number).rows for number in file.numbers] == [message(number).rows for number in (4, 5, 6)]
    for number in (4, 5, 6):
        assert path.exists()
        file.acknowledge(number)
    assert not path.exists()


@pytest.mark.parametrize(("made_ago_s", "age_s"), [(5_000.0, 5_000.0), (-5_000.0, 0.0)])
def test_the_age_of_a_message_goes_on_over_lives_and_never_backwards(tmp_path: Path, made_ago_s: float, age_s: float):
    file = make_file(tmp_path)
    file.append(message(1), made_unix_s=time.time() - made_ago_s)
    file.close()

    later, _ = left_behind(file.path)
    assert time.monotonic() - later.read(1).made_at_s == pytest.approx(age_s, abs=DEADLINE_S)


def test_files_are_found_by_client_oldest_life_first(tmp_path: Path):
    for client_id, incarnation in (("actor-1", 9), ("actor-1", 10), ("actor-1-1", 5), ("actor-11", 5)):
        spill_path(tmp_path, client_id, incarnation, 2).touch()

    assert [(life, shard) for _, life, shard in files_of(tmp_path, "actor-1")] == [(9, 2), (10, 2)]


def test_the_file_of_a_life_that_lives_is_left_alone(tmp_path: Path):
    file = make_file(tmp_path)
    file.append(message(1), 0.0)

    assert SpillFile.left_behind(file.path, Metrics("actor")) is None
    file.close()


def test_a_damaged_body_is_named_and_its_number_comes_without_rows(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    path = written(tmp_path, 1, 2, 3)
    flip(path, path.read_bytes().index(message(2).rows) + 50)
    metrics = Metrics("actor")

    file, _ = left_behind(path, metrics)
    assert rows_of(file) == {1: 100, 2: 0, 3: 100}
    assert f"spill file {path} is damaged: message 2" in caplog.text
    assert metrics.registry.get_sample_value("sojourn_actor_spill_damaged_records_total") == 1
    for number in (1, 2, 3):
        file.acknowledge(number)
    assert path.with_suffix(".damaged").exists()  # for people


def test_a_damaged_header_costs_its_own_record_alone(tmp_path: Path):
    path = written(tmp_path, 1, 2, 3)
    flip(path, path.read_bytes().index(message(2).rows) - 20)

    file, _ = left_behind(path)
    assert rows_of(file) == {1: 100, 2: 0, 3: 100}


def test_a_damaged_first_header_is_found_by_what_the_service_has(tmp_path: Path):
    path = written(tmp_path, 5, 6)
    flip(path, path.read_bytes().index(message(5).rows) - 20)

    file, _ = left_behind(path)
    file.begin_at(5)
    assert rows_of(file) == {5: 0, 6: 100}


def test_a_file_that_ends_at_any_byte_gives_its_whole_messages_and_is_gone_where_there_are_none(tmp_path: Path):
    path = written(tmp_path, 4, 5, 6)
    whole = path.read_bytes()
    starts = [whole.index(message(number).rows) for number in (4, 5, 6)]
    for size in range(len(whole)):
        path.write_bytes(whole[:size])
        readable = [number for number, start in zip((4, 5, 6), starts, strict=True) if start + len(message(number).rows) <= size]
        found = SpillFile.left_behind(path, Metrics("actor"))
        assert (found is None) == (not readable)
        if found is None:
            assert not path.exists(), f"{size} bytes hold no message, and would be tried by every later life"
            continue
        assert rows_of(found[0]) == {number: len(message(number).rows) for number in readable}
        found[0].close()


@pytest.mark.parametrize("cut", [1, 99, 110, 130])
def test_a_record_that_was_being_written_is_left_out(tmp_path: Path, cut: int):
    path = written(tmp_path, 1, 2)
    os.truncate(path, path.stat().st_size - cut)

    assert rows_of(left_behind(path)[0]) == {1: 100}


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10_000), st.integers(0, 255))
def test_no_single_damaged_byte_delivers_anything_but_what_was_written(tmp_path_factory: Any, at: int, value: int):
    path = written(tmp_path_factory.mktemp("spill"), 1, 2, 3)
    body = bytearray(path.read_bytes())
    at %= len(body)
    body[at] = value
    path.write_bytes(body)

    file, opening = left_behind(path)
    file.begin_at(1)
    found = {number: file.read(number).rows for number in file.numbers}
    assert opening in (b"opening", b"")
    assert all(rows in (b"", message(number).rows) for number, rows in found.items())
    assert sum(rows != b"" for rows in found.values()) >= 2
    file.close()


def test_a_full_disk_keeps_whole_records_and_says_so_once(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    buffer = OutageBuffer(1_000, file := make_file(tmp_path))
    with largest_file(500):
        for number in range(1, 8):
            buffer.append(message(number))
            assert buffer.spill(10.0, 10.0) is (number < 4)
    assert caplog.text.count("cannot spill") == 1
    assert [buffer.after(number).number for number in range(7)] == [1, 2, 3, 4, 5, 6, 7]
    buffer.check()
    for number in range(1, 8):
        assert buffer.acknowledge(number).number == number
    assert not file.path.exists()


@settings(max_examples=100, deadline=None)
@given(calls_of("append", "spill", "acknowledge", "through"))
def test_a_buffer_with_a_file_agrees_with_a_plain_dictionary(tmp_path_factory: Any, calls: list[tuple[str, int]]):
    folder = tmp_path_factory.mktemp("spill")
    buffer = OutageBuffer(10_000, make_file(folder, budget_bytes=400))
    for _ in followed(buffer, calls):
        assert (buffer.spilled_messages > 0) == any(folder.iterdir())


# with a real service

FLEET = {"flush_bytes": 1_024, "flush_age_s": 0.01}


def spilling(service: Any, budget_bytes: int = BUDGET_BYTES, **changed: Any) -> ActorConnection:
    """An actor with memory for about three messages, and a file."""
    spill = SpillSettings(service.folder / "spill", budget_bytes)
    return service.actor(fleet=FLEET, buffer_bytes=3_000, spill=spill, **changed)


def spilled(service: Any) -> list[Path]:
    return sorted((service.folder / "spill").glob("*.spill"))


@pytest.fixture
def durable(make_service: Any) -> Any:
    return make_service(replay={"durability": "process"})


def test_an_outage_that_memory_cannot_bridge_is_bridged_on_disk(durable: Any, make_segment: MakeSegment):
    metrics = Metrics("actor")
    actor = spilling(durable, metrics=metrics)
    actor.insert(make_segment(0, 0))
    assert actor.drain(DEADLINE_S)
    durable.stop()
    for first in range(8, 808, 8):
        actor.insert(make_segment(0, first))  # does not wait
    assert spilled(durable)
    assert metrics.registry.get_sample_value("sojourn_actor_unacknowledged_messages") > 3

    durable.start()
    assert actor.drain(DEADLINE_S)
    info = durable.info()
    assert (info.env_steps, info.rows, info.refused, info.gaps) == (808, 808, 0, 0)
    assert not spilled(durable)
    assert metrics.registry.get_sample_value("sojourn_actor_spill_file_bytes") == 0
    actor.close()


def test_an_actor_waits_once_its_file_is_full_too(durable: Any, make_segment: MakeSegment):
    actor = spilling(durable, budget_bytes=10_000)
    actor.insert(make_segment(0, 0))
    assert actor.drain(DEADLINE_S)
    durable.stop()
    stepping = Stepping(actor, partial(make_segment, 0), range(8, 808, 8))
    eventually(lambda: len(stepping.inserted) >= 5)
    assert not stepping.is_over(within_s=0.5)
    assert spilled(durable)[0].stat().st_size <= 10_000

    durable.start()
    assert stepping.is_over()
    assert actor.drain(DEADLINE_S)
    assert durable.info().env_steps == 808
    actor.close()


def test_what_a_closing_actor_cannot_deliver_is_delivered_by_its_next_life(durable: Any, make_segment: MakeSegment):
    first = spilling(durable)
    first.insert(make_segment(0, 0))
    assert first.drain(DEADLINE_S)
    durable.stop()
    first.insert(make_segment(0, 8))
    first.close()
    assert len(spilled(durable)) == 1

    durable.start()
    second = spilling(durable)
    assert durable.info().env_steps == 16
    assert not spilled(durable)
    second.insert(make_segment(0, 0))
    assert second.drain(DEADLINE_S)
    assert durable.info().env_steps == 24
    second.close()


def test_what_a_former_life_spilled_goes_to_its_own_shard_when_the_actor_has_moved(make_service: Any, make_segment: MakeSegment):
    old, new = make_service(replay={"durability": "process"}), make_service(replay={"durability": "process"})
    first = spilling(old)
    first.insert(make_segment(0, 0))
    assert first.drain(DEADLINE_S)
    old.stop()
    first.insert(make_segment(0, 8))
    first.close()

    old.start()
    second = spilling(new, shards={0: old.address, 1: new.address})
    second.insert(make_segment(0, 0))
    assert second.drain(DEADLINE_S)
    assert (old.info().env_steps, new.info().env_steps) == (16, 8)
    assert not spilled(old)
    second.close()


def test_the_file_of_a_life_that_was_replaced_long_ago_still_arrives(durable: Any, make_segment: MakeSegment):
    first = spilling(durable)
    first.insert(make_segment(0, 0))
    assert first.drain(DEADLINE_S)
    durable.stop()
    for start in range(8, 80, 8):
        first.insert(make_segment(0, start))
    first.flush()
    first.abandon()
    durable.start()
    durable.actor().close()  # a life that does not know of the file, and cuts the lanes of the first
    assert durable.info().env_steps == 8

    spilling(durable).close()
    info = durable.info()
    assert (info.env_steps, info.refused, info.gaps) == (80, 0, 0)
    assert not spilled(durable)


def test_a_damaged_file_delivers_the_rest(durable: Any, make_segment: MakeSegment, caplog: pytest.LogCaptureFixture):
    caplog.set_level(logging.INFO)
    first = spilling(durable)
    first.insert(make_segment(0, 0))
    assert first.drain(DEADLINE_S)
    durable.stop()
    for start in range(8, 808, 8):
        first.insert(make_segment(0, start))
    first.abandon()
    path = spilled(durable)[0]
    flip(path, path.stat().st_size // 2)

    durable.start()
    second = spilling(durable)
    info = durable.info()
    assert (info.refused, info.gaps) == (1, 1)  # a lane goes on behind what is missing
    assert info.env_steps > 400
    assert f"spill file {path} is damaged" in caplog.text
    second.close()


KILLED = """
import sys
from pathlib import Path
from tests.replay_client.conftest import SCHEMA, segment
from replay.client import ActorConnection, SpillSettings
from sojourn.config import Config
from sojourn.roles import announced_address

folder = Path(sys.argv[1])
fleet = Config.model_validate({}).actors.model_copy(update={"flush_bytes": 1_024, "flush_age_s": 0.01})
actor = ActorConnection(
    announced_address(folder, "replay-0"), run_id="run", client_id="actor-0", schema=SCHEMA, fleet=fleet, buffer_bytes=3_000,
    spill=SpillSettings(folder / "spill", 1 << 20),
)
actor.insert(segment(0, 0))
assert actor.drain(60.0)
print("drained", flush=True)
sys.stdin.readline()
for first in range(8, 808, 8):
    actor.insert(segment(0, first))
actor.flush()
print("spilled", flush=True)
sys.stdin.readline()
"""


def test_kill_9_of_an_actor_with_a_spill_file_delivers_it_once_under_its_own_incarnation(
    durable: Any, make_segment: MakeSegment, tmp_path: Path
):
    program = tmp_path / "killed.py"
    program.write_text(textwrap.dedent(KILLED))
    process = subprocess.Popen(
        [sys.executable, str(program), str(durable.folder)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    try:
        assert process.stdout.readline() == "drained\n"
        life = durable.info().clients[0].incarnation
        durable.stop()
        process.stdin.write("\n")
        process.stdin.flush()
        assert process.stdout.readline() == "spilled\n"
    finally:
        process.send_signal(signal.SIGKILL)
        process.communicate()
    durable.start()
    second = spilling(durable)
    info = durable.info()
    assert (info.env_steps, info.rows, info.refused, info.gaps) == (808, 808, 0, 0)
    assert not spilled(durable)
    with redis.Redis(unix_socket_path=str(socket_path(durable.folder, "valkey-0.sock"))) as stored:
        assert set(stored.hgetall("{sojourn:run:0}:fences")) >= {
            f"actor-0/{life}".encode(),
            f"actor-0/{second.incarnation}".encode(),
        }
        headers = [json.loads(chunk[b"h"]) for _, chunk in stored.xrange("{sojourn:run:0}:chunks")]
    assert {header["incarnation"] for header in headers} == {life}
    assert all(0.0 <= header["held_s"] < UNHURRIED_S for header in headers)  # they went on growing old in the file
    second.close()
