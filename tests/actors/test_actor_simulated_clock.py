"""Durations, ages and delays of a real actor on its environments' clock, on which more time passes than here."""

from typing import Any

import numpy as np
import pytest

from actors import role as actor_role
from replay import role as replay_role
from replay.client import LearnerConnection, service_info
from sojourn.config import Config
from sojourn.parameters import role as parameters_role
from sojourn.roles import replay_shards
from tests.waiting import DEADLINE_S, eventually

DURATIONS_S = (1_000.0, 20_000.0)  # beside them the seconds that the test itself takes are nothing
HORIZON_S = 60_000.0


def arms(rollout: str) -> Config:
    """Two arms of so many simulated seconds, in a ring from which items leave so long after they were begun."""
    ring = {"sampler": "uniform", "remover": "start_age", "horizon_s": HORIZON_S, "capacity_steps": 10_000}
    return Config.model_validate(
        {
            "environment": {"id": "sojourn/Arms-v0", "kwargs": {"durations": DURATIONS_S, "rewards": (0.0, 1.0)}},
            "duration": {"clock": "env"},
            "actors": {"environments": 4, "segment_steps": 8, "rollout": rollout, "flush_age_s": 0.05},
            "tables": {"replay": {**ring, "limiter": {"min_size": 1, "samples_per_insert": None}}},
            "replay": {"durability": "memory"},
            "network": {"hidden": [8]},
            "algorithm": "dqn",
        }
    )


@pytest.mark.parametrize("rollout", ["lockstep", "asynchronous"])
def test_an_actions_age_and_delay_are_those_of_its_environments_clock(roles: Any, rollout: str):
    config = arms(rollout)
    roles.start(parameters_role.run, config, "parameters")
    roles.start(replay_role.run, config, "replay")
    roles.publish(config)
    stop, running = roles.start(actor_role.run, config, "actor")
    addresses = replay_shards(config, roles.run_folder).addresses
    eventually(lambda: service_info(addresses[0], DEADLINE_S).env_steps >= 200)
    learner = LearnerConnection(
        addresses,
        run_id="run",
        client_id="learner-0",
        table="replay",
        table_settings=config.tables["replay"],
        learner=config.learners.model_copy(update={"batch_size": 512, "prefetch": 1, "batches_per_message": 1}),
        total_env_steps=1_000,
    )
    batch = learner.sample(DEADLINE_S)
    learner.close()
    stop.set()
    running.result(DEADLINE_S)

    slow = batch.info.duration_s > 10_000.0
    assert set(batch.info.duration_s.tolist()) == set(DURATIONS_S)
    age_s = batch.info.rule["start_age_s"]
    assert (age_s >= batch.info.duration_s).all()
    assert (batch.info.delay_s >= batch.info.duration_s).all()
    assert np.median(age_s[slow]) == pytest.approx(DURATIONS_S[1], abs=DEADLINE_S)
    assert np.median(age_s[~slow]) == pytest.approx(DURATIONS_S[0], abs=DEADLINE_S)
    ratio = np.median(batch.factors["duration"][slow]) / np.median(batch.factors["duration"][~slow])
    assert ratio == pytest.approx((HORIZON_S - DURATIONS_S[0]) / (HORIZON_S - DURATIONS_S[1]), rel=0.1)
