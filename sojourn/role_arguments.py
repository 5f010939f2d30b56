"""How one role is started by hand or in a container: `python -m actors|replay|learners`, `python -m sojourn.parameters`.

Parses the command line, reads the configuration, turns SIGTERM and SIGINT into `context.stop`, and runs the role on a thread of
its own, so that a signal is seen even while the role is inside a long call of an environment.
"""

import argparse
import os
import signal
import sys
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from types import FrameType

from sojourn.config.load import load_config
from sojourn.errors import HungError, SojournError
from sojourn.logs import log_to_stderr
from sojourn.roles import RoleContext, fixed_address, parameters_address, ranks_address, replay_shards, shards_in
from sojourn.shard_list import read_shard_list

Run = Callable[[RoleContext], None]


def main(role: str, run: Run, *, evaluate: Run | None = None, arguments: Sequence[str] | None = None) -> int:
    """Run a role until it ends or a signal comes. Returns the exit code.

    role: name of the role that `run` is.  evaluate: what `--evaluate` runs instead, as role "evaluator".
    arguments: None: those of the process.  A second signal ends the process at once.
    """
    parser = make_parser(role, evaluates=evaluate is not None)
    given = parser.parse_args(arguments)
    if evaluate is not None and given.evaluate:
        role, run = "evaluator", evaluate
    log_to_stderr()
    try:
        context = context_of(role, given)
        _stop_on_signals(context.stop)
        _run_on_thread(run, context)
    except SojournError as error:
        print(f"{role}: {error}", file=sys.stderr, flush=True)
        if isinstance(error, HungError):
            os._exit(error.exit_code)  # a thread that never returns would hold the interpreter for ever
        return error.exit_code
    return 0


def make_parser(role: str, *, evaluates: bool = False) -> argparse.ArgumentParser:
    """The arguments that every role takes."""
    module = {"actor": "actors", "learner": "learners", "parameters": "sojourn.parameters"}.get(role, role)
    parser = argparse.ArgumentParser(prog=f"python -m {module}", description=f"Runs one {role} of a run until SIGTERM.")
    parser.add_argument("--config", type=Path, help="configuration file; default: RUN/config.yaml if it is there")
    parser.add_argument("--run-folder", type=Path, required=True, help="folder of the run, RUN")
    parser.add_argument("--run-id", required=True, help="identity of the run, the same for all its roles")
    parser.add_argument("--index", type=int, default=0, help="number among the role's replicas")
    parser.add_argument("--fleet", default="", help="actors: name of the fleet, empty for the default one")
    parser.add_argument("--replay", action="append", default=[], metavar="ADDRESS", help="a replay shard; repeat it for more")
    parser.add_argument("--parameters", default="", metavar="ADDRESS", help="the parameter service")
    parser.add_argument("--listen", default="127.0.0.1:0", metavar="HOST:PORT", help="services: where to listen, port 0 is any")
    if evaluates:
        parser.add_argument("--evaluate", action="store_true", help="evaluate policies instead of collecting experience")
    parser.add_argument("overrides", nargs="*", metavar="key=value", help="overrides of the configuration")
    return parser


def context_of(role: str, given: argparse.Namespace) -> RoleContext:
    """The role's context. Services without a given address are found in the run folder. Raises ConfigError."""
    beside = given.run_folder / "config.yaml"
    config = load_config(given.config or (beside if beside.exists() else None), given.overrides)
    found = replay_shards(config, given.run_folder).addresses
    listed = not (given.replay or config.replay.addresses) and read_shard_list(given.run_folder) is not None
    return RoleContext(
        config=config,
        run_folder=given.run_folder,
        run_id=given.run_id,
        role=role,
        index=given.index,
        fleet=given.fleet,
        replay=tuple(fixed_address(target) for target in given.replay) or found,
        parameters=fixed_address(given.parameters) if given.parameters else parameters_address(config, given.run_folder),
        shards=partial(shards_in, given.run_folder) if listed else None,
        ranks=ranks_address(config, given.run_folder),
        listen=given.listen,
    )


def _stop_on_signals(stop: threading.Event) -> None:
    def ask(number: int, frame: FrameType | None) -> None:
        stop.set()
        signal.signal(number, signal.SIG_DFL)  # the next one ends the process

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, ask)


def _run_on_thread(run: Run, context: RoleContext) -> None:
    """Run the role while the calling thread stays free for signals. Raises what the role raised."""
    with ThreadPoolExecutor(1, thread_name_prefix=context.name) as thread:
        thread.submit(run, context).result()
