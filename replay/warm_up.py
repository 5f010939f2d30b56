"""Which calls touch every kernel once? Small stores driven through all that they can do, so that compiled code is there beforehand."""

import gymnasium as gym
import numpy as np

from replay.arrow import decode_chunk, encode_chunk
from replay.store import Store
from replay.survival import remaining_window
from sojourn.columns import Column, Schema, space_to_json
from sojourn.config.schema import LimiterSettings, TableSettings
from sojourn.experience import Segment

STEPS = 24
TABLE_BYTES = 100_000_000


def exercise() -> None:
    """Insert, draw, update, consume, evict, snapshot and restore, with stacked frames and ragged columns, in every kind of table."""
    schema = _schema()
    free = LimiterSettings(samples_per_insert=None, min_size=1)
    common = {"capacity_steps": 64, "capacity_bytes": TABLE_BYTES, "limiter": free}
    tables = {
        "prioritised": TableSettings(n_step=2, **common),
        "uniform": TableSettings(sampler="uniform", remover="lowest_priority", max_times_sampled=2, **common),
        "fifo": TableSettings(sampler="fifo", consume=True, order="start", **common),
        "sequence": TableSettings(item="sequence", length=4, period=2, burn_in=1, **common),
    }
    store = Store(schema, tables, seed=0, batch_size=2)
    for turn in range(8):
        body = encode_chunk(schema, [_segment(turn * (STEPS + 1), turn)], now_s=float(turn))
        rows = decode_chunk(schema, body)
        store.validate(rows, ("warm-up", 1))
        store.append(rows, ("warm-up", 1), now_s=float(turn))
    for name in tables:
        drawn = store.draw(name, 2, 2, now_s=9.0)
        if drawn is not None:
            store.update_priorities(name, drawn.keys, np.ones(len(drawn.keys), np.float32))
            store.release(name, [draw.draw_id for draw in drawn.draws])
        store.facts(name, now_s=9.0)
    store.take_dirty_pages()
    store.close_stream(("warm-up", 1), now_s=10.0)
    _look_up(np.ones(1))


def _look_up(x: np.ndarray) -> None:
    """As a learner does: in columns of several shards together, and in those of a message, which nobody may write to."""
    curve = remaining_window(np.ones(1))
    curve.inverse_at(x)
    x.setflags(write=False)
    curve.inverse_at(x)


def _schema() -> Schema:
    observation = gym.spaces.Box(-1.0, 1.0, (3,), np.float32)
    return Schema(
        observation=space_to_json(observation),
        action=space_to_json(gym.spaces.Discrete(2)),
        frame_stack=2,
        extras=(Column("tokens", "int32", (), 4),),
    )


def _segment(first_sequence: int, episode: int) -> Segment:
    never = np.zeros(STEPS, np.bool_)
    return Segment(
        lane=0,
        first_sequence=first_sequence,
        episode=episode,
        observation={"observation": np.zeros((STEPS + 1, 3), np.float32)},
        action={"action": np.zeros(STEPS, np.int64)},
        reward=np.zeros(STEPS, np.float32),
        terminated=np.append(never[1:], True),
        truncated=never,
        duration_s=np.ones(STEPS),
        started_at_s=np.zeros(STEPS),
        end_kind=np.zeros(STEPS, np.uint8),
        log_prob=np.zeros(STEPS, np.float32),
        policy_version=np.zeros(STEPS, np.int64),
        closed=True,
        extras={"tokens": np.ones((STEPS, 4), np.int32), "tokens.length": np.full(STEPS, 3)},
    )
