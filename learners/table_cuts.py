"""How do the replay tables become part of a checkpoint? They are cut just before it is written, and it says where.

Blocks for the shards' answers, shortly; a shard that gives none is said aloud once and left out: the checkpoint is written all the same.
"""

import logging
from collections.abc import Sequence

from replay.client import LearnerConnection, Wanted
from sojourn.checkpoint_folders import folder_name
from sojourn.chosen_cut import ShardCut
from sojourn.experience import Batch

LOG = logging.getLogger("sojourn.learners")

CUT_WITHIN_S = 3.0


class TableCuts:
    """The cuts that one life of a learner asks for.

    Invariant: shards are told to keep the cut of the newest checkpoint that is whole, whatever becomes of later ones.
    """

    def __init__(self, connection: LearnerConnection, newest_step: int) -> None:
        """newest_step: of the newest checkpoint, 0 if there is none."""
        self._connection = connection
        self._kept_label = folder_name(newest_step) if newest_step else ""
        self._missing: dict[int, str] = {}

    def cut(self, learner_step: int, learned: Sequence[Batch]) -> tuple[ShardCut, ...]:
        """Cut all shards now. learned: leased batches that the checkpoint has learned from."""
        wanted = Wanted(folder_name(learner_step), learner_step, self._kept_label, learned)
        cuts = self._connection.cut(wanted, CUT_WITHIN_S)
        missing = {cut.shard: cut.reason for cut in cuts if cut.reason}
        if missing != self._missing:
            for shard, reason in missing.items():
                LOG.warning("from %s on checkpoints are without the tables of replay shard %d: %s", wanted.label, shard, reason)
        self._missing = missing
        return cuts

    def written(self, learner_step: int) -> None:
        """The checkpoint of this step is whole."""
        self._kept_label = folder_name(learner_step)
