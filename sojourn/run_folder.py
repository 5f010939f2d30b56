"""What does a run's folder hold, which run is meant, and who drives it? Reads and writes files; starts `git` once.

runs/<name>/
    run.json          identity: run_id, when and by which commands; written last, so a folder without it is no run
    config.yaml       the resolved configuration, which `sojourn resume` reads
    git.json          commit and whether the tree was dirty, of the folder where the command was given
    versions.txt      every installed package, pip's form
    lock              held by the launcher that drives the run
    roles/            announcements of running roles           control/     requests to launcher and learner
    checkpoints/      the newest, and the best policy          logs/        one file a role, of the launcher too
    evaluations.jsonl one line an evaluation                   videos/      films of them
    parameters/       the latest published policy              redis/       the embedded server's files
    shards.json       which replay shards there are       cut.json     which cut of their tables the run goes on from
    lives/            how many lives each actor had, so that a restart repeats no episode
    spill/            what actors could not deliver, until it is delivered
    progress.jsonl    one record a second                      tb/          TensorBoard events
    lineage/          what was learned from (docs/lineage.md)   initial.json   who sent what the run began with
    duration.jsonl    what `sojourn doctor` reads
    report.html       plots/
"""

import difflib
import fcntl
import importlib.metadata
import json
import os
import re
import shutil
import subprocess
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TextIO

from sojourn.config import Config
from sojourn.config.load import dump_config, load_config, shown_config
from sojourn.config.masking import without_secrets
from sojourn.durable_files import replace_durably
from sojourn.errors import ConfigError

CLEANED_UP_S = 20.0  # at most, until nothing of a killed launcher is left
RUNS = Path("runs")
"""Where a run is looked for by name; `run.folder` may put it elsewhere, and then its path is given."""


@dataclass(frozen=True)
class RunIdentity:
    """run.json. run_id: random, the same over restarts and resumes.  commands: how it was started, then each resume."""

    run_id: str
    name: str
    created_at: str
    commands: tuple[str, ...]


def create_run(config: Config, command: Sequence[str]) -> Path:
    """Make the folder of a new run and everything that identifies it.

    command: the command line, written down without secrets.
    Raises ConfigError if the run's name is taken or the folder cannot be made.
    """
    path = _new_folder(config)
    try:
        _identify(path, config, command)
    except OSError as error:
        shutil.rmtree(path, ignore_errors=True)
        raise ConfigError(f"the run folder {path} cannot be written: {error.strerror}") from error
    return path


def _identify(path: Path, config: Config, command: Sequence[str]) -> None:
    identity = RunIdentity(uuid.uuid4().hex, path.name, _now(), (_shown_command(command),))
    write_config(path, config.model_copy(update={"run": config.run.model_copy(update={"name": path.name})}))
    replace_durably(path / "git.json", json.dumps(git_state(Path.cwd()), indent=2))
    replace_durably(path / "versions.txt", "\n".join(package_versions()) + "\n")
    _write_identity(path, identity)


def note_resume(path: Path, config: Config, command: Sequence[str]) -> None:
    """Write down that a run goes on, with a possibly changed configuration."""
    identity = read_run(path)
    write_config(path, config)
    _write_identity(path, replace(identity, commands=(*identity.commands, _shown_command(command))))


def read_run(path: Path) -> RunIdentity:
    """The identity of a run. Raises ConfigError if the folder is no run."""
    try:
        fields = json.loads((path / "run.json").read_text())
        return RunIdentity(**{**fields, "commands": tuple(fields["commands"])})
    except FileNotFoundError as error:
        raise ConfigError(f"{path} is not a run: it has no run.json{_near_runs(path.name)}") from error
    except (ValueError, TypeError, KeyError) as error:
        raise ConfigError(f"{path}/run.json is damaged: {error}") from error


def run_config(path: Path, overrides: Sequence[str] = ()) -> Config:
    """The run's configuration, with overrides laid over it. Raises ConfigError."""
    return load_config(path / "config.yaml", overrides)


def write_config(path: Path, config: Config) -> None:
    """Replace RUN/config.yaml; only its owner may read it if it holds a password."""
    mode = 0o644 if shown_config(config) == dump_config(config) else 0o600
    replace_durably(path / "config.yaml", dump_config(config), mode=mode)


def find_run(name: str | None) -> Path:
    """The run that a name, a path or nothing (the latest) means. Raises ConfigError."""
    if name is None:
        return latest_run()
    candidates = [Path(name), RUNS / name]
    found = next((path for path in candidates if (path / "run.json").is_file()), None)
    if found is None:
        raise ConfigError(f"there is no run {name!r}{_near_runs(Path(name).name)}")
    return found


