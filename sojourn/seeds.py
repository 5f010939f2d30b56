"""Seeds: one number from (run seed, role, actor, slot, life), so that no two lanes live through the same episodes.

Pure: no I/O, no clock, no global random state. The same five numbers give the same seed on every machine.
"""

import zlib

import numpy as np

SLOTS_PER_ACTOR = 4096  # as many environments as one actor may have (sojourn.config.schema)
SEED_RANGE = 2**31  # environments that hand their seed to C take 31 bits


def lane_seed(run_seed: int, role: str, actor_index: int, slot: int, incarnation_count: int) -> int:
    """Seed of one lane, in [0, 2**31).

    role: who asks, with the fleet where there are several: "actor", "actor-slow", "evaluator", "learner".
    slot: environment slot of the actor, below 4096.  incarnation_count: lives of that slot before this one, so that a restarted
    slot does not repeat the episodes that it has delivered already.

    Lanes of one role and incarnation count never share a seed: each takes its own number behind a common base. The bases of
    different roles, incarnation counts and run seeds are independent draws (NumPy SeedSequence with a spawn key).
    """
    if not 0 <= slot < SLOTS_PER_ACTOR:
        raise ValueError(f"slot must lie in [0, {SLOTS_PER_ACTOR}), got {slot}")
    base = np.random.SeedSequence(run_seed, spawn_key=(zlib.crc32(role.encode()), incarnation_count))
    return (int(base.generate_state(1)[0]) + actor_index * SLOTS_PER_ACTOR + slot) % SEED_RANGE
