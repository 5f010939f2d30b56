"""`sojourn export` writes what a run stored, while it goes on and after it has ended, and the page's examples read it."""

import re
import threading
import time
from contextlib import contextmanager
from pathlib import Path

import gymnasium as gym
import numpy as np
import pyarrow.parquet as pq
import pytest

from replay.client import ActorConnection
from replay.role import run
from sojourn.columns import Schema, space_to_json
from sojourn.config import Config
from sojourn.experience import Segment
from sojourn.roles import RoleContext, announced_address
from sojourn.run_folder import create_run, driving, read_run
from sojourn.shard_list import ShardList, write_shard_list

PAGE = (Path(__file__).parents[2] / "docs" / "data.md").read_text()
SCHEMA = Schema(
    observation=space_to_json(gym.spaces.Box(-np.inf, np.inf, (2,), np.float32)), action=space_to_json(gym.spaces.Discrete(3))
)
STEPS = 50


def episode(number):
    """An episode of one lane; its reward is its number."""
    last = np.arange(STEPS) == STEPS - 1
    return Segment(
        lane=0,
        first_sequence=number * (STEPS + 1),
        episode=number,
        observation={"observation": np.full((STEPS + 1, 2), number, np.float32)},
        action={"action": np.ones(STEPS, np.int64)},
        reward=np.full(STEPS, number, np.float32),
        terminated=last,
        truncated=np.zeros(STEPS, bool),
        duration_s=np.full(STEPS, 0.25),
        started_at_s=np.full(STEPS, time.monotonic() - 0.25),
        end_kind=np.zeros(STEPS, np.uint8),
        log_prob=np.zeros(STEPS, np.float32),
        policy_version=np.zeros(STEPS, np.int64),
        closed=True,
    )


@contextmanager
def going_on(path, config, episodes):
    """The run's replay services, in which two actors have stored episodes."""
    write_shard_list(path, ShardList(config.replay.shards, config.replay.shards))
    identity, stop = read_run(path).run_id, threading.Event()
    contexts = [RoleContext(config, path, identity, "replay", index=index, stop=stop) for index in range(config.replay.shards)]
    threads = [threading.Thread(target=run, args=(context,)) for context in contexts]
    for thread in threads:
        thread.start()
    try:
        for index in range(config.replay.shards):
            address = announced_address(path, f"replay-{index}")
            actor = ActorConnection(
                address,
                run_id=identity,
                client_id=f"actor-{index}",
                schema=SCHEMA,
                fleet=config.actors,
                buffer_bytes=1 << 20,
                timeout_s=60.0,
            )
            for number in range(episodes):
                actor.insert(episode(number))
            assert actor.drain(60.0)
            actor.close()
        yield
    finally:
        stop.set()
        for thread in threads:
            thread.join(60.0)


def made_run(here, **replay):
    limiter = {"min_size": 1, "samples_per_insert": None}
    config = Config.model_validate(
        {
            "run": {"name": "NAME"},
            "tables": {"replay": {"capacity_steps": 4_096, "limiter": limiter}},
            "replay": {"shards": 2, **replay},
        }
    )
    return create_run(config, ["sojourn", "train"]), config


def rows_in(folder):
    order = [("shard", "ascending"), ("row_number", "ascending")]
    return pq.ParquetDataset(folder).read().sort_by(order)


def test_a_live_and_an_ended_run_export_the_same_and_the_examples_read_it(here, sojourn, capsys):
    path, config = made_run(here)
    with going_on(path, config, 3), driving(path):
        live = sojourn("export", "NAME", "--output", "live")
    ended = sojourn("export", "NAME", "--output", "exported")

    assert live[0] == ended[0] == 0, live[2] + ended[2]
    assert live[1].splitlines()[0] == "live  300 steps of table replay"
    assert re.fullmatch(r"  1 file, [\d.]+ KB", live[1].splitlines()[1])
    rows = rows_in("exported")
    assert rows.equals(rows_in("live"))
    assert set(rows["actor"].to_pylist()) == {"actor-0", "actor-1"}
    assert rows["priority"].null_count == 6  # observation-only rows
    assert not list((path / "redis").glob("*.json")), "the servers that were started have ended"
    for example in re.findall(r"```python\n(.*?)```", PAGE, flags=re.DOTALL):
        exec(compile(example, "docs/data.md", "exec"), {"duckdb": pytest.importorskip("duckdb")})
    said = capsys.readouterr().out
    assert "completed" in said
    assert "next_observation" in said


def test_a_minari_dataset_is_read_by_minari(here, sojourn):
    import minari

    path, config = made_run(here)
    with going_on(path, config, 2):
        pass
    code, said, complaint = sojourn("export", "NAME", "--format", "minari", "--output", "episodes")
    assert code == 0, complaint
    dataset = minari.MinariDataset("episodes/data")
    assert "4 episodes of 200 steps" in said
    assert [len(found) for found in dataset.iterate_episodes()] == [STEPS] * 4
    assert dataset[0].infos["duration_s"][1:].tolist() == [0.25] * STEPS


def test_what_cannot_be_exported_is_one_sentence(here, sojourn):
    path, _ = made_run(here)
    assert sojourn("export", "NAME", "--output", "x", "--table", "rewards")[2].startswith(
        f"sojourn: {path} has no table 'rewards'; there are replay"
    )
    assert "has kept nothing of shard 0" in sojourn("export", "NAME", "--output", "x")[2]