def latest_run(folder: Path = RUNS) -> Path:
    """The run that was started or resumed last. Raises ConfigError if there is none."""
    identities = list(folder.glob("*/run.json"))
    if not identities:
        raise ConfigError(f"there is no run in {folder}/ yet: start one with `sojourn train configs/pendulum.yaml`")
    return max(identities, key=lambda file: file.stat().st_mtime_ns).parent


@contextmanager
def driving(path: Path) -> Iterator[None]:
    """Hold the run's lock, so that two launchers never drive one run. Raises ConfigError if another holds it.

    The kernel drops the lock with its process, so a killed launcher leaves nothing to clean up. What ends the rest of a killed
    launcher's run holds the lock meanwhile, and is waited for.
    """
    with _lock_file(path) as lock:
        until_s = time.monotonic() + CLEANED_UP_S
        while not _locked(lock.fileno()):
            lock.seek(0)
            driver = lock.read().strip()
            if time.monotonic() > until_s or not driver or _lives(int(driver)):
                raise ConfigError(f"{path} is being driven by process {driver or '?'}: stop that one first")
            time.sleep(0.05)
        lock.truncate(0)
        lock.write(str(os.getpid()))
        lock.flush()
        yield


@contextmanager
def locked(path: Path) -> Iterator[bool]:
    """Hold the run's lock without driving it. Yields False if a launcher has it."""
    with _lock_file(path) as lock:
        yield _locked(lock.fileno())


def _lock_file(path: Path) -> TextIO:
    try:
        return open(path / "lock", "a+", encoding="ascii")
    except OSError as error:
        raise ConfigError(f"{path} cannot be written to: {error.strerror}") from error


def _lives(process_id: int) -> bool:
    try:
        os.kill(process_id, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _locked(descriptor: int) -> bool:
    """Take the lock; `is_driven` of another process may hold it for an instant, hence a second try."""
    for last in (False, True):
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if not last:
                time.sleep(0.05)
        else:
            return True
    return False


def is_driven(path: Path) -> bool:
    """Whether a launcher holds the run's lock now."""
    try:
        with open(path / "lock", encoding="ascii") as lock:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except BlockingIOError:
        return True
    return False


def git_state(folder: Path) -> dict[str, str | bool | None]:
    """Commit and dirtiness of the repository around a folder; None for both without git or a repository."""
    commit, changes = _git(folder, "rev-parse", "HEAD"), _git(folder, "status", "--porcelain")
    return {"commit": commit, "dirty": None if changes is None else bool(changes)}


def package_versions() -> list[str]:
    """Installed packages as `name==version`, sorted, each once."""
    named = ((found.metadata["Name"], found.version) for found in importlib.metadata.distributions())
    return sorted({f"{name}=={version}" for name, version in named if name}, key=str.lower)


def _new_folder(config: Config) -> Path:
    """Make `run.folder`/`run.name`, or a name that nobody has."""
    folder, name = Path(config.run.folder), config.run.name
    if name and not re.fullmatch(r"[\w.+=@-]+", name):
        raise ConfigError(f"run.name is a folder's name (letters, digits, _ . + = @ -), got {name!r}")
    stem = name or _made_name(config)
    for attempt in range(1, 1000):
        path = folder / (stem if attempt == 1 else f"{stem}-{attempt}")
        try:
            path.mkdir(parents=True)
        except FileExistsError as error:
            if name or not folder.is_dir():
                raise ConfigError(f"{path} exists: choose another run.name, or `sojourn resume {path}`") from error
        except OSError as error:
            raise ConfigError(f"the run folder {path} cannot be made: {error.strerror}") from error
        else:
            return path
    raise ConfigError(f"{folder} has a thousand runs called {stem}")


def _made_name(config: Config) -> str:
    environment, algorithm = (re.sub(r"[^\w.-]+", "-", text) for text in (config.environment.id, config.algorithm.name))
    return f"{environment}__{algorithm}__{config.run.seed}__{time.strftime('%Y%m%d-%H%M%S')}"


def _git(folder: Path, *arguments: str) -> str | None:
    try:
        found = subprocess.run(["git", "-C", str(folder), *arguments], capture_output=True, text=True, timeout=5, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return found.stdout.strip() if found.returncode == 0 else None


def _write_identity(path: Path, identity: RunIdentity) -> None:
    replace_durably(path / "run.json", json.dumps(asdict(identity), indent=2))


def _shown_command(command: Sequence[str]) -> str:
    return " ".join(without_secrets(part) for part in command)


def _now() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S%z")


def _near_runs(name: str) -> str:
    runs = sorted(file.parent.name for file in RUNS.glob("*/run.json"))
    near = difflib.get_close_matches(name, runs, n=3) or runs[-3:]
    return f"; in {RUNS}/ there are {', '.join(near)}" if near else ""
