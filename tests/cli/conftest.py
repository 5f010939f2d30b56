"""Roles that really serve metrics, and the program run in this process."""

import json
import os
import sys
from dataclasses import asdict

import pytest
from prometheus_client import start_http_server

from sojourn.cli import main
from sojourn.metrics import Metrics
from sojourn.monitor import scrape
from sojourn.roles import Announcement
from tests.waiting import DEADLINE_S


class LiveRole:
    """A real endpoint of one role, announced in a run folder."""

    def __init__(self, folder, name):
        self.metrics = Metrics(name.partition("-")[0])
        self._server, self._thread = start_http_server(0, addr="127.0.0.1", registry=self.metrics.registry)
        said = Announcement(name, os.getpid(), os.uname().nodename, metrics=f"127.0.0.1:{self._server.server_port}")
        (folder / "roles").mkdir(exist_ok=True)
        (folder / "roles" / f"{name}.json").write_text(json.dumps(asdict(said)))

    def close(self):
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@pytest.fixture
def start(monkeypatch):
    """start(folder, name) makes a role whose metrics are returned. A starved machine answers for it in its own time."""
    monkeypatch.setattr(scrape, "TIMEOUT_S", DEADLINE_S)
    live = []

    def start_role(folder, name):
        live.append(LiveRole(folder, name))
        return live[-1].metrics

    yield start_role
    for role in live:
        role.close()


@pytest.fixture
def sojourn(capsys, monkeypatch):
    """sojourn("config", "actors=3") runs the program. Returns exit code, standard output, standard error."""

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["sojourn", *arguments])
        monkeypatch.setattr(sys, "path", list(sys.path))
        code = 0
        try:
            main()
        except SystemExit as ended:
            code = int(ended.code or 0)
        said = capsys.readouterr()
        return code, said.out, said.err

    return run


@pytest.fixture
def here(tmp_path, monkeypatch):
    """An empty working directory."""
    monkeypatch.chdir(tmp_path)
    return tmp_path
