"""The store as a person would explain it: rows in lists, items by definition, everything looked up by searching. Slow and obvious."""

from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np

from replay.rows import STEP, TERMINATED, TRUNCATED, Rows
from sojourn.config.schema import TableSettings

Stream = tuple[str, int]


@dataclass
class Row:
    number: int
    lane: int
    sequence: int
    kind: int
    priority: float

    @property
    def step(self) -> bool:
        return bool(self.kind & STEP)


@dataclass
class Chain:
    """Rows of one episode of one lane without a gap. whole: nothing of the episode is missing before them."""

    episode: int
    whole: bool
    rows: list[Row] = field(default_factory=list)


@dataclass
class Item:
    chain: Chain
    start: int
    steps: int
    priority: float
    times: int = 0
    leased: bool = False
    closed_at: int = 0  # which close_stream made it, 0: a row's arrival

    def rows(self, back: int) -> list[Row]:
        return self.chain.rows[max(0, self.start - back) : self.start + self.steps + 1]


class ModelTable:
    def __init__(self, settings: TableSettings, frame_stack: int) -> None:
        self.settings, self.back = settings, frame_stack - 1
        self.length = settings.n_step if settings.item == "transition" else settings.length
        self.period = {"transition": 1, "sequence": settings.period, "segment": settings.length}[settings.item]
        self.burn_in = settings.burn_in if settings.item == "sequence" else 0
        self.capacity = settings.capacity_steps // min(self.period, self.length)
        self.items: dict[int, Item] = {}  # by key, in the order in which they appeared
        self.made: set[int] = set()
        self.queue: list[int] = []  # keys that a FIFO sampler hands out next
        self.handed_back: set[int] = set()
        self.leases: dict[int, list[int]] = {}
        self.next_lease = 1
        self.largest = 1.0
        self.inserted = 0

    def complete(self, arrivals: Iterable[tuple[Chain, int]], closed_at: int = 0) -> int:
        """Items that the rows at (chain, index) complete."""
        new = [
            (chain, start, steps)
            for chain, index in arrivals
            for start, steps in self._windows(chain, index)
            if chain.rows[start].number not in self.made and (start >= self.back or chain.whole)
        ]
        largest = self.largest
        for chain, start, steps in new:
            key = chain.rows[start].number
            given = [row.priority for row in chain.rows[start : start + steps] if np.isfinite(row.priority)]
            self.items[key] = Item(chain, start, steps, max(given) if given else largest, closed_at=closed_at)
            self.made.add(key)
            self.queue.append(key)
            self.largest = max(self.largest, self.items[key].priority)
        self.inserted += len(new)
        return len(new)

    def _windows(self, chain: Chain, index: int) -> list[tuple[int, int]]:
        whole = index - self.length
        found = [(whole, self.length)] if whole >= 0 and whole % self.period == 0 else []
        if chain.rows[index].step:
            return found
        for start in range(0, index, self.period):
            steps = index - start
            new_steps = start == 0 or index > start - self.period + self.length
            if self.burn_in < steps < self.length and (new_steps or self.settings.item == "transition"):
                found.append((start, steps))
        return found

    def make_way(self) -> None:
        while len(self.items) > self.capacity:
            candidates = [key for key, item in self.items.items() if not item.leased]
            if not candidates:
                return
            lowest = self.settings.remover == "lowest_priority"
            self.remove(min(candidates, key=lambda key: self.items[key].priority) if lowest else candidates[0])

    def remove(self, key: int) -> None:
        del self.items[key]
        if key in self.queue:
            self.queue.remove(key)

    def drawn(self, keys: list[int]) -> None:
        """Count a batch that was drawn; items that were drawn often enough leave."""
        fifo = self.settings.sampler == "fifo"
        most = self.settings.max_times_sampled or (1 if fifo else 0)
        for key in keys:
            self.items[key].times += 1
            if fifo:
                self.queue.remove(key)
        if self.settings.consume:
            for key in keys:
                self.items[key].leased = True
            self.handed_back -= set(keys)
            self.leases[self.next_lease] = keys
            self.next_lease += 1
            return
        for key in dict.fromkeys(keys):
            if most and self.items[key].times >= most:
                self.remove(key)
            elif fifo:
                self.queue.append(key)

    def release(self, lease: int) -> None:
        keys = self.leases.pop(lease)
        ahead = [key for key in self.queue if key in self.handed_back]
        for key in keys:
            self.items[key].leased = False
            # a released item is the youngest for the remover
            self.items[key] = self.items.pop(key)
        self.handed_back |= set(keys)
        self.queue = ahead + keys + [key for key in self.queue if key not in ahead]

    def consume(self, lease: int) -> None:
        for key in self.leases.pop(lease):
            self.remove(key)

    def read_back(self) -> None:
        """Another life: what close_stream made appears after everything else, and nothing stands before the others in the queue."""
        order = sorted(self.items, key=lambda key: self.items[key].closed_at)
        appeared = sorted(order, key=lambda key: (self.items[key].closed_at, self._appeared(key)))
        self.items = {key: self.items[key] for key in appeared}
        self.queue = [key for key in appeared if not self.items[key].leased]

    def _appeared(self, key: int) -> tuple[int, int]:
        item = self.items[key]
        return item.chain.rows[item.start + item.steps].number, key


