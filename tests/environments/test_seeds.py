"""Seeds are reproducible and no two lanes share one."""

import pytest

from sojourn.seeds import SEED_RANGE, SLOTS_PER_ACTOR, lane_seed


def test_the_same_lane_gets_the_same_seed():
    assert lane_seed(1, "actor", 3, 2, 0) == lane_seed(1, "actor", 3, 2, 0)


def test_a_seed_fits_31_bits():
    seeds = [lane_seed(run, "actor", 99_999, SLOTS_PER_ACTOR - 1, life) for run in range(50) for life in range(4)]
    assert all(0 <= seed < SEED_RANGE for seed in seeds)


def test_lanes_of_one_role_never_share_a_seed():
    seeds = {lane_seed(7, "actor", actor, slot, 0) for actor in range(200) for slot in range(64)}
    assert len(seeds) == 200 * 64


def test_roles_fleets_lives_and_runs_do_not_share_seeds():
    seeds = [
        lane_seed(run, role, actor, slot, life)
        for run in (1, 2)
        for role in ("actor", "actor-slow", "evaluator", "learner")
        for actor in range(8)
        for slot in range(8)
        for life in range(4)
    ]
    assert len(set(seeds)) == len(seeds)


def test_a_slot_out_of_range_is_refused():
    with pytest.raises(ValueError, match="4096"):
        lane_seed(1, "actor", 0, 4096, 0)
