"""Makes numbered Insert messages of segments: collects them, encodes them as one chunk, and keeps each under the size limit.

CPU only: no I/O; the clock is handed in.
"""

from collections.abc import Iterable, Sequence

import numpy as np

from replay.arrow import encode_chunk
from replay.outage_buffer import Message
from sojourn.columns import Schema
from sojourn.errors import ValidationError
from sojourn.experience import Segment

ROW_BYTES = 64  # system columns of a row (docs/architecture.md), about
CHUNK_BYTES = 8_192  # schema and framing of an Arrow body, about


class Chunker:
    """Segments that wait for their message. Not thread-safe: its owner calls it while holding a lock.

    Invariant: messages are numbered 1, 2, 3 ... and hold segments in the order in which they were added.
    """

    def __init__(self, schema: Schema, max_message_bytes: int) -> None:
        self._schema = schema
        self._columns = {
            "observation": schema.observation_columns(),
            "action": schema.action_columns(),
            "extras": list(schema.extras),
            "core_state": list(schema.core_state),
        }
        self.max_message_bytes = max_message_bytes
        self._waiting: list[Segment] = []
        self.bytes = self.steps = 0
        self.oldest_at_s: float | None = None
        self.last_number = 0

    def add(self, segment: Segment, now_s: float) -> None:
        """Queue a segment. Raises ValidationError when it does not fit the schema or could never be sent."""
        self._check(segment)
        size_bytes = segment_bytes(segment)
        if size_bytes + CHUNK_BYTES > self.max_message_bytes:
            raise ValidationError(
                f"a segment of {len(segment)} steps takes {size_bytes} bytes and the replay service refuses messages above "
                f"{self.max_message_bytes}: lower actors.segment_steps or raise replay.max_message_bytes"
            )
        self._waiting.append(segment)
        self.bytes += size_bytes
        self.steps += len(segment)
        self.oldest_at_s = now_s if self.oldest_at_s is None else self.oldest_at_s

    def number_of_next(self) -> int:
        """Number of the message that holds, or will hold, the segment added last."""
        return self.last_number + bool(self._waiting)

    def cut(self, now_s: float, *, final: bool = False) -> list[Message]:
        """Messages of all that waits: usually one, several where one would be too large. `final` marks the last of them.

        Raises ValidationError when a ragged value is longer than its column allows; the segments are gone then.
        """
        waiting, self._waiting, self.bytes, self.steps, self.oldest_at_s = self._waiting, [], 0, 0, None
        parts = list(self._bodies(waiting, now_s)) if waiting else [(b"", 0)] if final else []
        messages = [
            Message(self.last_number + place, rows, steps, now_s, final and place == len(parts))
            for place, (rows, steps) in enumerate(parts, start=1)
        ]
        self.last_number += len(messages)
        return messages

    def _check(self, segment: Segment) -> None:
        """Shapes are looked at here, so that one bad segment is named and spoils no other; values are checked by the service."""
        for group, columns in self._columns.items():
            leaves, rows = getattr(segment, group), len(segment) + (group == "observation")
            for column in columns:
                wanted = (rows,) if column.ragged_max else (rows, *column.shape)
                found = np.shape(leaves[column.name])[: len(wanted)] if column.name in leaves else None
                if found != wanted:
                    raise ValidationError(
                        f"column {column.name!r} of a segment of {len(segment)} steps must have shape {wanted}, "
                        f"got {'none' if found is None else found}"
                    )

    def _bodies(self, segments: Sequence[Segment], now_s: float) -> Iterable[tuple[bytes, int]]:
        rows = encode_chunk(self._schema, segments, now_s)
        if len(rows) <= self.max_message_bytes or len(segments) == 1:
            yield rows, sum(len(segment) for segment in segments)
            return
        middle = len(segments) // 2
        yield from self._bodies(segments[:middle], now_s)
        yield from self._bodies(segments[middle:], now_s)


def segment_bytes(segment: Segment) -> int:
    """About how many bytes of a message the segment takes."""
    leaves = [*segment.observation.values(), *segment.action.values(), *segment.extras.values(), *segment.core_state.values()]
    return sum(_array_bytes(leaf) for leaf in leaves) + ROW_BYTES * (len(segment) + 1)


def _array_bytes(array: np.ndarray) -> int:
    if array.dtype == object:  # ragged: one array a row
        return sum(int(np.asarray(row).nbytes) for row in array)
    return array.nbytes
