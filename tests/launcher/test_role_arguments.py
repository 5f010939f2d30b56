"""Does `python -m ROLE` find its configuration and services, stop on signals, and say one clear line when it cannot start?"""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from sojourn.errors import ConfigError, UnavailableError
from sojourn.experience import ParameterSnapshot
from sojourn.parameters.client import Publisher, latest_version
from sojourn.role_arguments import context_of, main, make_parser
from sojourn.roles import RoleContext, announced, announced_address
from tests.waiting import DEADLINE_S, eventually


@contextmanager
def parameter_process(folder: Path, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-m", "sojourn.parameters", "--run-folder", str(folder), "--run-id", "run", *arguments]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    try:
        yield process
    finally:
        process.kill()
        process.wait()
        assert process.stderr is not None
        process.stderr.close()


def until_announced(folder: Path, process: subprocess.Popen[str]) -> None:
    def is_announced() -> bool:
        assert process.poll() is None
        try:
            return announced(folder, "parameters-0").pid == process.pid
        except UnavailableError:
            return False

    eventually(is_announced)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_service_runs_alone_and_a_signal_ends_it_cleanly(tmp_path: Path, number: signal.Signals) -> None:
    with parameter_process(tmp_path) as process:
        until_announced(tmp_path, process)
        address = announced_address(tmp_path, "parameters-0")
        publisher = Publisher(address, run_id="run", client_id="learner-0")
        publisher.publish(ParameterSnapshot(0, 1, 1, "sac", b"tensors", time.monotonic()))
        assert publisher.flush(DEADLINE_S) == 1
        publisher.close()
        process.send_signal(number)
        assert process.wait(DEADLINE_S) == 0


def test_a_killed_service_goes_on_from_its_file(tmp_path: Path) -> None:
    address = announced_address(tmp_path, "parameters-0")
    publisher = Publisher(address, run_id="run", client_id="learner-0")
    for version in (1, 2):
        with parameter_process(tmp_path) as process:
            until_announced(tmp_path, process)
            assert latest_version(address) == version - 1
            publisher.publish(ParameterSnapshot(0, version, 1, "sac", b"tensors", time.monotonic()))
            assert publisher.flush(DEADLINE_S) == version
            os.kill(process.pid, signal.SIGKILL)
            process.wait()
    publisher.close()


def test_a_taken_port_is_one_line_and_an_exit_code(tmp_path: Path) -> None:
    with parameter_process(tmp_path / "first") as first:
        until_announced(tmp_path / "first", first)
        taken = announced(tmp_path / "first", "parameters-0").address
        with parameter_process(tmp_path / "second", "--listen", taken) as second:
            _, said = second.communicate(timeout=DEADLINE_S)
    assert second.returncode == UnavailableError.exit_code
    assert f"parameters: the parameter service cannot listen at {taken}" in said
    assert "Traceback" not in said


def test_a_wrong_override_is_refused_before_the_role_starts(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["--run-folder", str(tmp_path), "--run-id", "run", "learners.bach_size=3"]
    assert main("learner", lambda context: pytest.fail("started"), arguments=arguments) == ConfigError.exit_code
    assert "batch_size" in capsys.readouterr().err


def context_from(role: str, folder: Path, *arguments: str) -> RoleContext:
    return context_of(role, make_parser(role).parse_args(["--run-folder", str(folder), "--run-id", "run", *arguments]))


def test_given_addresses_win_over_those_of_the_run_folder(tmp_path: Path) -> None:
    context = context_from("learner", tmp_path, "--replay", "a:1", "--replay", "b:2", "--parameters", "c:3", "--index", "2")
    assert context.name == "learner-2"
    assert [address() for address in context.replay] == ["a:1", "b:2"]
    assert context.parameters is not None
    assert context.parameters() == "c:3"


def test_without_addresses_services_are_those_announced_in_the_run_folder(tmp_path: Path) -> None:
    RoleContext(config=context_from("replay", tmp_path).config, run_folder=tmp_path, run_id="run", role="replay").announce("a:9")
    context = context_from("actor", tmp_path, "--fleet", "slow")
    assert context.name == "actor-slow-0"
    assert [address() for address in context.replay] == ["a:9"]
    assert context.parameters is not None
    with pytest.raises(UnavailableError, match="parameters-0 has not started"):
        context.parameters()


def test_the_configuration_of_the_run_folder_is_the_default(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text("learners: {batch_size: 32}\n")
    assert context_from("learner", tmp_path).config.learners.batch_size == 32
    assert context_from("learner", tmp_path, "learners.batch_size=8").config.learners.batch_size == 8
