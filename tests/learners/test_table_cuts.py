"""A learner's checkpoint and the tables' cut are one pair: on request, through kill -9 between the two, and when the run goes on."""

import asyncio
import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import grpc

from protos import replay_pb2 as pb
from protos.replay_pb2_grpc import ReplayStub
from replay.embedded import socket_path
from replay.redis_store import RedisStore
from sojourn.checkpoint_requests import ask_for_checkpoint, take_answer, withdraw
from sojourn.chosen_cut import ShardCut, choose_cut
from sojourn.config.load import dump_config
from tests.waiting import DEADLINE_S, eventually

PROCESS = {"replay": {"durability": "process"}}
DIES_AT_ITS_SECOND_CHECKPOINT = """
import os, runpy, signal
from sojourn.algorithms import ALGORITHMS, Algorithm
from sojourn.algorithms.sac import Sac

class Dying(Sac):
    checkpoints = 0
    def state(self):
        Dying.checkpoints += 1
        if Dying.checkpoints == 2:
            os.kill(os.getpid(), signal.SIGKILL)
        return super().state()

ALGORITHMS["sac"] = Dying
runpy.run_module("learners", run_name="__main__")
"""


def kept(folder: Path, name: str) -> dict[str, bytes]:
    """A hash of shard 0's keys in its embedded server."""

    async def read() -> dict[str, bytes]:
        store = RedisStore(f"unix://{socket_path(folder, 'valkey-0.sock')}", run_id="run", shard=0, owner=0)
        try:
            return await store.hash(name)
        finally:
            await store.close()

    return asyncio.run(read())


def state_of(pages: dict[str, bytes]) -> tuple[dict[str, bytes], float]:
    """Priorities and times sampled of all items, byte by byte, and what the limiter counts as sampled."""
    sampled = json.loads(pages["counters"])["store"]["tables"]["replay"]["limiter"]["sampled"]
    return {name: body for name, body in pages.items() if name.startswith("page:")}, sampled


def cut_now(run: Any, label: str) -> tuple[dict[str, bytes], float]:
    with grpc.insecure_channel(run.replay()) as channel:
        ReplayStub(channel).Checkpoint(pb.CheckpointRequest(label=label), timeout=DEADLINE_S)
    return state_of(kept(run.folder, f"cut:{label}"))


def test_killed_between_the_shards_cut_and_its_file_the_older_pair_is_whole_and_the_run_goes_on_from_it(
    make_run: Any, tmp_path: Path
) -> None:
    run = make_run(**PROCESS)
    run.insert(200)
    (tmp_path / "run.yaml").write_text(dump_config(run.config))
    told = {
        "--config": str(tmp_path / "run.yaml"),
        "--run-folder": str(run.folder),
        "--run-id": "run",
        "--replay": run.replay(),
        "--parameters": run.parameters(),
    }
    arguments = [part for option in told.items() for part in option]
    ended = subprocess.run([sys.executable, "-c", DIES_AT_ITS_SECOND_CHECKPOINT, *arguments], timeout=2 * DEADLINE_S, check=False)
    assert ended.returncode == -signal.SIGKILL

    older = "step_000000000001"
    assert run.checkpoints() == [older]
    (newer,) = kept(run.folder, "cuts").keys() - {older}
    then = state_of(kept(run.folder, f"cut:{older}"))
    assert state_of(kept(run.folder, f"cut:{newer}")) != then
    run.close()
    chosen = choose_cut(run.folder)
    assert chosen is not None
    assert (chosen.label, dict(chosen.rows)) == (older, {0: 200})
    assert cut_now(make_run(**PROCESS), "after") == then


def test_a_checkpoint_is_made_when_asked_and_says_where_the_tables_were_cut(make_run: Any) -> None:
    run = make_run(**PROCESS, learners={"checkpoint_every_s": 3600.0, "keep_checkpoints": 10})
    run.insert(200)
    run.learn(20)
    stop, ended = run.learner()
    eventually(lambda: run.watcher.latest().learner_step > 20)
    requests = [ask_for_checkpoint(run.folder) for _ in range(2)]
    first, second = (eventually(lambda name=name: take_answer(run.folder, name)) for name in requests)
    for made in (first, second):
        assert (made.refused, made.folder in run.checkpoints()) == ("", True)
        assert made.cuts == (ShardCut(0, row_number=200, env_steps=200, items=199),)
        assert made.folder in kept(run.folder, "cuts")
        metadata = json.loads((run.folder / "checkpoints" / made.folder / "metadata.json").read_text())
        assert [ShardCut(**cut) for cut in metadata["cuts"]] == list(made.cuts)
    stop.set()
    ended.result(DEADLINE_S)
    final = run.checkpoints()[-1]
    assert cut_now(run, "after") == state_of(kept(run.folder, f"cut:{final}"))  # the last one holds the last priorities
    assert list((run.folder / "control").iterdir()) == []


def test_without_updates_or_a_durable_tier_the_answer_is_the_reason(make_run: Any) -> None:
    run = make_run(table={"limiter": {"min_size": 100, "samples_per_insert": None}})
    run.insert(2)
    run.learner()
    first = ask_for_checkpoint(run.folder)
    assert eventually(lambda: take_answer(run.folder, first)).refused == "the learner has made no update yet"
    run.insert(200)
    eventually(run.checkpoints)
    second = ask_for_checkpoint(run.folder)
    [cut] = eventually(lambda: take_answer(run.folder, second)).cuts
    assert cut.reason == "replay.durability is memory: there is no table state to come back to"
    third = ask_for_checkpoint(run.folder)
    withdraw(run.folder, third)
    run.close()
    assert choose_cut(run.folder) is None
