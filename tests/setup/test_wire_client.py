"""A client of gRPC and Arrow alone can draw from a real service, and the benchmark's parts work."""

import argparse
import sys
from pathlib import Path

import numpy as np
import pytest

from replay.client import ActorConnection
from tests.waiting import DEADLINE_S

ROOT = Path(__file__).parents[2]


@pytest.fixture
def benchmark_parts(monkeypatch):
    monkeypatch.syspath_prepend(ROOT)
    from benchmarks import replay_throughput

    yield replay_throughput
    sys.modules.pop("benchmarks.replay_throughput")


def test_the_example_draws_a_batch_with_grpc_and_arrow_alone(benchmark_parts, tmp_path):
    from examples.wire_client import draw

    given = argparse.Namespace(capacity_steps=10_000, durability="process", batch_size=8, segment_steps=64)
    config = benchmark_parts.configuration(given)
    table = config.tables["replay"]
    easy = table.model_copy(update={"limiter": table.limiter.model_copy(update={"min_size": 100})})
    config = config.model_copy(update={"tables": {"replay": easy}})
    with benchmark_parts.served(config, tmp_path) as address:
        actor = ActorConnection(
            address,
            run_id=benchmark_parts.RUN_ID,
            client_id="actor-0",
            schema=benchmark_parts.SCHEMA,
            fleet=config.actors,
            buffer_bytes=1_000_000,
        )
        for number in range(4):
            actor.insert(benchmark_parts.segment(np.random.default_rng(number), 64, 64 * number))
        assert actor.drain(DEADLINE_S)
        batch = draw(address(), batch_size=8)
        actor.close()
    assert batch.num_rows == 8
    assert {"info.key", "info.probability", "observation", "next_observation", "action", "reward"} <= set(batch.schema.names)
    keys = batch.column(batch.schema.get_field_index("info.key")).to_numpy()
    assert ((keys >= 1) & (keys <= 256)).all()
