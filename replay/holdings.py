"""Which chunks the durable tier holds, how many bytes they take, and which of them it may delete. Pure bookkeeping: no I/O."""

from collections.abc import Iterable

ENTRY_BYTES = 400  # header and stream entry beside a chunk's body, about


class Holdings:
    """Chunks by their first row.

    Invariant: `bytes` is the sum over the chunks that are held and not freed; a freed chunk is handed out for deletion until that
    is known to have happened.
    """

    def __init__(self) -> None:
        self.bytes = 0
        self._bytes_of: dict[int, int] = {}
        self._freed: list[int] = []

    def add(self, first_row: int, body_bytes: int) -> None:
        self._bytes_of[first_row] = body_bytes + ENTRY_BYTES
        self.bytes += body_bytes + ENTRY_BYTES

    def free(self, first_rows: Iterable[int]) -> None:
        """Nothing of these chunks is needed any more. Chunks that are not held (level `memory`) are ignored."""
        for first_row in first_rows:
            if first_row in self._bytes_of:
                self.bytes -= self._bytes_of.pop(first_row)
                self._freed.append(first_row)

    def take_freed(self) -> list[int]:
        """First rows of chunks to delete."""
        freed, self._freed = self._freed, []
        return freed

    def put_back(self, freed: Iterable[int]) -> None:
        """They could not be deleted now."""
        self._freed += freed
