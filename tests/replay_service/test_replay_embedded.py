"""The embedded server: a real Valkey process that is started, adopted, found dead, and ended."""

import os
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
import redis

from replay.embedded import EmbeddedServer, ServerLife
from sojourn.errors import UnavailableError
from tests.waiting import DEADLINE_S


def make_server(run_folder: Path, appendfsync: str = "no") -> EmbeddedServer:
    return EmbeddedServer(run_folder, 0, appendfsync=appendfsync, memory_bytes=1 << 26, rewrite_min_bytes=1 << 26)


def connect(server: EmbeddedServer) -> redis.Redis:
    return redis.Redis(unix_socket_path=str(server.socket))


def process_of(server: EmbeddedServer) -> int:
    life = server.life()
    assert life is not None
    return life.pid


@pytest.fixture
def server(tmp_path: Path) -> Iterator[EmbeddedServer]:
    server = make_server(tmp_path)
    server.ensure_running()
    yield server
    server.stop()


def test_a_restarted_shard_adopts_the_living_server(server: EmbeddedServer, tmp_path: Path) -> None:
    successor = make_server(tmp_path)
    assert successor.ensure_running() is False
    assert process_of(successor) == process_of(server)


def test_a_dead_server_is_started_again_on_the_same_files(server: EmbeddedServer, tmp_path: Path) -> None:
    with connect(server) as before:
        before.set("kept", "yes")
    first = psutil.Process(process_of(server))
    first.kill()
    first.wait(DEADLINE_S)
    successor = make_server(tmp_path)
    assert successor.ensure_running() is True
    with connect(successor) as after:
        assert after.get("kept") == b"yes"
    assert process_of(successor) != first.pid


def test_another_durability_restarts_the_server_with_its_flags(server: EmbeddedServer, tmp_path: Path) -> None:
    stricter = make_server(tmp_path, appendfsync="always")
    assert stricter.ensure_running() is True
    with connect(stricter) as client:
        assert client.config_get("appendfsync") == {"appendfsync": "always"}


def test_a_process_id_that_was_given_to_another_process_is_left_alone(tmp_path: Path) -> None:
    own_pid = os.getpid()
    stolen = ServerLife(own_pid, psutil.Process(own_pid).create_time() - 100.0, "", ())
    assert stolen.process() is None


def test_stop_ends_the_process_and_removes_the_socket_folder(tmp_path: Path) -> None:
    server = make_server(tmp_path)
    server.ensure_running()
    pid = process_of(server)
    server.stop()
    assert not psutil.pid_exists(pid)
    assert not server.socket.parent.exists()


def test_a_damaged_append_only_file_gives_the_last_words_of_the_server(tmp_path: Path) -> None:
    server = make_server(tmp_path)
    server.ensure_running()
    server.stop()
    (base,) = (tmp_path / "redis" / "0" / "appendonlydir").glob("*.base.rdb")
    base.write_bytes(b"no such format" * 10)
    with pytest.raises(UnavailableError, match="did not start; last words"):
        server.ensure_running()
    server.stop()
