"""What is a rollout? A generator of segments: `for segment in rollout(parts): ...`; whoever runs it decides when to stop.

Lockstep steps all slots of one process in turn; asynchronous gives each slot a process and a pace of its own. Both are given
the same parts and change lanes only while they hold the board's lock.
"""

import threading
from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import Any

import gymnasium as gym

from actors.behaviour import BehaviourPolicy
from actors.board import LaneBoard
from actors.credits import StartGate
from actors.faults import Faults
from actors.measures import ActorMeasures
from sojourn.columns import Schema, unflatten
from sojourn.config.schema import EnvironmentSettings, FleetSettings
from sojourn.experience import Columns, EndKind, Segment

CREDIT_LOOK_S = 0.01  # how often a rollout without start credits looks for new ones

Rollout = Callable[["RolloutParts"], Generator[Segment, None, None]]


@dataclass(frozen=True)
class RolloutParts:
    """What every rollout works with.

    simulated_clock: durations are info["duration_s"].  next_seed: a fresh seed for the slot's next environment.
    stop: set when the rollout shall end at the next safe point; running actions are then ended by whoever set it.
    """

    schema: Schema
    environment: EnvironmentSettings
    fleet: FleetSettings
    board: LaneBoard
    behaviour: BehaviourPolicy
    gate: StartGate
    faults: Faults
    measures: ActorMeasures
    next_seed: Callable[[int], int]
    stop: threading.Event
    simulated_clock: bool = False

    @property
    def ending(self) -> bool:
        """Whether the rollout has to leave: it was asked to, the lanes were taken over, or the environment is past hope."""
        return self.stop.is_set() or self.board.taken or self.faults.final is not None

    @property
    def completed(self) -> int:
        """Actions completed in this life."""
        return sum(lane.ends[EndKind.COMPLETED] for lane in self.board.lanes)


def row_of(columns: Columns, row: int) -> Columns:
    """One row of batched leaves."""
    return {name: leaf[row] for name, leaf in columns.items()}


def actions_of(space: gym.Space[Any], columns: Columns, rows: int) -> list[Any]:
    """Batched action leaves as the actions that environments take, one a row, in memory of their own.

    An environment may write into its action; what is stored must not change. A plain Box is the fast path of the inner loop.
    """
    if isinstance(space, gym.spaces.Box):
        return list(columns["action"].astype(space.dtype))
    copied = {name: leaf.copy() for name, leaf in columns.items()}
    return [unflatten(space, row_of(copied, row), "action") for row in range(rows)]
