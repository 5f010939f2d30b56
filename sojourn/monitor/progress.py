"""What is one second of a run's life, in one record? The line of progress.jsonl. Pure."""

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Evaluation:
    """The latest evaluation: how many there were, of which version, at how many environment steps of the run, and its returns."""

    count: int
    policy_version: int
    env_steps: int
    return_mean: float
    return_std: float
    return_best: float


@dataclass(frozen=True)
class Progress:
    """One record of progress.jsonl. None is "nobody can say yet".

    time_s: Unix time.  elapsed_s: since this launch of the run.  env_steps: accepted by the replay service, over restarts.
    updates_per_s: learner steps.  training_return: mean over actors of their last episodes, exploration included.
    replay_items, replay_capacity_items: of the learner's table.  replay_oldest_s, replay_age_s: oldest and mean age of its items.
    policy_lag: mean of (version learnt now - version that acted) over recent batches.
    duration_p50_s, duration_p99_s: of actions in this launch.  duration_counts: their histogram, cumulative, by upper bound.
    lag_counts: the same of the lag of drawn items.
    sample_wait_share: part of the learners' time spent waiting for batches, 0 to 1.
    restarts: times that each role came back in this launch.  roles: by name, whether it answers.
    learner: the learners' own gauges without their prefix (losses, entropy, gradient norms ...).
    """

    time_s: float
    elapsed_s: float
    env_steps: int = 0
    env_steps_per_s: float = 0.0
    episodes: int = 0
    learner_step: int = 0
    updates_per_s: float = 0.0
    policy_version: int = 0
    training_return: float | None = None
    episode_length: float | None = None
    evaluation: Evaluation | None = None
    replay_items: int | None = None
    replay_capacity_items: int | None = None
    replay_oldest_s: float | None = None
    replay_age_s: float | None = None
    policy_lag: float | None = None
    duration_p50_s: float | None = None
    duration_p99_s: float | None = None
    running_actions: int = 0
    sample_wait_share: float | None = None
    restarts: dict[str, int] = field(default_factory=dict)
    roles: dict[str, bool] = field(default_factory=dict)
    duration_counts: dict[str, float] = field(default_factory=dict)
    lag_counts: dict[str, float] = field(default_factory=dict)
    learner: dict[str, float] = field(default_factory=dict)

    @classmethod
    def from_json(cls, fields: dict[str, Any]) -> "Progress":
        """Inverse of `dataclasses.asdict`. Raises TypeError for another record."""
        evaluation = fields.get("evaluation")
        return cls(**{**fields, "evaluation": Evaluation(**evaluation) if evaluation else None})
