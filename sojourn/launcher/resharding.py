"""How a run gets another number of replay shards while it goes on. Reads and writes the run's list; its one thread is the launcher's.

Further shards start first. Once all have announced themselves the list is replaced, and everybody follows it by himself: shards retire
or take inserts, actors finish their streams and begin a new life where they belong now, learners draw from shards that are new.
A retired shard ends by itself once it is empty; the list then holds what it had counted.
"""

import logging
from pathlib import Path

from sojourn.launcher.supervision import Supervisor
from sojourn.shard_list import ShardList, forget_counts, read_shard_list, take_counts, write_shard_list

LOG = logging.getLogger(__name__)


class Resharding:
    """Invariant: the list names no shard that has not announced itself in this start of the run, but those it began with."""

    def __init__(self, run_folder: Path, supervisor: Supervisor) -> None:
        self._run_folder = run_folder
        self._supervisor = supervisor
        self._wanted: ShardList | None = None
        self._waits_for_room = False

    def begin(self, taking: int) -> None:
        """So many shards are to take inserts; a newer wish replaces one that has not come true yet."""
        listed = read_shard_list(self._run_folder)
        if listed is not None:
            self._wanted = listed.scaled(max(1, taking))
            self._supervisor.want_shards(self._wanted.here)

    def turn(self) -> None:
        """Replace the list once every shard can be found, and the disk has room for it."""
        if self._wanted is None or not all(map(self._is_announced, self._wanted.here)) or not self._write(self._wanted):
            return
        LOG.info("%d of %d replay shards take inserts from now on", self._wanted.taking, self._wanted.known)
        self._wanted = None

    def returned(self, name: str) -> None:
        """A part has ended by itself. A retired shard has left, and stands in the list as gone; one that is wanted again starts again."""
        role, _, number = name.rpartition("-")
        listed, shard = read_shard_list(self._run_folder), int(number)
        if role != "replay" or listed is None or shard < max(listed.taking, self._wanted.taking if self._wanted else 0):
            return
        counts = take_counts(self._run_folder, shard)
        if counts is None or not self._write(listed.without(shard, counts)):
            return
        self._wanted = self._wanted.without(shard, counts) if self._wanted else None
        self._supervisor.want_shards((self._wanted or listed.without(shard, counts)).here)
        forget_counts(self._run_folder, shard)
        LOG.info("replay shard %d was empty and has left, with %d environment steps", shard, counts.env_steps)

    def _write(self, shards: ShardList) -> bool:
        """Replace the list. False, and one warning, while the disk has no room for it."""
        try:
            write_shard_list(self._run_folder, shards)
        except OSError as error:
            if not self._waits_for_room:
                LOG.warning("the list of replay shards stays as it is until the disk has room: %s", error)
            self._waits_for_room = True
            return False
        self._waits_for_room = False
        return True

    def _is_announced(self, shard: int) -> bool:
        return (self._run_folder / "roles" / f"replay-{shard}.json").exists()
