"""Does the supervisor keep what is wanted running, scale it, and end it in order? Roles are small functions on threads."""

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from sojourn.config import Config
from sojourn.errors import CheckpointError, ConfigError, ContractError
from sojourn.launcher import wiring
from sojourn.launcher.resharding import Resharding
from sojourn.launcher.restarts import MOST_REFUSALS
from sojourn.launcher.serial import ThreadHost
from sojourn.launcher.supervision import Supervisor
from sojourn.launcher.wiring import wire
from sojourn.roles import announced_address
from sojourn.shard_list import FinalCounts, ShardList, TableCounts, leave_counts, shard_list, write_shard_list
from tests.waiting import eventually

ROLES = '''
"""Small roles: each life writes a line when it begins and when it ends, and does what RUN/NAME.does says."""
import json
from sojourn import errors

def run(context):
    def tell(what):
        with (context.run_folder / "story").open("a") as story:
            story.write(json.dumps([context.name, what]) + "\\n")
    tell("began")
    does = context.run_folder / f"{context.name}.does"
    todo = does.read_text().split() if does.exists() else []
    if "return" in todo:
        return
    if "raise" in todo:
        raise getattr(errors, todo[1])("as it was told")
    context.announce()
    context.stop.wait()
    tell("ended")
    if "fail" in todo:
        raise getattr(errors, todo[1])("while it ended")
'''


class Stage:
    """A run folder with small roles in it, and the supervisor that drives them."""

    def __init__(self, folder: Path, **sections: object) -> None:
        self.folder = folder
        config = Config.model_validate(sections)
        parts = wire(config, lambda name: announced_address(folder, name))
        self.supervisor = Supervisor(config, parts, ThreadHost(config, folder, "run"), folder)
        self._turns = self.supervisor.turns()

    def does(self, name: str, what: str) -> None:
        (self.folder / f"{name}.does").write_text(what)

    def story(self) -> list[tuple[str, str]]:
        file = self.folder / "story"
        lines = file.read_text().splitlines() if file.exists() else []
        return [(name, what) for name, what in map(json.loads, lines)]

    def times(self, name: str, what: str) -> int:
        return self.story().count((name, what))

    def turn_until(self, condition: Callable[[], bool]) -> list[str]:
        """Turn until the condition holds. Returns parts that returned by themselves meanwhile."""
        returned: list[str] = []

        def holds() -> bool:
            if not (reached := condition()):
                returned.extend(next(self._turns))
            return reached

        eventually(holds, tell=self.story)
        return returned


@pytest.fixture
def stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Stage]:
    (tmp_path / "small_roles.py").write_text(ROLES)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "small_roles", raising=False)
    for role in wiring.ENTRY:
        monkeypatch.setitem(wiring.ENTRY, role, "small_roles:run")
    return lambda **sections: Stage(tmp_path, **sections)


def test_everything_starts_and_ends_in_order(stage: Callable[..., Stage]) -> None:
    run = stage(actors={"replicas": 2})
    run.turn_until(lambda: len(run.story()) == 6)
    assert run.supervisor.stop() == []
    ended = [name for name, what in run.story() if what == "ended"]
    assert sorted(ended[:2]) == ["actor-0", "actor-1"]
    assert ended[2:] == ["learner-0", "evaluator-0", "replay-0", "parameters-0"]
    assert list((run.folder / "roles").glob("*.json")) == []


def test_a_role_that_fails_gets_another_life(stage: Callable[..., Stage]) -> None:
    run = stage()
    run.does("actor-0", "raise UnavailableError")
    run.turn_until(lambda: run.times("actor-0", "began") == 1)
    run.does("actor-0", "go on")
    run.turn_until(lambda: run.times("actor-0", "began") == 2)
    run.supervisor.stop()
    assert run.times("actor-0", "ended") == 1


def test_a_refusal_that_keeps_coming_ends_the_run_with_its_own_sentence(stage: Callable[..., Stage]) -> None:
    run = stage()
    run.does("actor-0", "raise ContractError")
    with pytest.raises(ContractError, match=r"^actor-0: as it was told$"):
        run.turn_until(lambda: False)
    assert run.times("actor-0", "began") == MOST_REFUSALS
    run.supervisor.stop()


def test_an_impossible_configuration_is_not_tried_twice(stage: Callable[..., Stage]) -> None:
    run = stage()
    run.does("learner-0", "raise ConfigError")
    with pytest.raises(ConfigError, match=r"^learner-0: as it was told$"):
        run.turn_until(lambda: False)
    assert run.times("learner-0", "began") == 1
    run.supervisor.stop()


