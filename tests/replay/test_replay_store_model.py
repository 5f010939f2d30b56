"""The store against a slow model, driven at random: lanes, gaps, closes, draws, priorities, leases, restarts."""

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from replay_model import Model, expected
from replay_world import Lane, rows_of, states_in, vector_schema
from replay_world import table as table_of

from replay.answers import Page
from replay.rows import Rows
from replay.store import Store

WORLDS = {
    "transitions": (1, {"one": table_of(capacity_steps=64), "three": table_of(n_step=3, capacity_steps=96, sampler="uniform")}),
    "removers": (
        1,
        {"recent": table_of(capacity_steps=64), "best": table_of(n_step=2, capacity_steps=64, remover="lowest_priority")},
    ),
    "frames": (
        3,
        {"one": table_of(capacity_steps=64, max_times_sampled=2), "runs": table_of(item="segment", length=5, capacity_steps=80)},
    ),
    "sequences": (
        1,
        {
            "recurrent": table_of(item="sequence", length=6, period=4, burn_in=1, capacity_steps=64),
            "consumed": table_of(sampler="fifo", consume=True, capacity_steps=64),
        },
    ),
    "passes": (1, {"passes": table_of(sampler="fifo", max_times_sampled=2, capacity_steps=64, n_step=2)}),
}
STREAMS = (("a", 1), ("b", 1))


