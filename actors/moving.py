"""Must a life end, because the run stops or because the actor belongs to another shard now? Looks at the list of shards now and then.

A shard that is down is no reason: its actors wait. Only the list, which a change of the number of shards replaces, moves an actor.
"""

import time
from collections.abc import Callable

from actors.lives import home_of
from sojourn.errors import UnavailableError
from sojourn.roles import RoleContext

LOOK_S = 2.0


class LifeEnd:
    """Set once the life must end. moved: because of the shards. Looked at by one thread."""

    def __init__(self, context: RoleContext, home: int, told_retired: Callable[[], bool]) -> None:
        """home: number of this life's shard.  told_retired: whether it has said that it takes no more lives."""
        self._context = context
        self._home = home
        self._told_retired = told_retired
        self._heard = False
        self._look_at_s = time.monotonic() + LOOK_S
        self.moved = False

    def is_set(self) -> bool:
        """Looks at the list every LOOK_S, and at once when the shard says that it is retired."""
        now_s = time.monotonic()
        news = self._told_retired() and not self._heard
        if not self.moved and (news or now_s >= self._look_at_s):
            self._heard = self._told_retired()
            self._look_at_s = now_s + LOOK_S
            self.moved = self._belongs_elsewhere()
        return self.moved or self._context.stop.is_set()

    def _belongs_elsewhere(self) -> bool:
        try:
            return home_of(self._context) != self._home
        except UnavailableError:
            return False
