"""How does a learner have the tables of all shards cut? One request for each, behind everything that it had said before.

Blocks for the answers. A shard that is down, or has no durable tier, keeps nobody waiting: there the answer is the reason.
"""

import time
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass

from protos import replay_pb2 as pb
from replay.courier import Courier
from replay.link import Link
from sojourn.chosen_cut import ShardCut
from sojourn.errors import SojournError
from sojourn.experience import Batch


@dataclass(frozen=True)
class Wanted:
    """label: of the checkpoint.  kept_label: of the newest one that is whole.  learned: batches that the checkpoint has learned from."""

    label: str
    learner_step: int
    kept_label: str
    learned: Sequence[Batch]


def cut_all(shards: Mapping[int, tuple[Link, Courier]], wanted: Wanted, within_s: float) -> tuple[ShardCut, ...]:
    """What each shard says. shards: by number."""
    asked = {number: _ask(courier, number, wanted) if link.connected else None for number, (link, courier) in shards.items()}
    until_s = time.monotonic() + within_s
    return tuple(_answer(number, answer, until_s, within_s) for number, answer in asked.items())


def draws_of(batch: Batch, shard: int) -> list[int]:
    """Leased draws of a shard that a batch has items of."""
    info = batch.info
    leased = info.draw_id[(info.shard == shard) & (info.draw_id != 0)].tolist()
    return sorted(set(leased))  # np.unique lets go of the interpreter's lock, and then waits for it


def _ask(courier: Courier, shard: int, wanted: Wanted) -> "Future[pb.CheckpointReply]":
    learned = sorted({draw for batch in wanted.learned for draw in draws_of(batch, shard)})
    return courier.cut(wanted.label, wanted.learner_step, wanted.kept_label, learned)


def _answer(shard: int, answer: "Future[pb.CheckpointReply] | None", until_s: float, within_s: float) -> ShardCut:
    if answer is None:
        return ShardCut(shard, reason="it is down")
    try:
        reply = answer.result(max(0.0, until_s - time.monotonic()))
    except TimeoutError:
        answer.cancel()
        return ShardCut(shard, reason=f"no answer within {within_s:g} s")
    except SojournError as error:
        return ShardCut(shard, reason=str(error))
    return ShardCut(shard, reply.row_number, reply.env_steps, reply.items)