class StoreMachine(RuleBasedStateMachine):
    """Every rule does the same to store and model; every invariant compares them."""

    @initialize(world=st.sampled_from(sorted(WORLDS)), seed=st.integers(0, 2**32 - 1))
    def begin(self, world: str, seed: int) -> None:
        self.frame_stack, self.settings = WORLDS[world]
        self.schema = vector_schema(self.frame_stack)
        self.rng = np.random.default_rng(seed)
        self.store = Store(self.schema, self.settings, seed=seed, batch_size=1)
        self.model = Model(self.settings, self.frame_stack)
        self.lanes = {stream: [Lane(number) for number in range(3)] for stream in STREAMS}
        self.lives = dict.fromkeys(STREAMS, 1)
        self.chunks: dict[int, tuple[Rows, tuple[str, int]]] = {}
        self.closed: list[tuple[str, int]] = []
        self.saved: dict[tuple[str, int], bytes] = {}

    @rule(
        stream=st.sampled_from(STREAMS),
        parts=st.lists(
            st.tuples(st.integers(0, 2), st.integers(0, 14), st.sampled_from(["", "", "terminated", "truncated", "cut"])),
            min_size=1,
            max_size=4,
        ),
        gap=st.integers(0, 9),
    )
    def insert(self, stream, parts, gap) -> None:
        if gap == 0 and self.frame_stack == 1:
            self.lanes[stream][parts[0][0]].segment(1)  # never sent
        segments = []
        for number, steps, end in parts:
            lane = self.lanes[stream][number]
            if steps or (end and lane.sequence):
                priority = self.rng.permutation(10_000)[:steps] / 7.0 + 0.5
                if "best" not in self.settings and self.rng.random() < 0.5:
                    priority[self.rng.random(steps) < 0.5] = np.nan
                segments.append(lane.segment(steps, end, priority))
        if segments:
            self._append(rows_of(self.schema, *segments), self._life(stream))

    def _life(self, stream: tuple[str, int]) -> tuple[str, int]:
        return stream[0], self.lives[stream]

    def _append(self, rows: Rows, life: tuple[str, int]) -> None:
        self.store.validate(rows, life)
        first = self.store.next_row_number
        out = self.store.append(rows, life, 0.0)
        self.chunks[first] = rows, life
        assert out.new_items == self.model.append(rows, life)
        self._forget(out.freed_chunks)

    def _forget(self, freed: list[int]) -> None:
        needed = self.model.needed()
        for first in freed:
            rows, _ = self.chunks.pop(first)
            assert needed.isdisjoint(range(first, first + len(rows))), f"chunk {first} was still needed"

    @rule(stream=st.sampled_from(STREAMS))
    def close(self, stream) -> None:
        out = self.store.close_stream(self._life(stream), 0.0)
        assert out.new_items == self.model.close(self._life(stream))
        self.closed.append(self._life(stream))
        self.lives[stream] += 1
        self.lanes[stream] = [Lane(number) for number in range(3)]
        self._forget(out.freed_chunks)

    @rule(which=st.integers(0, 1), size=st.integers(1, 6), batches=st.integers(1, 3))
    def draw(self, which, size, batches) -> None:
        name = sorted(self.settings)[which % len(self.settings)]
        table = self.model.tables[name]
        queue = list(table.queue)
        total = self.store.facts(name, 0.0).total_priority
        drawn = self.store.draw(name, size, batches, 0.0)
        if drawn is None:
            distinct = table.settings.sampler == "fifo" or table.settings.max_times_sampled
            assert len([key for key in table.items if not table.items[key].leased]) < (size if distinct else 1)
            return
        keys = drawn.keys.astype(int).tolist()
        if table.settings.sampler == "fifo":
            assert keys == (queue + keys)[: len(keys)] or table.settings.max_times_sampled > 1
            assert keys[:size] == queue[:size]
        for i, key in enumerate(keys):
            self._compare(drawn.columns, i, key, name)
        if table.settings.sampler == "prioritised" and not table.settings.max_times_sampled:
            leaves = np.array([table.items[key].priority ** table.settings.priority_exponent for key in keys])
            assert drawn.columns["info.probability"] == pytest.approx(leaves / total, rel=1e-5)
        for at, draw in zip(range(0, len(keys), size), drawn.draws, strict=True):
            if table.settings.consume:
                assert draw.draw_id == table.next_lease
                assert draw.redelivered == bool(table.handed_back & set(keys[at : at + size]))
            table.drawn(keys[at : at + size])
        self._forget(self.store.take_freed_chunks())

    def _compare(self, columns, i, key, name) -> None:
        table = self.model.tables[name]
        for column, value in expected(table.items[key], table, self.frame_stack).items():
            assert np.array_equal(columns[column][i], value), f"{name} item {key}: {column}"

    @rule(data=st.data())
    def update(self, data) -> None:
        name = data.draw(st.sampled_from(sorted(self.settings)))
        table = self.model.tables[name]
        known = sorted(table.made)[-80:] or [1]
        keys = data.draw(st.lists(st.sampled_from(known), max_size=12, unique=True))
        priorities = (self.rng.permutation(100_000)[: len(keys)] / 7.0).astype(np.float32)
        there = [key in table.items for key in keys]
        applied = self.store.update_priorities(name, np.array(keys, np.uint64), priorities)
        assert applied == (sum(there), len(keys) - sum(there))
        for key, priority, held in zip(keys, priorities.tolist(), there, strict=True):
            if held:
                table.items[key].priority = priority
                table.largest = max(table.largest, priority)

    @precondition(lambda self: "consumed" in self.settings and self.model.tables["consumed"].leases)
    @rule(consume=st.booleans(), data=st.data())
    def end_lease(self, consume, data) -> None:
        table = self.model.tables["consumed"]
        lease = data.draw(st.sampled_from(sorted(table.leases)))
        if consume:
            assert self.store.consume("consumed", [lease, 10**9]) == (len(table.leases[lease]), 1)
            table.consume(lease)
        else:
            self.store.release("consumed", [lease])
            table.release(lease)
        self._forget(self.store.take_freed_chunks())

    @rule(most=st.sampled_from([None, 1, 3]))
    def save(self, most) -> None:
        """One slice of an incremental snapshot."""
        pages = self.store.take_dirty_pages(most)
        assert most is None or len(pages) <= most
        self._note(pages)

    def _note(self, pages: list[Page]) -> None:
        self.saved |= {(page.table, page.number): page.body for page in pages}

    def _save_all(self) -> None:
        """What is left of the pass, and one more."""
        self._note(self.store.take_dirty_pages())
        self._note(self.store.take_dirty_pages())

    @rule()
    def restart(self) -> None:
        self._save_all()
        counters = self.store.counters()
        self.store = Store(self.schema, self.settings, seed=1, batch_size=1)
        self.store.restore(counters, [Page(name, number, body) for (name, number), body in self.saved.items()])
        freed = []
        for first, (rows, life) in sorted(self.chunks.items()):
            freed += self.store.append(rows, life, 0.0, first_row=first).freed_chunks
        for life in self.closed:
            freed += self.store.close_stream(life, 0.0).freed_chunks
        self.store.finish_restore()
        for table in self.model.tables.values():
            table.read_back()
            table.next_lease += 1 << 20
        self._forget(freed)

    @invariant()
    def holds_the_same_items(self) -> None:
        self.store.check()
        assert (self.store.env_steps, self.store.episodes) == (self.model.env_steps, self.model.episodes)
        assert (self.store.next_row_number, self.store.gaps) == (self.model.next_number, self.model.gaps)
        for name, table in self.model.tables.items():
            facts = self.store.facts(name, 0.0)
            leased = sum(item.leased for item in table.items.values())
            assert (facts.items, facts.leased_items, facts.inserted_items) == (len(table.items) - leased, leased, table.inserted)
            assert facts.largest_priority == pytest.approx(table.largest, rel=1e-6)

    @invariant()
    def a_snapshot_tells_every_priority_and_count(self) -> None:
        if self.rng.random() < 0.3:
            self._save_all()
            for name, table in self.model.tables.items():
                pages = {number: body for (of, number), body in self.saved.items() if of == name and body}
                held = {key: (float(np.float32(item.priority)), item.times) for key, item in table.items.items()}
                assert states_in(pages) == held

    def teardown(self) -> None:
        if hasattr(self, "store"):
            self.restart()
            self.holds_the_same_items()


StoreMachine.TestCase.settings = settings(
    max_examples=30,
    stateful_step_count=30,
    deadline=None,
    suppress_health_check=list(HealthCheck),
    derandomize=True,
    phases=(Phase.generate, Phase.shrink),
)
test_the_store_does_what_the_model_does = StoreMachine.TestCase
