"""Which chunks the durable tier holds, how many bytes they take, and which of them it may delete. Pure bookkeeping: no I/O."""

from collections import deque
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from replay.packing import SMALL_BYTES

ENTRY_BYTES = 400  # header and stream entry beside a chunk's body, about


class Small(NamedTuple):
    """A chunk that is worth packing with its neighbours."""

    first_row: int
    rows: int


class Holdings:
    """Chunks by their first row.

    small: small chunks that came since they were last looked at, in order, some of them freed by now.
    Invariant: `bytes` is the sum over the chunks that are held and not freed; a freed chunk is handed out for deletion until that
    is known to have happened.
    """

    def __init__(self) -> None:
        self.bytes = 0
        self._bytes_of: dict[int, int] = {}
        self._parts: dict[int, Sequence[int]] = {}
        self._freed: list[int] = []
        self.small: deque[Small] = deque()

    def __contains__(self, first_row: int) -> bool:
        return first_row in self._bytes_of

    def add(self, first_row: int, body_bytes: int, rows: int = 0) -> None:
        """rows: 0 for a chunk that is not to be packed."""
        self._bytes_of[first_row] = body_bytes + ENTRY_BYTES
        self.bytes += body_bytes + ENTRY_BYTES
        if rows and body_bytes < SMALL_BYTES:
            self.small.append(Small(first_row, rows))

    def add_pack(self, first_rows: Sequence[int], body_bytes: int) -> None:
        """One entry that takes the place of chunks with these first rows; known by the first."""
        self.add(first_rows[0], body_bytes)
        self._parts[first_rows[0]] = first_rows

    def put_together(self, first_rows: Sequence[int]) -> None:
        """These chunks, all held, are needed as long as any of them is: from now on they are one, known by the first."""
        taken = sum(self._bytes_of.pop(first_row) for first_row in first_rows)
        self._bytes_of[first_rows[0]], self._parts[first_rows[0]] = taken, first_rows

    def resize(self, first_row: int, body_bytes: int) -> None:
        """What is held under this row takes so much now."""
        if first_row in self._bytes_of:
            self.bytes += body_bytes + ENTRY_BYTES - self._bytes_of[first_row]
            self._bytes_of[first_row] = body_bytes + ENTRY_BYTES

    def free(self, first_rows: Iterable[int]) -> None:
        """Nothing of these chunks is needed any more. Chunks that are not held (level `memory`) are ignored."""
        for first_row in first_rows:
            if first_row in self._bytes_of:
                self.bytes -= self._bytes_of.pop(first_row)
                self._freed += self._parts.pop(first_row, (first_row,))

    def take_freed(self) -> list[int]:
        """First rows of chunks to delete."""
        freed, self._freed = self._freed, []
        return freed

    def put_back(self, freed: Iterable[int]) -> None:
        """They could not be deleted now."""
        self._freed += freed
