"""One run from its first part to its last, wherever the parts live. Blocks until the run is over."""

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from sojourn.chosen_cut import choose_cut
from sojourn.config import Config
from sojourn.errors import CheckpointError, SojournError
from sojourn.launcher.beginning import Loading, beginning
from sojourn.launcher.control import keep_scale, take_scale_request
from sojourn.launcher.host import Host
from sojourn.launcher.interrupts import Interrupts
from sojourn.launcher.leftovers import forget_announcements
from sojourn.launcher.resharding import Resharding
from sojourn.launcher.rules import reason_to_end
from sojourn.launcher.standing import Gauge
from sojourn.launcher.supervision import Supervisor
from sojourn.launcher.wiring import Find, wire
from sojourn.monitor import Monitor, Progress
from sojourn.shard_list import ShardList, read_shard_list, write_shard_list

OnProgress = Callable[[Progress], None]
EVALUATOR_WAITS_S = 15.0  # at most, for the first gradient step: until then it would only slow the others' start

LOG = logging.getLogger(__name__)


def drive(
    config: Config,
    run_folder: Path,
    host: Host,
    find: Find,
    read: Callable[[], ShardList],
    interrupts: Interrupts,
    on_progress: OnProgress | None,
) -> int:
    """Start the parts, keep them running until the run is over, end them in order. Returns 0.

    find, read: how parts find services, and the list of shards.

    Raises the SojournError that made going on hopeless, or that a role raised while it ended (a checkpoint that cannot be written).
    """
    forget_announcements(run_folder)
    settle_shards(config, run_folder)
    settle_cut(config, run_folder)
    parts = wire(config, find, read)
    supervisor = Supervisor(config, parts, host, run_folder)
    edges = next(part.edges for part in parts if part.role == "learner")
    gauge = Gauge(edges.replay_shards, run_folder)
    with monitored(run_folder, config.learners.table, on_progress), beginning(config, run_folder, edges) as loading:
        failure: SojournError | None = None
        try:
            reason = _until_over(config, run_folder, supervisor, gauge, interrupts, loading)
            LOG.info("the run is over: %s", reason)
        except SojournError as error:
            failure = error
        raised = supervisor.stop()
    if failure or raised:
        raise failure or raised[0]
    return 0


def settle_cut(config: Config, run_folder: Path) -> None:
    """Write which cut the run's shards go back to: that of the checkpoint which the learner will go on from. Says what comes back."""
    if config.replay.addresses:
        return  # they run elsewhere, and went on meanwhile
    try:
        chosen = choose_cut(run_folder)
    except CheckpointError as error:
        LOG.warning("the replay tables go on from their latest snapshots: %s", error)  # the learner will say that it cannot go on
        return
    if config.replay.durability == "memory" and (run_folder / "checkpoints").is_dir():
        LOG.info("replay.durability is memory: there is no table state to come back to, the replay tables begin empty")
    elif chosen is not None:
        LOG.info("learner and replay tables go on from checkpoint %s", chosen.label)


def settle_shards(config: Config, run_folder: Path) -> None:
    """Write the run's list: shards that it ever had, of which `replay.shards` take inserts. None where they run elsewhere."""
    if config.replay.addresses:
        (run_folder / "shards.json").unlink(missing_ok=True)
        return
    before = read_shard_list(run_folder) or ShardList(1, 1)
    write_shard_list(run_folder, before.scaled(config.replay.shards))


def _until_over(
    config: Config, run_folder: Path, supervisor: Supervisor, gauge: Gauge, interrupts: Interrupts, loading: Loading | None
) -> str:
    """Turn until a rule, a person or the learner ends the run. Returns why.

    loading: what actors wait for; None: nothing.
    """
    supervisor.hold_back("evaluator")
    if loading:
        supervisor.hold_back("actor")
    resharding = Resharding(run_folder, supervisor)
    for returned in supervisor.turns():
        standing = gauge.standing()
        if standing.learner_step > 0 or standing.elapsed_s > EVALUATOR_WAITS_S:
            supervisor.release("evaluator")
        if loading and loading.over():
            supervisor.release("actor")
        if interrupts.asked.is_set():
            return "asked to stop"
        for name in returned:
            resharding.returned(name)
        if any(name.startswith("learner") for name in returned):
            return "the learner has finished"
        if reason := reason_to_end(config, standing):
            return reason
        if asked := take_scale_request(run_folder):
            supervisor.scale(asked.actors)
            if asked.shards is not None:
                resharding.begin(asked.shards)
            keep_scale(run_folder, asked)
        resharding.turn()
    raise AssertionError("turns never end")


@contextmanager
def monitored(run_folder: Path, table: str, on_progress: OnProgress | None) -> Iterator[None]:
    """Record the run's progress once a second on a thread of its own."""
    over = threading.Event()
    with Monitor(run_folder, table) as monitor:
        told = on_progress or (lambda record: None)
        thread = threading.Thread(target=monitor.run, args=(over, told), name="monitor", daemon=True)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join(timeout=5.0)
