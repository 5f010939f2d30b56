"""How draws of several shards become batches of one learner, with probabilities over all of them.

No I/O; random numbers come from a generator that is handed in. B items a batch, S shards.

Let T_k be shard k's total of p_i ** exponent. A batch takes n_k rows of shard k, where n_k is B s_k rounded at random with
expectation exactly B s_k, and s_k = T_k / sum T from the newest totals. An item's probability is then s_k p_i / T_k(at its draw):
if a total is stale, shares are a little off, the probabilities say so, and the importance weights correct it: old totals cost
variance, not bias.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, fields
from functools import lru_cache
from typing import Literal

import numpy as np

from replay.facts import TableFacts, merge_facts
from replay.sample_stream import Draw, Message, SampleStream
from sojourn.experience import Columns, SampleInfo

NEARLY_ONE = 1.0 - 1e-9  # an offset that batch_size - offset cannot round up to 1
RULE_COLUMNS = ("stratum", "start_s", "start_age_s", "lag", "episode_elapsed_s")
PATIENCE_S = 1.0  # a connected shard that sends nothing for so long is left out until it sends again


@dataclass(frozen=True, eq=False)
class Together:
    """Batches of one size that came in one message, to weigh at once.

    info: of all their rows, one batch after another, but for their leases (`draw_id`, `redelivered`).  batches: how many.
    """

    info: SampleInfo
    batches: int


@dataclass(frozen=True)
class Composed:
    """A batch's rows before weighting.

    facts: merged over the shards that took part.  left_out: shards that did not.  redelivered: items leased before.
    together, place: what it came with, and its number there; None if it was put together from several draws.
    """

    columns: Columns
    info: SampleInfo
    facts: TableFacts
    left_out: int = 0
    redelivered: int = 0
    together: Together | None = None
    place: int = 0


def systematic_sizes(shares: np.ndarray, batch_size: int, offset: float) -> np.ndarray:
    """Split a batch: int64[S] that sum to `batch_size`, each within 1 of its share, and right in expectation over `offset`.

    shares: float64[S] >= 0, not all 0.  offset: uniform in [0, 1).  Source: systematic resampling, Kitagawa 1996.
    """
    edges = np.cumsum(np.append(0.0, shares))
    edges = edges / edges[-1] * batch_size  # in this order the last edge is exact
    sizes: np.ndarray = np.diff(np.ceil(edges - min(offset, NEARLY_ONE))).astype(np.int64)
    return sizes


class WholeBatches:
    """Each batch is one draw of one shard, in turn: the only shard, or tables whose order and leases must stay whole."""

    def __init__(self, streams: Sequence[SampleStream]) -> None:
        self._streams = list(streams)
        self._next = 0
        self._together: tuple[Message | None, Together | None] = None, None

    def take(self) -> Composed | None:
        """The next batch, or None if nothing has arrived."""
        for turn in range(len(self._streams)):
            shard = (self._next + turn) % len(self._streams)
            if self._streams[shard].queued:
                self._next = shard + 1
                return self._composed(self._streams[shard].take(), shard)
        return None

    def _composed(self, draw: Draw, shard: int) -> Composed:
        share, items = 1.0 / len(self._streams), float(draw.facts.items)
        info = sample_info(draw, shard, share, items)
        redelivered = len(draw) * draw.redelivered
        if draw.message is None or len(self._streams) > 1:  # several shards' messages take turns: their order is by batch
            return Composed(draw.columns, info, draw.facts, redelivered=redelivered)
        known, together = self._together
        if known is not draw.message:
            rows = Draw({}, draw.message.info, draw.facts, draw_id=0, redelivered=False)
            together = Together(sample_info(rows, shard, share, items), draw.message.draws)
            self._together = draw.message, together
        return Composed(draw.columns, info, draw.facts, redelivered=redelivered, together=together, place=draw.place)


class AcrossShards:
    """Each batch is put together from all shards that have rows, in proportion to their totals.

    A shard that is down, or sends nothing for `PATIENCE_S`, is left out and counted, and takes part again when it sends.
    """

    def __init__(
        self,
        streams: Sequence[SampleStream],
        batch_size: int,
        rng: np.random.Generator,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._taps = [_Tap(stream, shard, rng) for shard, stream in enumerate(streams)]
        self._batch_size = batch_size
        self._rng = rng
        self._clock = clock

    def take(self) -> Composed | None:
        """The next batch, or None while a shard that should take part is still waited for."""
        now_s = self._clock()
        states = [tap.state(self._batch_size, now_s) for tap in self._taps]
        if "awaited" in states or "ready" not in states:
            return None
        members = [tap for tap, state in zip(self._taps, states, strict=True) if state == "ready"]
        return self._compose(members, states.count("left out"))

    def _compose(self, members: Sequence["_Tap"], left_out: int) -> Composed:
        totals = np.array([tap.stream.facts.total_priority for tap in members])
        shares = totals / totals.sum()
        sizes = systematic_sizes(shares, self._batch_size, float(self._rng.random()))
        facts = merge_facts([tap.stream.facts for tap in members])
        parts: list[tuple[Draw, SampleInfo]] = []
        for tap, share, size in zip(members, shares, sizes, strict=True):
            tap.stream.share = float(share)
            parts += [(draw, sample_info(draw, tap.shard, share, float(facts.items))) for draw in tap.rows(int(size))]
        columns = {name: np.concatenate([draw.columns[name] for draw, _ in parts]) for name in parts[0][0].columns}
        return Composed(columns, _joined([info for _, info in parts]), facts, left_out)


State = Literal["ready", "awaited", "left out", "empty"]


class _Tap:
    """Rows of one shard's draws in random order: a draw is stratified over the table, so a piece of it would not be fair."""

    def __init__(self, stream: SampleStream, shard: int, rng: np.random.Generator) -> None:
        self.stream = stream
        self.shard = shard
        self._rng = rng
        self._draw: Draw | None = None
        self._order = np.zeros(0, np.int64)
        self._awaited_since_s: float | None = None

    def state(self, batch_size: int, now_s: float) -> State:
        """Whether this shard takes part in the next batch."""
        if self.stream.gone:
            return "empty"
        if len(self._order) + self.stream.queued * batch_size >= batch_size and self.stream.facts.total_priority > 0.0:
            self._awaited_since_s = None
            return "ready"
        if not self.stream.connected:
            return "left out"
        if self.stream.facts_count and self.stream.facts.items == 0:
            return "empty"
        self._awaited_since_s = now_s if self._awaited_since_s is None else self._awaited_since_s
        return "awaited" if now_s - self._awaited_since_s < PATIENCE_S else "left out"

    def rows(self, count: int) -> Iterator[Draw]:
        """`count` rows, in pieces of the draws that they come from."""
        while count > 0:
            if self._draw is None or not len(self._order):
                self._draw = self.stream.take()
                self._order = self._rng.permutation(len(self._draw))
            chosen, self._order = self._order[:count], self._order[count:]
            count -= len(chosen)
            draw = self._draw
            yield Draw(_at(draw.columns, chosen), _at(draw.info, chosen), draw.facts, draw.draw_id, draw.redelivered)