def test_a_learner_that_returns_by_itself_is_told_of(stage: Callable[..., Stage]) -> None:
    run = stage()
    run.does("learner-0", "return")
    returned: list[str] = []
    while not returned:
        returned += run.turn_until(lambda: run.times("learner-0", "began") > 0) or next(run.supervisor.turns())
    assert returned == ["learner-0"]
    run.supervisor.stop()


def test_what_a_role_raises_while_it_ends_is_told_of(stage: Callable[..., Stage]) -> None:
    run = stage()
    run.does("learner-0", "fail CheckpointError")
    run.turn_until(lambda: len(run.story()) == 5)
    raised = run.supervisor.stop()
    assert [type(error) for error in raised] == [CheckpointError]


def test_scaling_starts_and_ends_the_highest_numbered_actors(stage: Callable[..., Stage]) -> None:
    run = stage(actors={"replicas": 1, "fleets": {"slow": {"replicas": 1}}})
    run.turn_until(lambda: len(run.story()) == 6)
    run.supervisor.scale({"": 3})
    run.turn_until(lambda: run.times("actor-2", "began") == 1)
    run.supervisor.scale({"": 1})
    run.turn_until(lambda: run.times("actor-1", "ended") == 1 and run.times("actor-2", "ended") == 1)
    run.supervisor.scale({"": 2})
    run.turn_until(lambda: run.times("actor-1", "began") == 2)
    assert run.times("actor-0", "ended") == 0
    assert run.times("actor-slow-0", "ended") == 0
    run.supervisor.stop()


def test_the_list_of_shards_changes_once_further_ones_have_announced_themselves(stage: Callable[..., Stage]) -> None:
    run = stage()
    write_shard_list(run.folder, ShardList(1, 1))
    resharding = Resharding(run.folder, run.supervisor)
    resharding.begin(3)
    resharding.turn()
    assert shard_list(run.folder) == ShardList(1, 1)
    run.turn_until(lambda: all((run.folder / "roles" / f"replay-{shard}.json").exists() for shard in range(3)))
    full = run.folder / f".shards.json.{os.getpid()}"
    full.symlink_to("/dev/full")
    resharding.turn()
    assert shard_list(run.folder) == ShardList(1, 1)  # a disk without room ends no run
    resharding.turn()
    assert shard_list(run.folder) == ShardList(3, 3)
    resharding.begin(2)
    resharding.turn()
    assert shard_list(run.folder) == ShardList(2, 3)  # none leaves: it may hold items
    assert run.supervisor.stop() == []


def test_a_retired_shard_that_has_left_is_listed_with_its_counts_and_comes_back_when_it_is_wanted(
    stage: Callable[..., Stage],
) -> None:
    run = stage(replay={"shards": 3})
    write_shard_list(run.folder, ShardList(2, 3))
    resharding, counts = Resharding(run.folder, run.supervisor), FinalCounts(env_steps=7, tables={"replay": TableCounts(6, 5)})

    def turns_until_returned(name: str) -> None:
        for returned in run.turn_until(lambda: run.times(name, "began") > 0 and name not in running(run)):
            resharding.returned(returned)

    run.does("replay-2", "return")
    leave_counts(run.folder, 2, counts)
    turns_until_returned("replay-2")
    assert shard_list(run.folder) == ShardList(2, 3, {2: counts})
    assert shard_list(run.folder).here == (0, 1)

    run.does("replay-1", "return")  # it takes inserts: it only starts again
    run.supervisor.want_shards((0,))
    run.turn_until(lambda: "replay-1" not in running(run))
    leave_counts(run.folder, 1, counts)
    run.supervisor.want_shards((0, 1))
    turns_until_returned("replay-1")
    assert shard_list(run.folder) == ShardList(2, 3, {2: counts})

    for shard in (1, 2):
        run.does(f"replay-{shard}", "serve")
    resharding.begin(3)
    run.turn_until(lambda: {"replay-0", "replay-1", "replay-2"} <= running(run))
    assert run.times("replay-2", "began") == 2
    resharding.turn()
    assert shard_list(run.folder) == ShardList(3, 3)
    assert run.supervisor.stop() == []


def running(run: Stage) -> set[str]:
    """Parts that have announced themselves."""
    return {file.stem for file in (run.folder / "roles").glob("*.json")}


def test_what_is_held_back_starts_once_it_is_released(stage: Callable[..., Stage]) -> None:
    run = stage()
    run.supervisor.hold_back("evaluator")
    run.turn_until(lambda: len(run.story()) == 4)
    next(run.supervisor.turns())
    assert run.times("evaluator-0", "began") == 0
    run.supervisor.release("evaluator")
    run.turn_until(lambda: run.times("evaluator-0", "began") == 1)
    run.supervisor.stop()
