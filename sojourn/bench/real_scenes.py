"""Where is learning in real time compared? Environments that sleep, the rules of collection in each, and the weights under a rule.

Pure: settings of runs, as their files say them.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

SLOTS = 16
WEIGHTS = {"queue": ("none", "linear"), "drop": ("none", "linear", "inclusion")}
RUN: dict[str, Any] = {
    "algorithm": {"name": "vtrace", "learning_rate": 0.01, "entropy_cost": 0.001},
    "network": {"hidden": [16]},
    "actors": {"rollout": "asynchronous", "environments": SLOTS, "segment_steps": 1},
    "learners": {
        "batch_size": 16,
        "prefetch": 1,
        "batches_per_message": 1,
        "publish_every_s": 0.0,
        "checkpoint_every_s": 5.0,
    },
    "replay": {"insert_window": 1, "durability": "memory"},
    "evaluation": {"every_env_steps": 1_000_000},
}
TABLE: dict[str, Any] = {
    "item": "segment",
    "length": 1,
    "sampler": "fifo",
    "consume": True,
    "capacity_steps": 100_000,
    "limiter": {"samples_per_insert": None, "min_size": 1},
}
ARMS = {"clock": "real", "law": "lognormal", "spread": 0.3, "reward_noise": 0.05}


@dataclass(frozen=True)
class Scene:
    """An environment, and what is compared in it.

    settings: sections of the run's file, key by key over those of RUN.  rules: settings of the table by rule, over TABLE.
    looks: updates at which a course is looked at; it ends with the last.
    """

    settings: Mapping[str, Mapping[str, Any]]
    rules: Mapping[str, Mapping[str, Any]]
    looks: tuple[int, ...]

    def configuration(self, rule: str, weight: str, seed: int) -> dict[str, Any]:
        """Of a run, as its file says it."""
        sections = {name: {**RUN.get(name, {}), **self.settings.get(name, {})} for name in {**RUN, **self.settings}}
        sections["learners"]["steps"] = self.looks[-1]
        table = {**TABLE, **self.rules[rule]}
        table["duration"] = {**table.get("duration", {}), "weight": weight}
        return {**sections, "run": {"seed": seed, "env_steps": 1_000_000}, "tables": {"replay": table}}


SCENES = {
    "arms": Scene(
        {
            "environment": {"id": "sojourn/Arms-v0", "kwargs": {**ARMS, "seconds_per_unit": 0.004}},
            "actors": {"flush_age_s": 0.05},
        },
        {"queue": {}, "drop": {"max_staleness": 1, "on_stale": "drop"}},
        looks=(100, 200, 300),
    ),
    # A version lasts long beside the way of policies to actors and of results to the service, and rewards are about 0, as the
    # values of an untrained network are: the arms of above, .62 less.
    "slow arms": Scene(
        {
            "environment": {
                "id": "sojourn/Arms-v0",
                "kwargs": {**ARMS, "seconds_per_unit": 0.02, "rewards": [0.0, 0.05, -0.62]},
            },
            "actors": {"flush_age_s": 0.005},
            "learners": {"batch_size": 20},  # versions of 15 units: twice that is more than the slow arm takes
        },
        {"drop": {"max_staleness": 1, "on_stale": "drop", "duration": {"cap": 10.0}}},
        looks=(40, 80, 120),
    ),
    # Actions of 10 to 160 ms; a version lasts about 250 ms, so that all of them can be kept.
    "HalfCheetah": Scene(
        {
            "environment": {
                "id": "sojourn/ActionRepeat-v0",
                "kwargs": {
                    "environment": "HalfCheetah-v5",
                    "kwargs": {"max_episode_steps": 200},
                    "most": 16,
                    "frame_s": 0.01,
                    "clock": "real",
                },
            },
            "algorithm": {"learning_rate": 0.003},
            "network": {"hidden": [64]},
            "actors": {"flush_age_s": 0.005},
            "learners": {"batch_size": 32},
        },
        {"queue": {}, "drop": {"max_staleness": 0, "on_stale": "drop"}},
        looks=(50, 100, 150),
    ),
}