def sample_info(draw: Draw, shard: int, share: float, table_items: float) -> SampleInfo:
    """The facts of a draw as the learner sees them; probabilities become those over all shards."""
    info, size = draw.info, len(draw)
    probability = info["probability"] if share == 1.0 else share * info["probability"]
    return SampleInfo(
        key=info["key"],
        probability=probability,
        table_items=table_items,
        times_sampled=info["times_sampled"],
        policy_version=info["policy_version"],
        delay_s=info["delay_s"],
        age_s=info["age_s"],
        duration_s=info["duration_s"],
        task=info["task"],
        shard=_filled(size, "uint32", shard),
        draw_id=_filled(size, "uint64", draw.draw_id),
        redelivered=_filled(size, "bool", draw.redelivered),
        rule={name: info[name] for name in RULE_COLUMNS if name in info},
    )


def _joined(infos: Sequence[SampleInfo]) -> SampleInfo:
    arrays = {
        field.name: np.concatenate([getattr(info, field.name) for info in infos])
        for field in fields(SampleInfo)
        if field.name not in ("table_items", "rule")
    }
    rule = {name: np.concatenate([info.rule[name] for info in infos]) for name in infos[0].rule}
    return SampleInfo(table_items=infos[0].table_items, rule=rule, **arrays)


@lru_cache(maxsize=64)
def _filled(size: int, dtype: str, value: int) -> np.ndarray:
    """A shared, read-only constant: most columns of this kind are the same in every batch."""
    array = np.full(size, value, dtype)
    array.setflags(write=False)
    return array


def _at(columns: Columns, rows: np.ndarray) -> Columns:
    return {name: column[rows] for name, column in columns.items()}
