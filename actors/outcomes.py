"""What one step or reset of an environment gave, once it was checked. Plain values; no I/O."""

from typing import NamedTuple

from sojourn.experience import Columns


class Outcome(NamedTuple):
    """The checked result of one `env.step`.

    observation: leaves of the observation after the step, in stored dtypes, without a batch axis; valid until the slot's next step.
    duration_s: of the action, on the clock of `duration.clock`.
    extras: declared extra columns.
    """

    observation: Columns
    reward: float
    terminated: bool
    truncated: bool
    duration_s: float
    extras: Columns


class Beginning(NamedTuple):
    """The checked result of one `env.reset`: the first observation and the extras that hold for the episode.

    duration_s: of the reset on a simulated clock; on the wall clock it is measured between actions.
    """

    observation: Columns
    extras: Columns
    duration_s: float = 0.0
