"""Which port does a role's Prometheus endpoint take?"""

import socket
import struct
import threading
import urllib.request
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest

from sojourn.config import Config
from sojourn.errors import ConfigError
from sojourn.metrics import Metrics
from sojourn.parameters.role import run
from sojourn.roles import RoleContext, announced
from tests.waiting import DEADLINE_S


def ports_in_a_row(count: int) -> list[socket.socket]:
    """Listening sockets on the loopback interface at consecutive ports, whoever else is busy on this machine."""
    for first in range(21_000, 32_000, count):
        taken: list[socket.socket] = []
        try:
            for port in range(first, first + count):
                taken.append(socket.create_server(("127.0.0.1", port)))
        except OSError:
            for one in taken:
                one.close()
        else:
            return taken
    raise AssertionError("no ports in a row are free")


def test_the_next_free_port_is_taken():
    first, second = ports_in_a_row(2)
    second.close()
    with first:
        port = first.getsockname()[1]
        assert port < Metrics("actor").serve("127.0.0.1", port) <= port + 5


def test_a_role_takes_the_port_that_is_configured(tmp_path: Path):
    [free] = ports_in_a_row(1)
    port = free.getsockname()[1]
    free.close()
    config = Config.model_validate({"metrics": {"port": port}})
    context = RoleContext(config=config, run_folder=tmp_path, run_id="run", role="parameters")
    context.stop.set()  # it serves, says where, and ends
    run(context)
    assert port <= int(announced(tmp_path, "parameters-0").metrics.rpartition(":")[2]) <= port + 5


def test_a_foreign_interface_or_a_last_port_that_is_taken_is_refused_with_a_sentence():
    with pytest.raises(ConfigError, match=r"203\.0\.113\.1:0.*change metrics\.host"):
        Metrics("actor").serve("203.0.113.1", 0)
    with ExitStack() as taken:
        with suppress(OSError):  # somebody else has it already: as good
            taken.enter_context(socket.create_server(("127.0.0.1", 65_535)))
        with pytest.raises(ConfigError, match=r"metrics\.port 65535: .*taken"):
            Metrics("actor").serve("127.0.0.1", 65_535)


def test_garbage_and_readers_that_break_off_leave_the_endpoint_as_it_was(capfd: pytest.CaptureFixture[str]):
    port = Metrics("actor").serve("127.0.0.1", 0)
    for body in (b"\x00" * 5_000, b"GET " + b"a" * 70_000 + b" HTTP/1.1\r\n\r\n", b"GET /metrics HTTP/1.1\r\n\r\n") * 7:
        with socket.create_connection(("127.0.0.1", port)) as reader:
            reader.sendall(body)
            reader.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # closing resets the connection
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=DEADLINE_S) as answer:
        assert b"sojourn_actor" in answer.read()
    for thread in threading.enumerate():
        if "process_request_thread" in thread.name:
            thread.join(DEADLINE_S)
    assert capfd.readouterr().err == ""
