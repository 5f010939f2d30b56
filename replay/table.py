"""What can be drawn from one table, and what leaves it? Items over the slab's rows, with a sampler, a remover and a limiter.

No I/O, no clock; random numbers come from the generator that is handed in. Freed blocks are left for the store to collect.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from replay.answers import Draw, Drawn, Facts
from replay.choosing import Chooser
from replay.fates import Fates
from replay.gather import GatherPlan
from replay.horizons import Horizon
from replay.item_set import ItemSet
from replay.kernels import kernel
from replay.leases import Leases
from replay.limiter import Traffic, make_limiter
from replay.removers import REMOVERS, Remover
from replay.samplers import SAMPLERS, Sampler
from replay.sizing import refuse_table
from replay.slab import Slab
from replay.snapshot import ITEM_GONE, RestoredPages
from replay.versions import Versions
from replay.windows import ItemShape
from sojourn.columns import Schema
from sojourn.config.schema import TableSettings
from sojourn.errors import ValidationError
from sojourn.experience import Columns
from sojourn.plugins import resolve


class Table:
    """One table: which items there are is settled on insert, so that drawing is trivial.

    Invariant: only live items are in the sampler and the remover, only leased ones in the leases.
    """

    def __init__(
        self,
        name: str,
        settings: TableSettings,
        schema: Schema,
        slab: Slab,
        rng: np.random.Generator,
        traffic: Traffic,
        versions: Versions,
    ) -> None:
        self.name, self.settings = name, settings
        self.items = ItemSet(slab, ItemShape.of(settings, schema.frame_stack))
        self.capacity_items = max(1, settings.capacity_steps // self.items.shape.stride)
        self.limiter = make_limiter(settings.limiter, name, traffic)
        self._draws_by_weight = settings.duration.apply == "draw"
        drawn_by = "prioritised" if self._draws_by_weight else settings.sampler
        self.sampler: Sampler = resolve(drawn_by, SAMPLERS, "sampler")(slab.capacity_rows, settings)
        self.remover: Remover = resolve(settings.remover, REMOVERS, "remover")(slab.capacity_rows)
        self.horizon = Horizon(settings, self.items, versions)
        self.fates = Fates(self.items)
        self.leases = Leases()
        self.restored: RestoredPages | None = None
        self._learned_draws: Sequence[int] = ()
        self._batch_size = traffic.batch_size
        self.chooser = Chooser(self.items, self.sampler, self.limiter, settings, rng)
        self._plan = GatherPlan(schema, slab.layout, self.items.shape, settings)
        self._task = schema.task_column
        self._largest_priority = 1.0
        self._late_updates = self._evicted_items = 0
        refuse_table(name, settings, self.items.shape.length, self.capacity_items, traffic.batch_size)

    # Items come and go

    def complete(self, positions: np.ndarray, now_s: float | np.ndarray, counted_from: int) -> int:
        """Make the items that new rows at positions int64[N] complete; returns how many.

        now_s: when the rows came; of all, or float64[N].  counted_from: items completed by rows of a lower number were counted in an earlier life.
        """
        starts, lengths, causes = self.items.find(positions)
        came_s = now_s[causes] if isinstance(now_s, np.ndarray) else np.full(len(starts), now_s, np.float64)
        in_time = self.horizon.in_time(starts, came_s)
        if not in_time.all():
            self._turn_away(starts[~in_time], positions[causes[~in_time]], counted_from)
            starts, lengths, causes, came_s = starts[in_time], lengths[in_time], causes[in_time], came_s[in_time]
        if len(starts) == 0:
            return 0
        priorities = self._initial_priorities(starts, lengths)
        if self.restored is not None:
            new = self.items.slab.numbers(positions[causes]) >= counted_from
            self._count_inserts(starts[new], lengths[new])
            return self._resume(starts, lengths, priorities, came_s, self.restored)
        self._count_inserts(starts, lengths)
        self._begin(starts, lengths, priorities, came_s)
        return len(starts)

    def _turn_away(self, starts: np.ndarray, causes: np.ndarray, counted_from: int) -> None:
        """Items that came too late never are; those that a row of an earlier life completed were counted then."""
        self.items.never(starts)
        new = starts[self.items.slab.numbers(causes) >= counted_from]
        self.horizon.late_items += len(new)
        self.fates.turned_away(new)

    def _initial_priorities(self, starts: np.ndarray, lengths: np.ndarray) -> np.ndarray:
        """The actor's own estimate where it gave one, else the largest seen so far. float32[N]."""
        priorities = self.items.initial_priorities(starts, lengths, self._largest_priority)
        self._largest_priority = max(self._largest_priority, float(priorities.max()))
        return priorities

    def _count_inserts(self, starts: np.ndarray, lengths: np.ndarray) -> None:
        self.fates.came(starts)
        self.limiter.charge_insert(len(starts), self._capped_seconds(starts, lengths))

    def _capped_seconds(self, starts: np.ndarray, lengths: np.ndarray | None = None) -> float:
        """What the limiter counts of windows where it counts seconds, 0 elsewhere. lengths: None for items that there are already."""
        if not self.limiter.counts_seconds:
            return 0.0
        lengths = self.items.lengths(starts) if lengths is None else lengths
        return float(np.minimum(self.items.seconds(starts, lengths), self.settings.limiter.seconds_cap).sum())

    def _begin(self, starts: np.ndarray, lengths: np.ndarray, priorities: np.ndarray, came_s: np.ndarray) -> None:
        self.items.begin(starts, lengths, priorities, came_s)
        self.sampler.add(starts, self._leaves(starts, priorities), self.items.started_s(starts))
        self.remover.add(starts, self.horizon.order(starts, priorities))

    def _resume(
        self, starts: np.ndarray, lengths: np.ndarray, priorities: np.ndarray, came_s: np.ndarray, restored: RestoredPages
    ) -> int:
        """Items reappear as the snapshot's pages knew them; those that had left stay away. Returns how many there are."""
        stored, times = restored.look_up(self.items.slab.numbers(starts))
        gone = stored == ITEM_GONE
        self.items.never(starts[gone])
        kept = starts[~gone]
        self._begin(kept, lengths[~gone], np.where(np.isnan(stored), priorities, stored)[~gone], came_s[~gone])
        self.items.arrays.times[kept] = times[~gone]
        return len(kept)

    def _leaves(self, positions: np.ndarray, priorities: np.ndarray) -> np.ndarray:
        """priority ** priority_exponent, and 0 for 0 whatever the exponent; times the weight if draws follow it. float64[N]."""
        leaves = np.empty(len(priorities))
        raise_all(priorities, self.settings.priority_exponent, leaves)
        if not self._draws_by_weight:
            return leaves
        weights = self.horizon.draw_weights(positions)
        return weights if self.settings.sampler == "uniform" else leaves * weights

    def make_way(self) -> None:
        """Evict what is over capacity."""
        excess = len(self.items) - self.capacity_items
        if excess > 0:
            self._evict(self.remover.pop(excess))

    def make_room(self) -> int:
        """Evict a few items so that blocks of the slab come free; returns how many there were."""
        return self._evict(self.remover.pop_for_room(self.items.arrays))

    def residence_s(self, now_s: float) -> float:
        """How old the oldest item would be if items had come as they did until the table was full. Reads the whole table."""
        return self.items.oldest_s(now_s) * max(1.0, self.capacity_items / max(1, len(self.items)))

    def leave_after(self, residence_s: float, now_s: float) -> int:
        """Evict the items that can be drawn for longer than this; returns how many. Reads the whole table."""
        return self._evict(self.items.drawable_before(now_s - residence_s))

    def expire(self, now_s: float) -> None:
        """Take out what has reached the table's horizon."""
        expired = self.horizon.expired(self.remover, now_s)
        if len(expired):
            self.fates.lost(expired)
            self._end(expired)

    def _evict(self, positions: np.ndarray) -> int:
        self.fates.lost(positions)
        self._evicted_items += len(positions)
        return self._end(positions)

    def _end(self, positions: np.ndarray) -> int:
        self.sampler.discard(positions)
        self.remover.discard(positions)
        return self.items.end(positions)

    def update_priorities(self, keys: np.ndarray, priorities: np.ndarray) -> tuple[int, int]:
        """Set float32[N] by key uint64[N]; returns (applied, late). Of a key given twice the last value stays."""
        applied = self.items.set_priorities(keys, priorities)
        late = len(keys) - len(applied)
        self._late_updates += late
        if len(applied):
            values = self.items.arrays.priority[applied]
            self._largest_priority = max(self._largest_priority, float(values.max()))
            drawable = self.items.is_live(applied)
            self.sampler.update(applied[drawable], self._leaves(applied[drawable], values[drawable]))
            self.remover.update(applied[drawable], values[drawable].astype(np.float64))
        return len(applied), late

    # Draws

    def insert_blocked(self, ahead: int = 0) -> bool:
        """Whether inserts must wait once `ahead` more items are in: for the limiter, or while a consuming table is full.

        Never while no batch could be served.
        """
        full = self.settings.consume and len(self.items) + ahead >= self.capacity_items
        if not full and self.limiter.can_insert(ahead):
            return False
        return self.chooser.can_serve(self._batch_size) or (full and self.items.leased_count > 0)

    def sample_blocked(self, size: int) -> bool:
        return not (self.limiter.can_sample() and self.chooser.can_serve(size))

    def draw(self, size: int, batches: int, now_s: float, all_or_none: bool) -> Drawn | None:
        """Up to `batches` batches of `size`, or None; exactly as many if `all_or_none`."""
        self.expire(now_s)
        chosen = self.chooser.choose(size, batches, all_or_none)
        if chosen is None:
            return None
        positions, probability, times = chosen
        self.limiter.charge_sample(len(positions), self._capped_seconds(positions))
        slab = self.items.slab
        columns = self._plan.gather(slab.blocks, slab.arena, self.items.arrays, positions, now_s)
        keys = columns["info.key"]
        columns |= {"info.probability": probability, "info.times_sampled": times, "info.task": self._tasks(columns)}
        draws = [self._hand_out(positions[at : at + size], keys[at : at + size]) for at in range(0, len(keys), size)]
        self._retire(positions, times)
        return Drawn(columns, keys, draws)

    def gather(self, keys: np.ndarray) -> Columns:
        """Columns [N, ...] of live items uint64[N], as a draw gives them. Raises ValidationError naming one that is not there."""
        slab = self.items.slab
        positions = slab.index.find(keys.astype(np.int64))
        there = positions >= 0
        there[there] = self.items.is_live(positions[there])
        for key in keys[~there][:1]:
            raise ValidationError(f"table {self.name!r} holds no item {key}")
        return self._plan.gather(slab.blocks, slab.arena, self.items.arrays, positions, 0.0)

    def _tasks(self, columns: Columns) -> np.ndarray:
        """Task label of each item's first step, 0 where no task column is declared. int64[N]."""
        if not self._task:
            return np.zeros(len(columns["info.key"]), np.int64)
        return columns[self._task].reshape(len(columns["info.key"]), -1)[:, 0].astype(np.int64)

    def _hand_out(self, positions: np.ndarray, keys: np.ndarray) -> Draw:
        if not self.settings.consume:
            return Draw(0, len(keys), False)
        self.remover.discard(positions)
        self.items.lease(positions)
        draw_id, redelivered = self.leases.lease(keys.copy())
        return Draw(draw_id, len(keys), redelivered)

    def _retire(self, positions: np.ndarray, times: np.ndarray) -> None:
        """After a draw: items that were drawn often enough leave; the others of a FIFO table queue up again."""
        if self.chooser.most_draws == 0:
            return
        self._end(positions[times >= self.chooser.most_draws])
        if self.sampler.takes_out:
            self._put(positions[times < self.chooser.most_draws], self.sampler.add)

    def _put(self, positions: np.ndarray, put: Callable[[np.ndarray, np.ndarray, np.ndarray], None]) -> None:
        put(positions, self._leaves(positions, self.items.arrays.priority[positions]), self.items.started_s(positions))

    def consume(self, draw_ids: Sequence[int]) -> tuple[int, int]:
        """End leases for good; returns (items removed, draw ids unknown)."""
        leased = [self.leases.end(draw_id) for draw_id in draw_ids]
        removed = sum(self._end(self.items.leased(keys)) for keys in leased if keys is not None)
        return removed, sum(keys is None for keys in leased)

    def release(self, draw_ids: Sequence[int]) -> None:
        """Hand leases back: their items are drawn next."""
        for draw_id in draw_ids:
            keys = self.leases.hand_back(draw_id)
            if keys is not None:
                positions = self.items.leased(keys)
                self.items.unlease(positions)
                self._put(positions, self.sampler.put_back)
                self.remover.add(positions, self.horizon.order(positions, self.items.arrays.priority[positions]))

    # What others see

    def facts(self, now_s: float) -> Facts:
        return Facts(
            name=self.name,
            items=len(self.items) - self.items.leased_count,
            capacity_items=self.capacity_items,
            total_priority=self.sampler.total,
            largest_priority=self._largest_priority,
            inserted_items=self.limiter.inserted_items,
            sampled_items=self.limiter.sampled_items,
            imported_items=self.limiter.imported_items,
            limiter_surplus=self.limiter.surplus,
            insert_blocked=self.insert_blocked(),
            sample_blocked=self.sample_blocked(self._batch_size),
            oldest_s=self.items.oldest_s(now_s),
            mean_age_s=self.items.mean_age_s(now_s),
            mean_duration_s=self.items.mean_duration_s(),
            late_updates=self._late_updates,
            evicted_items=self._evicted_items,
            leased_items=self.items.leased_count,
            redelivered_items=self.leases.redelivered_items,
            expired_items=self.horizon.expired_items,
            late_items=self.horizon.late_items,
            rule=self.horizon.rule,
        )

    @property
    def lost_items(self) -> int:
        """Evicted, expired at the horizon, or too late to enter."""
        return self._evicted_items + self.horizon.expired_items + self.horizon.late_items

    def state(self) -> dict[str, Any]:
        """Everything of a snapshot but the pages, ready for JSON."""
        return {
            "limiter": self.limiter.state(),
            "leases": self.leases.state(),
            "largest_priority": self._largest_priority,
            "late_updates": self._late_updates,
            "evicted_items": self._evicted_items,
            "horizon": self.horizon.state(),
        }

    def restore(self, state: Mapping[str, Any] | None, pages: RestoredPages) -> None:
        """Go on from another life's state; items take theirs from the pages as they reappear. state None: the table is new."""
        self.restored = pages
        if state is None:
            return
        self.limiter.restore(state["limiter"])
        self.leases.restore(state["leases"])
        self._learned_draws = state.get("learned_draws", ())
        self._largest_priority = float(state["largest_priority"])
        self.horizon.restore(state.get("horizon", {}))
        self._late_updates, self._evicted_items = int(state["late_updates"]), int(state["evicted_items"])

    def finish_restore(self) -> None:
        """All items are back: those on lease are taken out again, for good where the learner has learned from them already."""
        self.restored = None
        for keys in self.leases.all().values():
            positions = self.items.live(keys)
            self.sampler.discard(positions)
            self.remover.discard(positions)
            self.items.lease(positions)
        self.consume(self._learned_draws)

    def check(self) -> None:
        """Prove the invariants of all parts, or raise AssertionError."""
        self.items.check()
        self.sampler.check()
        self.remover.check()
        self.limiter.check()
        most = max(self.capacity_items, self.items.leased_count)
        assert len(self.items) <= most, f"{len(self.items)} items, capacity {self.capacity_items}"


@kernel
def raise_all(priorities: np.ndarray, exponent: float, leaves: np.ndarray) -> None:
    """priorities float32[N] ** exponent, 0 for 0, into leaves float64[N]. New items are mostly alike, so the power before is kept."""
    last = power = 0.0
    for i in range(len(priorities)):
        if priorities[i] != last:
            last = np.float64(priorities[i])
            power = last**exponent if last > 0.0 else 0.0
        leaves[i] = power
