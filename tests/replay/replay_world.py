"""A small world for tests of the store: lanes whose every value follows from (lane, sequence), and what a batch of them must hold."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import gymnasium as gym
import numpy as np

from replay.arrow import decode_chunk, encode_chunk
from replay.rows import PAGE_ROWS, Rows
from replay.store import Page, Store
from sojourn.columns import Column, Schema, space_to_json
from sojourn.config.schema import LimiterSettings, TableSettings
from sojourn.experience import EndKind, Segment

FREE = LimiterSettings(samples_per_insert=None, min_size=1)
BYTES = 400_000_000


def vector_schema(frame_stack: int = 1, extras: Sequence[Column] = (), **more: Any) -> Schema:
    """Observation of two numbers, (lane, sequence); three discrete actions."""
    return Schema(
        observation=space_to_json(gym.spaces.Box(-1e9, 1e9, (2,), np.float32)),
        action=space_to_json(gym.spaces.Discrete(1_000_000)),
        frame_stack=frame_stack,
        extras=tuple(extras),
        **more,
    )


def table(**settings: Any) -> TableSettings:
    """A table without a rate limit, of 256 steps, unless told otherwise."""
    return TableSettings(**{"capacity_steps": 256, "capacity_bytes": BYTES, "limiter": FREE, **settings})


@dataclass
class Lane:
    """Writes the rows of one lane, one segment after another."""

    number: int = 0
    sequence: int = 0
    episode: int = 0
    extras: dict[str, Any] = field(default_factory=dict)  # name -> function of a sequence number

    def segment(self, steps: int, end: str = "", priority: Sequence[float] | None = None, duration_s: float = 1.0) -> Segment:
        """end: "" goes on, "terminated", "truncated", or "cut" (closed without a flag)."""
        numbers = np.arange(self.sequence, self.sequence + steps)
        last = numbers == numbers[-1] if steps else numbers == -1
        segment = Segment(
            lane=self.number,
            first_sequence=self.sequence,
            episode=self.episode,
            observation={"observation": observation(self.number, np.arange(self.sequence, self.sequence + steps + 1))},
            action={"action": numbers.astype(np.int64)},
            reward=reward(numbers),
            terminated=last & (end == "terminated"),
            truncated=last & (end == "truncated"),
            duration_s=np.full(steps, duration_s),
            started_at_s=numbers * duration_s,
            end_kind=np.full(steps, EndKind.COMPLETED, np.uint8),
            log_prob=-numbers.astype(np.float32),
            policy_version=numbers.astype(np.int64),
            closed=bool(end),
            extras={name: [make(number) for number in numbers.tolist()] for name, make in self.extras.items()},
            priority=None if priority is None else np.asarray(priority, np.float32),
        )
        self.sequence += steps + bool(end)
        self.episode += bool(end)
        return segment


def observation(lane: int, sequence: np.ndarray) -> np.ndarray:
    return np.stack([np.full(len(sequence), lane), sequence], 1).astype(np.float32)


def reward(sequence: np.ndarray) -> np.ndarray:
    return sequence.astype(np.float32) + 0.5


def rows_of(schema: Schema, *segments: Segment, now_s: float = 0.0) -> Rows:
    """The rows as they arrive: through the wire's encoding."""
    return decode_chunk(schema, encode_chunk(schema, segments, now_s))


def insert(store: Store, schema: Schema, *segments: Segment, now_s: float = 0.0, stream: tuple[str, int] = ("actor", 1)) -> Any:
    """Validate and append, as the service does."""
    rows = rows_of(schema, *segments, now_s=now_s)
    store.validate(rows, stream)
    return store.append(rows, stream, now_s)


def pages_of(store: Store) -> list[Page]:
    """A whole snapshot's pages."""
    store.mark_all_dirty()
    return store.take_dirty_pages()


def items_of(store: Store, name: str) -> dict[int, tuple[float, int]]:
    """Key -> (priority, times sampled) of every item of a table, as a whole snapshot sees them."""
    return states_in({page.number: page.body for page in pages_of(store) if page.table == name and page.body})


def states_in(pages: dict[int, bytes]) -> dict[int, tuple[float, int]]:
    """Key -> (priority, times sampled) of the items in one table's pages, by page number."""
    found = {}
    for number, body in pages.items():
        priority, times = np.frombuffer(body, "<f4", PAGE_ROWS), np.frombuffer(body, "<u4", PAGE_ROWS, 4 * PAGE_ROWS)
        for row in np.flatnonzero(priority >= 0):
            found[number * PAGE_ROWS + int(row)] = float(priority[row]), int(times[row])
    return found
