"""Which of the latest chunks can a server still lose, so that they are kept as bytes to be appended again? No I/O, the clock is handed in.

A server that answered may still lose what was not yet copied or synced: a replica that lagged, an operating system that writes dirty
pages after 30 s (Linux, vm.dirty_expire_centisecs). What is older than a minute is on its disk, and keeping it longer would make a
service at a slow rate grow for hours, up to the bound in bytes.
"""

from collections import deque
from collections.abc import Callable

from replay.answers import Stream
from replay.commit import StoredChunk

TAIL_S = 60.0
TAIL_BYTES = 32 << 20
KEPT_CHUNK_BYTES = 1_000  # header, client id and Python's own beside the body, about


class Tail:
    """The latest chunks in order. Invariant: none is older than `TAIL_S` when one is added, and all together take `TAIL_BYTES` at most."""

    def __init__(self, now_s: Callable[[], float]) -> None:
        self._now_s = now_s
        self._kept: deque[tuple[float, StoredChunk]] = deque()
        self.bytes = 0

    def __len__(self) -> int:
        return len(self._kept)

    def add(self, chunk: StoredChunk) -> None:
        """The server has acknowledged it."""
        now_s = self._now_s()
        self._kept.append((now_s, chunk))
        self.bytes += _size(chunk)
        while self._kept and (self.bytes > TAIL_BYTES or self._kept[0][0] < now_s - TAIL_S):
            self.bytes -= _size(self._kept.popleft()[1])

    def behind(self, row: int) -> list[StoredChunk]:
        """The chunks that begin behind a row."""
        return [chunk for _, chunk in self._kept if chunk.first_row > row]

    def newest_messages(self) -> dict[Stream, int]:
        """Number of the last message of each life that has a chunk here."""
        return {chunk.stream: chunk.message_number for _, chunk in self._kept}


def _size(chunk: StoredChunk) -> int:
    return len(chunk.body) + KEPT_CHUNK_BYTES
