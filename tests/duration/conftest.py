"""A store of one-step items whose starts, durations and versions the test chooses."""

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import gymnasium as gym
import numpy as np
import pytest

from replay.arrow import decode_chunk, encode_chunk
from replay.rows import Rows
from replay.store import Store
from sojourn.columns import Schema, space_to_json
from sojourn.config.schema import LimiterSettings, TableSettings
from sojourn.experience import Columns, Segment

SCHEMA = Schema(
    observation=space_to_json(gym.spaces.Box(-np.inf, np.inf, (1,), np.float32)), action=space_to_json(gym.spaces.Discrete(2))
)


def one_steps(
    lane: int, first_sequence: int, started_at_s: Any, duration_s: Any, versions: Any = 0, action: int = 0
) -> list[Segment]:
    """Episodes of one step each, one segment an episode; sequence numbers go up by two."""
    started = np.atleast_1d(np.asarray(started_at_s, np.float64))
    durations, versions = np.broadcast_to(duration_s, started.shape), np.broadcast_to(versions, started.shape)
    return [
        Segment(
            lane=lane,
            first_sequence=first_sequence + 2 * place,
            episode=first_sequence // 2 + place,
            observation={"observation": np.zeros((2, 1), np.float32)},
            action={"action": np.full(1, action, np.int64)},
            reward=np.ones(1, np.float32),
            terminated=np.ones(1, np.bool_),
            truncated=np.zeros(1, np.bool_),
            duration_s=durations[place : place + 1].astype(np.float64),
            started_at_s=started[place : place + 1],
            end_kind=np.zeros(1, np.uint8),
            log_prob=np.zeros(1, np.float32),
            policy_version=versions[place : place + 1].astype(np.int64),
            closed=True,
        )
        for place in range(len(started))
    ]


def rows_of(segments: list[Segment], now_s: float) -> Rows:
    return decode_chunk(SCHEMA, encode_chunk(SCHEMA, segments, now_s))


class World:
    """A store with one table `replay`, and lanes that deliver one-step episodes."""

    def __init__(self, **settings: Any) -> None:
        table = {"capacity_steps": 4_096, "capacity_bytes": 50_000_000, "sampler": "uniform", **settings}
        free = LimiterSettings(samples_per_insert=None, min_size=1)
        self.settings = TableSettings(limiter=free, **table)
        self.store = Store(SCHEMA, {"replay": self.settings}, seed=0, batch_size=4)
        self._next: dict[int, int] = {}

    def deliver(self, now_s: float, started_at_s: Any, duration_s: Any, *, lane: int = 0, **told: Any) -> int:
        """Insert one-step episodes that end now; returns the items made."""
        segments = one_steps(lane, self._next.get(lane, 0), started_at_s, duration_s, **told)
        self._next[lane] = self._next.get(lane, 0) + 2 * len(segments)
        rows = rows_of(segments, now_s)
        self.store.validate(rows, ("actor-0", 1))
        return self.store.append(rows, ("actor-0", 1), now_s).new_items["replay"]

    def draw(self, now_s: float, size: int = 64) -> Columns | None:
        drawn = self.store.draw("replay", size, 1, now_s)
        return None if drawn is None else drawn.columns


@pytest.fixture
def world() -> Callable[..., World]:
    return World


@pytest.fixture
def kit() -> SimpleNamespace:
    return SimpleNamespace(schema=SCHEMA, one_steps=one_steps, rows=rows_of)
