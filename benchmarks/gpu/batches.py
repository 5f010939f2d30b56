"""Random transitions with HalfCheetah's shapes, as a learner's connection hands them out. NumPy only."""

import numpy as np

from benchmarks.gpu.plain import ACTION, OBSERVATION
from sojourn.experience import Batch, SampleInfo


def random_batch(seed: int, items: int = 256) -> Batch:
    """One batch of the table `replay`. Its arrays may only be read."""
    rng = np.random.default_rng(seed)
    columns = {
        "observation": rng.standard_normal((items, OBSERVATION), np.float32),
        "next_observation": rng.standard_normal((items, OBSERVATION), np.float32),
        "action": rng.uniform(-1.0, 1.0, (items, ACTION)).astype(np.float32),
        "reward": rng.standard_normal((items, 1), np.float32),
        "duration_s": rng.uniform(0.0, 1.0, (items, 1)),
        "mask": np.ones((items, 1), np.bool_),
        "terminated": rng.random(items) < 0.1,
        "policy_version": np.full(items, 3, np.int64),
    }
    for column in columns.values():
        column.setflags(write=False)
    ones = np.ones(items)
    info = SampleInfo(
        key=np.arange(1, items + 1, dtype=np.uint64),
        probability=ones / items,
        table_items=float(items),
        times_sampled=np.ones(items, np.uint32),
        policy_version=columns["policy_version"],
        delay_s=ones,
        age_s=ones,
        duration_s=ones,
        task=np.zeros(items, np.int64),
        shard=np.zeros(items, np.uint32),
        draw_id=np.zeros(items, np.uint64),
        redelivered=np.zeros(items, np.bool_),
    )
    return Batch("replay", columns, info, rng.uniform(0.5, 1.5, items).astype(np.float32), {})
