"""Is a run's folder complete from its start, found again by name, and driven by one launcher at a time?"""

import json
import os
import subprocess
import sys
import threading
from contextlib import ExitStack
from pathlib import Path

import pytest

from sojourn import run_folder
from sojourn.config.load import load_config
from sojourn.errors import ConfigError


def test_a_new_run_has_its_configuration_git_state_versions_and_identity(here):
    config = load_config(None, ["environment=sojourn/Catch-v0", "run.seed=7", "algorithm=dqn"])
    path = run_folder.create_run(config, ["sojourn", "train", "x.yaml"])

    assert path.parent == Path("runs")
    assert path.name.startswith("sojourn-Catch-v0__dqn__7__20")
    identity = run_folder.read_run(path)
    assert len(identity.run_id) == 32
    assert (identity.name, identity.commands) == (path.name, ("sojourn train x.yaml",))
    stored = run_folder.run_config(path)
    assert stored.run.name == path.name
    assert stored.model_copy(update={"run": config.run}) == config
    assert json.loads((path / "git.json").read_text()) == {"commit": None, "dirty": None}
    assert any(line.startswith("numpy==") for line in (path / "versions.txt").read_text().splitlines())


def test_git_state_names_the_commit_and_notices_changes(here):
    identity = ["-c", "user.name=t", "-c", "user.email=t@example.org"]
    for arguments in (["init", "-q"], [*identity, "commit", "-q", "--allow-empty", "-m", "x"]):
        subprocess.run(["git", *arguments], check=True)
    clean = run_folder.git_state(here)
    assert len(str(clean["commit"])) == 40
    assert clean["dirty"] is False
    (here / "new").touch()
    assert run_folder.git_state(here)["dirty"] is True


def test_two_runs_started_in_the_same_second_get_two_folders(here):
    config = load_config(None, [])
    assert len({run_folder.create_run(config, ["sojourn"]) for _ in range(3)}) == 3


def test_a_taken_name_is_refused_with_the_way_on(here):
    config = load_config(None, ["run.name=mine"])
    run_folder.create_run(config, ["sojourn"])
    with pytest.raises(ConfigError, match=r"^runs/mine exists: choose another run.name, or `sojourn resume runs/mine`$"):
        run_folder.create_run(config, ["sojourn"])
    with pytest.raises(ConfigError, match=r"run.name is a folder's name"):
        run_folder.create_run(load_config(None, ["run.name=../mine"]), ["sojourn"])


def test_a_folder_that_cannot_be_made_is_refused(here):
    (here / "runs").touch()
    with pytest.raises(ConfigError, match=r"cannot be made: Not a directory|exists"):
        run_folder.create_run(load_config(None, ["run.name=mine"]), ["sojourn"])


def test_passwords_are_kept_for_the_owner_alone_and_never_in_the_command(here):
    override = "replay.redis_url=redis://user:hunter2@host:6379"
    path = run_folder.create_run(load_config(None, [override]), ["sojourn", "train", "x.yaml", override])
    assert run_folder.run_config(path).replay.redis_url == "redis://user:hunter2@host:6379"
    assert (path / "config.yaml").stat().st_mode & 0o777 == 0o600
    assert run_folder.read_run(path).commands == ("sojourn train x.yaml replay.redis_url=redis://user:***@host:6379",)


def test_a_run_is_found_by_name_by_path_and_as_the_latest(here):
    old = run_folder.create_run(load_config(None, ["run.name=old"]), ["sojourn"])
    new = run_folder.create_run(load_config(None, ["run.name=new"]), ["sojourn"])
    later = (new / "run.json").stat().st_mtime_ns + 1_000_000
    os.utime(new / "run.json", ns=(later, later))
    assert run_folder.find_run("old") == old
    assert run_folder.find_run("runs/old/") == old
    assert run_folder.find_run(None) == new
    with pytest.raises(ConfigError, match=r"^there is no run 'odl'; in runs/ there are old$"):
        run_folder.find_run("odl")


def test_without_any_run_the_message_says_how_to_start_one(here):
    with pytest.raises(ConfigError, match=r"start one with `sojourn train"):
        run_folder.find_run(None)


def test_a_resume_keeps_the_identity_and_adds_its_command(here):
    path = run_folder.create_run(load_config(None, []), ["sojourn", "train"])
    before = run_folder.read_run(path)
    run_folder.note_resume(path, run_folder.run_config(path, ["actors=3"]), ["sojourn", "resume", "actors=3"])
    after = run_folder.read_run(path)
    assert (after.run_id, after.commands) == (before.run_id, ("sojourn train", "sojourn resume actors=3"))
    assert run_folder.run_config(path).actors.replicas == 3


def test_a_folder_that_is_no_run_is_named(here):
    with pytest.raises(ConfigError, match=r"is not a run: it has no run.json"):
        run_folder.read_run(here)
    (here / "run.json").write_text("{}")
    with pytest.raises(ConfigError, match=r"run.json is damaged"):
        run_folder.read_run(here)


def test_a_second_launcher_is_refused_while_the_first_lives(here):
    path = run_folder.create_run(load_config(None, []), ["sojourn"])
    code = "import sys; from pathlib import Path; from sojourn.run_folder import driving\nwith driving(Path(sys.argv[1])): print('held', flush=True); sys.stdin.read()"
    with subprocess.Popen([sys.executable, "-c", code, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == b"held\n"
        assert run_folder.is_driven(path)
        with (
            pytest.raises(ConfigError, match=f"is being driven by process {other.pid}: stop that one first"),
            run_folder.driving(path),
        ):
            pass
        other.kill()
    assert not run_folder.is_driven(path)
    with run_folder.driving(path):
        assert run_folder.is_driven(path)


def test_a_launcher_waits_for_what_cleans_up_behind_a_killed_one(tmp_path):
    killed = subprocess.Popen(["true"])
    killed.wait()
    (tmp_path / "lock").write_text(str(killed.pid))
    cleaning = ExitStack()
    assert cleaning.enter_context(run_folder.locked(tmp_path))
    cleaned = threading.Timer(0.3, cleaning.close)
    cleaned.start()
    with run_folder.driving(tmp_path):
        assert (tmp_path / "lock").read_text() == str(os.getpid())
    cleaned.join()


def test_a_run_that_cannot_be_written_to_is_one_sentence(tmp_path):
    (tmp_path / "lock").mkdir()
    with pytest.raises(ConfigError, match="cannot be written to: Is a directory"), run_folder.driving(tmp_path):
        pass
