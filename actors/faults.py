"""When has an environment failed so often that going on makes no sense? Counts faults; logs each. No I/O but the log."""

import logging
import threading

from sojourn.errors import EnvironmentFault

LOG = logging.getLogger("sojourn.actors")
FORGIVEN_AFTER_STEPS = 10_000  # completed actions since the last fault that count like an episode that ended by itself
FIRST_WAIT_S, MOST_WAIT_S = 0.05, 2.0


class Faults:
    """Faults in a row over all slots of an actor; an episode that ends by itself ends the row."""

    def __init__(self, environment_id: str, most_in_a_row: int) -> None:
        self._environment_id = environment_id
        self._most_in_a_row = most_in_a_row
        self._completed_at_last = 0
        self.in_a_row = 0
        self.final: EnvironmentFault | None = None

    def went_well(self) -> None:
        """An episode ended by itself."""
        self.in_a_row = 0

    def note(self, slot: int, what: str, completed: int) -> None:
        """A slot's environment failed or its process died; with too many in a row there is a `final` fault.

        completed: actions completed in this life.
        """
        if completed - self._completed_at_last > FORGIVEN_AFTER_STEPS:
            self.in_a_row = 0
        self._completed_at_last = completed
        self.in_a_row += 1
        LOG.warning("environment %s failed in slot %d, which gets a new one: %s", self._environment_id, slot, what)
        if self.in_a_row >= self._most_in_a_row:
            self.final = EnvironmentFault(
                f"environment {self._environment_id} failed {self.in_a_row} times and no episode ended by itself in between; "
                f"the last time in slot {slot}: {what}. Mend the environment, or raise environment.faults_in_a_row"
            )

    def check(self) -> None:
        """Raise the final fault, if there is one. The rollout does so after it has handed over all it has."""
        if self.final is not None:
            raise self.final

    def wait_s(self) -> float:
        """How long to wait before the next try: nothing after a single fault, then doubled up to 2 s."""
        return min(FIRST_WAIT_S * 2.0 ** (self.in_a_row - 2), MOST_WAIT_S) if self.in_a_row > 1 else 0.0

    def pause(self, stop: threading.Event) -> None:
        """Wait so long, but not beyond `stop`."""
        stop.wait(self.wait_s())
