"""The shapes of experience, from one environment step to a learner's batch. NumPy only, no I/O.

A step is stored once: `next_observation` is the observation of a later row. Leaves of structured spaces are columns with dotted
names (`observation.camera`); a plain space is the single leaf `observation` or `action`.

Axes: T steps of a segment, B items of a batch, n steps of an n-step item, L steps of a sequence.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from typing import NamedTuple

import numpy as np

Columns = dict[str, np.ndarray]
IDLE = "idle_s"
"""Extra column of runs with `objective: per_second`: seconds from an action's end to the start of its lane's next one."""


class EndKind(IntEnum):
    """How an action ended. Completed and killed actions have a row; the others are counted."""

    COMPLETED = 0
    KILLED = 1
    FAILED = 2
    ABORTED = 3
    CRASHED = 4


class Transition(NamedTuple):
    """One environment step, as the actor sees it. A tuple, because one is made for every step.

    observation, action: leaves by column name, without a batch axis; the observation is the one before the step.
    duration_s: time of the action in seconds on the clock of `duration.clock`.
    started_at_s: this process's monotonic clock when the action was handed over; never travels.
    extras: declared extra columns only.
    """

    observation: Columns
    action: Columns
    reward: float
    terminated: bool
    truncated: bool
    duration_s: float
    started_at_s: float
    end_kind: EndKind
    log_prob: float
    policy_version: int
    extras: Columns


@dataclass(frozen=True)
class Segment:
    """T consecutive steps of one lane and the observation after them.

    lane: slot of the actor.
    first_sequence: lane sequence number of the first row; a closed segment uses T + 1 numbers, an open one T.
    episode: number of the episode in the lane; a segment never crosses episodes.
    observation: leaves [T + 1, ...] (single frames if frames are stacked at gather).
    action: leaves [T, ...].  reward float32[T], terminated bool[T], truncated bool[T], duration_s float64[T],
    started_at_s float64[T], end_kind uint8[T], log_prob float32[T], policy_version int64[T], extras leaves [T, ...].
    closed: the last observation ends the episode's chain in this lane (terminated, truncated or killed).
    priority: the actor's own estimate float32[T], or None.
    core_state: recurrent state before each step, leaves [T, ...], if the policy has one.
    """

    lane: int
    first_sequence: int
    episode: int
    observation: Columns
    action: Columns
    reward: np.ndarray
    terminated: np.ndarray
    truncated: np.ndarray
    duration_s: np.ndarray
    started_at_s: np.ndarray
    end_kind: np.ndarray
    log_prob: np.ndarray
    policy_version: np.ndarray
    closed: bool
    extras: Columns = field(default_factory=dict)
    priority: np.ndarray | None = None
    core_state: Columns = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.reward)


@dataclass(frozen=True)
class SampleInfo:
    """Facts of a draw, one row an item.

    key: item number uint64[B].  probability: chance of the item at its draw, over all shards, float64[B].
    table_items: items over all shards at the draw.  times_sampled uint32[B], this draw included.
    policy_version: of the item's first step, int64[B].  delay_s: from the start of the item's last action until the item was
    drawable, float64[B].  age_s: since the item was drawable, float64[B].  duration_s: summed over the window, float64[B].
    task: integer label of the declared task column or 0, int64[B].  shard: uint32[B], where updates go.
    draw_id: lease uint64[B], 0 where the table does not consume.  redelivered: bool[B].
    rule: what the table's inclusion rule needs besides, [B] each (docs/wire.md): stratum, start_s, start_age_s, lag,
    episode_elapsed_s.
    """

    key: np.ndarray
    probability: np.ndarray
    table_items: float
    times_sampled: np.ndarray
    policy_version: np.ndarray
    delay_s: np.ndarray
    age_s: np.ndarray
    duration_s: np.ndarray
    task: np.ndarray
    shard: np.ndarray
    draw_id: np.ndarray
    redelivered: np.ndarray
    rule: Columns = field(default_factory=dict)


@dataclass(frozen=True)
class Batch:
    """What a learner pulls: B items of one table, in NumPy.

    Transition items, columns by name:
      observation*, next_observation* [B, ...]; action* [B, ...]; reward, duration_s [B, n]; mask bool[B, n] (False behind an
      early end); length int32[B] = m, the steps that count; terminated, truncated bool[B], of step m - 1; log_prob float32[B],
      policy_version int64[B], of step 0; extras per step [B, n, ...], per episode [B, ...].
    Sequence and segment items:
      observation* [B, L + 1, ...]; action* [B, L, ...]; reward, duration_s, terminated, truncated, log_prob, policy_version,
      end_kind, mask [B, L]; core_state.* [B, ...] before step 0; length int32[B]; extras [B, L, ...] or [B, ...].
    loss_weight: float32[B], product of the factors.  factors: by name, float32[B] each.
    factor_errors: relative standard errors of those factors that were estimated, float64[B] each, NaN: not known.
    """

    table: str
    columns: Columns
    info: SampleInfo
    loss_weight: np.ndarray
    factors: Mapping[str, np.ndarray]
    factor_errors: Mapping[str, np.ndarray] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.loss_weight)


@dataclass(frozen=True)
class PriorityUpdate:
    """New priorities for items of one table: key uint64[N], priority float32[N] >= 0, shard uint32[N]."""

    table: str
    key: np.ndarray
    priority: np.ndarray
    shard: np.ndarray


@dataclass(frozen=True)
class ParameterSnapshot:
    """One published version of a policy: safetensors bytes and where they stand in the run.

    learner_step 0 means untrained: actors draw uniform random actions (the warm-up).
    published_at_s: this process's monotonic clock at publication, reckoned from the age that travelled.
    """

    policy_version: int
    learner_step: int
    env_steps: int
    algorithm: str
    tensors: bytes
    published_at_s: float = 0.0