class Model:
    """All lanes and tables."""

    def __init__(self, tables: dict[str, TableSettings], frame_stack: int) -> None:
        self.tables = {name: ModelTable(settings, frame_stack) for name, settings in tables.items()}
        self.open: dict[tuple[Stream, int], Chain] = {}  # open chains
        self.last: dict[tuple[Stream, int], int] = {}  # last sequence of each lane
        self.next_number = 1
        self.env_steps = self.episodes = self.gaps = self.closes = 0

    def append(self, rows: Rows, stream: Stream) -> dict[str, int]:
        made = self._cut([lane for lane in self._lanes(rows, stream) if self._gap(rows, lane)], gap=True)
        arrivals = []
        for i in range(len(rows)):
            lane = stream, int(rows.lane[i])
            row = Row(self.next_number, int(rows.lane[i]), int(rows.sequence[i]), int(rows.kind[i]), float(rows.priority[i]))
            chain = self.open.setdefault(lane, Chain(int(rows.episode[i]), whole=True))
            chain.rows.append(row)
            arrivals.append((chain, len(chain.rows) - 1))
            self.last[lane] = row.sequence
            self.next_number += 1
            self.env_steps += row.step
            self.episodes += not row.step
            if not row.step:
                del self.open[lane]
        return self._complete(arrivals, made)

    def _lanes(self, rows: Rows, stream: Stream) -> list[tuple[Stream, int]]:
        return [(stream, lane) for lane in dict.fromkeys(rows.lane.tolist())]

    def _gap(self, rows: Rows, lane: tuple[Stream, int]) -> bool:
        first = int(np.flatnonzero(rows.lane == lane[1])[0])
        gap = lane in self.last and int(rows.sequence[first]) != self.last[lane] + 1
        self.gaps += gap
        return gap

    def _cut(self, lanes: list[tuple[Stream, int]], *, gap: bool) -> dict[str, int]:
        arrivals = []
        for lane in lanes:
            chain = self.open.pop(lane, None)
            if chain is not None:
                chain.rows[-1].kind = 0
                arrivals.append((chain, len(chain.rows) - 1))
                if gap:  # what comes next belongs to the same episode
                    self.open[lane] = Chain(chain.episode, whole=False)
        return self._complete(arrivals, dict.fromkeys(self.tables, 0), 0 if gap else self.closes)

    def _complete(self, arrivals: list[tuple[Chain, int]], made: dict[str, int], closed_at: int = 0) -> dict[str, int]:
        for name, table in self.tables.items():
            made[name] += table.complete(arrivals, closed_at)
            table.make_way()
        return made

    def close(self, stream: Stream) -> dict[str, int]:
        self.closes += 1
        lanes = sorted(lane for lane in self.last if lane[0] == stream)
        made = self._cut(lanes, gap=False)
        for lane in lanes:
            del self.last[lane]
        return made

    def needed(self) -> set[int]:
        """Numbers of rows that an item needs, or an open lane's next row may need."""
        rows = {row.number for table in self.tables.values() for item in table.items.values() for row in item.rows(table.back)}
        reach = max(table.length + table.back for table in self.tables.values())
        return rows | {row.number for chain in self.open.values() for row in chain.rows[-reach:]}


def expected(item: Item, table: ModelTable, frame_stack: int) -> dict[str, np.ndarray]:
    """What a batch must hold of an item, for the rows of `replay_world.Lane`."""
    rows, steps, length = item.chain.rows, item.steps, table.length
    window = rows[item.start : item.start + steps]
    numbers = np.array([row.sequence for row in window])
    closing = rows[item.start + steps]
    terminated = np.array([bool(row.kind & TERMINATED) for row in window])
    truncated = np.array([bool(row.kind & TRUNCATED) for row in window])
    truncated[-1] |= not closing.step and not terminated[-1]

    def padded(values: np.ndarray, size: int = length) -> np.ndarray:
        return np.concatenate([values, np.zeros((size - len(values), *values.shape[1:]), values.dtype)])

    def frames(index: int) -> np.ndarray:
        stack = [rows[max(0, index - k)] for k in range(frame_stack - 1, -1, -1)]
        values = np.array([[row.lane, row.sequence] for row in stack], np.float32)
        return values if frame_stack > 1 else values[0]

    common = {
        "length": np.int32(steps),
        "reward": padded(numbers + 0.5),
        "duration_s": padded(np.ones(steps)),
        "mask": padded(np.ones(steps, bool)),
        "info.policy_version": numbers[0],
        "info.duration_s": np.float64(steps),
    }
    if table.settings.item == "transition":
        return common | {
            "observation": frames(item.start),
            "next_observation": frames(item.start + steps),
            "action": numbers[0],
            "terminated": terminated[-1],
            "truncated": truncated[-1],
            "log_prob": -numbers[0],
            "policy_version": numbers[0],
        }
    return common | {
        "observation": padded(np.array([frames(item.start + j) for j in range(steps + 1)]), length + 1),
        "action": padded(numbers),
        "terminated": padded(terminated),
        "truncated": padded(truncated),
        "log_prob": padded(-numbers),
        "policy_version": padded(numbers),
    }
